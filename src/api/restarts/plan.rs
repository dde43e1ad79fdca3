//! Plan of a requested restart, read with the rights of the caller.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::timeout;

use crate::api::ApiState;
use crate::api::extract::read_with_pods;
use crate::api::limits::{NAMESPACE_READ_TIMEOUT, TURN_TIMEOUT};
use crate::api::problem::ApiProblem;
use crate::features::restart::plan::RestartRefusal;
use crate::features::restart::prepare::{PreparedRestart, prepare_restart};
use crate::features::restart::report::describe_api_error;
use crate::features::restart::request::{RestartRequest, new_run_id};
use crate::features::restart::workload::NamespacedWorkload;
use crate::features::restart::world::{RestartReadError, RestartWorld, drifted_workloads};
use crate::kernel::api_error::ApiError;
use crate::kernel::text::CleanText;
use crate::kubernetes::client::restarts::RestartClient;

/// Common name of all restarts for their turn at the inventory, as if they were one user.
const SHARED_READER: &str = "outrigger:restarts";

/// Reads the namespace and prepares the request.
pub(super) async fn prepare_request(
    api: &Arc<ApiState>,
    user: &str,
    restarts: &RestartClient,
    namespace: &str,
    request: &RestartRequest,
) -> Result<PreparedRestart, ApiProblem> {
    let mut world = read_in_turn(api, user, restarts, namespace).await?;
    if request.needs_drift() {
        world.drifted = find_drifted(api, namespace).await?;
    }
    prepare_restart(world, request, new_run_id()).map_err(|why| refusal_problem(&why))
}

/// Reads a namespace when it is the user's turn, one namespace per user at a time. Its size is up to those who may
/// write there.
pub(super) async fn read_in_turn(
    api: &ApiState,
    user: &str,
    restarts: &RestartClient,
    namespace: &str,
) -> Result<RestartWorld, ApiProblem> {
    let Ok(_turn) = timeout(TURN_TIMEOUT, api.planning_shares.acquire(user)).await else {
        return Err(ApiProblem::new(503, "too many restarts are being planned; try again in a minute"));
    };
    let read = RestartWorld::read_existing(restarts, &api.inventory.owner_kinds, namespace);
    let Ok(world) = timeout(NAMESPACE_READ_TIMEOUT, read).await else {
        let (seconds, namespace) = (NAMESPACE_READ_TIMEOUT.as_secs(), CleanText(namespace));
        let why = format!(
            "cannot read namespace {namespace} within {seconds} s: use `outrigger restart`, which has no such limit"
        );
        return Err(ApiProblem::new(503, why));
    };
    world.map_err(|why| match &why {
        RestartReadError::NoNamespace { .. } => ApiProblem::not_found(why.to_string()),
        RestartReadError::Workloads(cause) | RestartReadError::Budgets(cause) => problem_because(cause, &why),
    })
}

/// Lists the workloads whose running pods differ from a new pod, by the inventory of this replica.
async fn find_drifted(api: &Arc<ApiState>, namespace: &str) -> Result<BTreeSet<NamespacedWorkload>, ApiProblem> {
    let namespace = namespace.to_owned();
    let look = move |api: &ApiState| {
        let unread = api.inventory.unread_caches();
        if !unread.is_empty() {
            let unread = unread.join(", ");
            let why =
                format!("cannot tell yet which workloads drift: {unread} are still being read; try again in a moment");
            return Err(ApiProblem::new(503, why));
        }
        Ok(drifted_workloads(&api.inventory, api.clock.now(), &namespace))
    };
    read_with_pods(api, SHARED_READER, look).await
}

pub(super) fn refusal_problem(why: &RestartRefusal) -> ApiProblem {
    let status = if matches!(why, RestartRefusal::OtherRestart { .. }) { 409 } else { 422 };
    let remedies = |run: &str, namespace: &str| {
        let forget = format!("POST /api/v1/namespaces/{namespace}/restarts/{run}/forget");
        [format!("{{\"resume\": \"{run}\"}}"), forget]
    };
    ApiProblem::new(status, why.describe(remedies))
}

/// Describes an error of the API server, with the status of its cause.
pub(super) fn problem_because(cause: &ApiError, why: &impl ToString) -> ApiProblem {
    ApiProblem::new(ApiProblem::from(cause.clone()).status, why.to_string())
}

/// Names the ClusterRole for a missing right.
pub(super) fn rights_problem(why: &ApiError) -> ApiProblem {
    problem_because(why, &describe_api_error(why))
}
