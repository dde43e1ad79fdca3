//! Plan of a requested restart, read with the rights of the caller.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;

use super::restart_request::{NamedWorkload, RequestedTargets};
use crate::api::ApiState;
use crate::api::extract::read_with_pods;
use crate::api::limits::{NAMESPACE_READ_TIMEOUT, TURN_TIMEOUT};
use crate::api::problem::ApiProblem;
use crate::features::restart::mark::RestartMark;
use crate::features::restart::plan::{RestartPlan, RestartRefusal, RestartTargets, plan_restart};
use crate::features::restart::pods::PodSnapshot;
use crate::features::restart::remaining::{RemainingWork, find_unfinished_run};
use crate::features::restart::report::WorkloadReason;
use crate::features::restart::workload::{NamespacedWorkload, WorkloadSnapshot};
use crate::features::status::states::workload_statuses_in;
use crate::kernel::api_error::ApiError;
use crate::kernel::ids::fresh_id;
use crate::kernel::text::CleanText;
use crate::kernel::text::nearest_word;
use crate::kubernetes::client::restarts::RestartClient;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;

/// Common name of all restarts for their turn at the inventory, as if they were one user.
const SHARED_READER: &str = "outrigger:restarts";

/// What is to be done, and what is not.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RestartPlan")]
pub(super) struct RestartPlanResponse {
    /// They are restarted, in this order.
    workloads: Vec<NamespacedWorkload>,
    /// They are not, and why.
    skipped: Vec<WorkloadReason>,
    /// They are left as they are, since that is asked for; of a restart that is gone on with they lose its mark.
    excepted: Vec<NamespacedWorkload>,
    /// Pods that nobody would make again; never touched.
    bare_pods: Vec<String>,
    /// Kinds of workloads that could not be read, a sentence each.
    left_out: Vec<String>,
    /// Of a dry run: those that whoever asks may not write, and why.
    pub(super) refused: Vec<WorkloadReason>,
}

/// Contents of a namespace.
pub(super) struct NamespaceContents {
    pub(super) workloads: Vec<WorkloadSnapshot>,
    pods: Vec<PodSnapshot>,
    pub(super) left_out: Vec<String>,
}

/// Plans the request. Returns the run identifier, the work and the response.
pub(super) async fn plan_request(
    api: &Arc<ApiState>,
    contents: NamespaceContents,
    namespace: &str,
    (targets, except): (RequestedTargets, Vec<NamedWorkload>),
) -> Result<(String, RemainingWork, RestartPlanResponse), ApiProblem> {
    let kinds = &api.inventory.owner_kinds;
    let except = resolve_names(kinds, namespace, except)?;
    let selection = match targets {
        RequestedTargets::Resume(run) => return plan_resume(contents, namespace, &run, &except),
        RequestedTargets::All => RestartTargets::All,
        RequestedTargets::Labelled(selector) => RestartTargets::Labelled(selector),
        RequestedTargets::Drifted => find_drifted(api, namespace).await?,
        RequestedTargets::Named(named) => RestartTargets::Named(resolve_names(kinds, namespace, named)?),
    };
    let NamespaceContents { workloads, pods, left_out } = contents;
    let plan = plan_restart(workloads, &pods, &selection, &except).map_err(|why| refusal_problem(&why))?;
    let RestartPlan { workloads, skipped, bare_pods } = plan;
    let names = names_of(&workloads);
    let planned =
        RestartPlanResponse { workloads: names, skipped, excepted: except, bare_pods, left_out, refused: Vec::new() };
    Ok((fresh_id()[..8].to_owned(), workloads.into(), planned))
}

/// Reads a namespace when it is the user's turn, one namespace per user at a time. Its size is up to those who may
/// write there.
pub(super) async fn read_in_turn(
    api: &ApiState,
    user: &str,
    restarts: &RestartClient,
    namespace: &str,
) -> Result<NamespaceContents, ApiProblem> {
    let Ok(_turn) = timeout(TURN_TIMEOUT, api.planning_shares.acquire(user)).await else {
        return Err(ApiProblem::new(503, "too many restarts are being planned; try again in a minute"));
    };
    let contents =
        timeout(NAMESPACE_READ_TIMEOUT, read_namespace(restarts, &api.inventory.owner_kinds, namespace)).await;
    contents.unwrap_or_else(|_| {
        let (seconds, namespace) = (NAMESPACE_READ_TIMEOUT.as_secs(), CleanText(namespace));
        let why = format!("namespace {namespace} cannot be read within {seconds} s; `outrigger restart` has the time");
        Err(ApiProblem::new(503, why))
    })
}

async fn read_namespace(
    restarts: &RestartClient,
    kinds: &OwnerKinds,
    namespace: &str,
) -> Result<NamespaceContents, ApiProblem> {
    if let Some(others) = restarts.namespaces_if_missing(namespace).await? {
        let hint = did_you_mean(nearest_word(namespace, others.iter().map(String::as_str)));
        return Err(ApiProblem::not_found(format!("there is no namespace {}{hint}", CleanText(namespace))));
    }
    let (workloads, left_out) = restarts.list_workloads(kinds, namespace).await.map_err(rights_problem)?;
    let pods = restarts.list_pods(namespace).await.map_err(rights_problem)?;
    // Checks the right now rather than in the middle of the restart.
    restarts.list_budgets(namespace).await.map_err(rights_problem)?;
    Ok(NamespaceContents { workloads, pods, left_out })
}

/// Resolves the names of workloads. The plan checks that they exist.
fn resolve_names(
    kinds: &OwnerKinds,
    namespace: &str,
    named: Vec<NamedWorkload>,
) -> Result<Vec<NamespacedWorkload>, ApiProblem> {
    let name = |NamedWorkload { kind: typed, name }: NamedWorkload| {
        let Some(kind) = kinds.iter().find(|one| one.kind.eq_ignore_ascii_case(&typed)) else {
            let hint = did_you_mean(nearest_word(&typed, kinds.iter().map(|one| one.kind.as_str())));
            return Err(ApiProblem::new(422, format!("\"{}\" is no kind that makes pods{hint}", CleanText(&typed))));
        };
        Ok(NamespacedWorkload { namespace: namespace.to_owned(), kind: kind.kind.clone(), name })
    };
    named.into_iter().map(name).collect()
}

/// Selects the workloads whose running pods differ from a new pod, by the inventory of this replica.
async fn find_drifted(api: &Arc<ApiState>, namespace: &str) -> Result<RestartTargets, ApiProblem> {
    let namespace = namespace.to_owned();
    let look = move |api: &ApiState| {
        let unread = api.inventory.unread_caches();
        if !unread.is_empty() {
            let unread = unread.join(", ");
            let why =
                format!("what drifts cannot be told yet, since {unread} are still being read; try again in a moment");
            return Err(ApiProblem::new(503, why));
        }
        let all = workload_statuses_in(&api.inventory, api.clock.now(), Some(&namespace));
        Ok(RestartTargets::from_drift(all))
    };
    read_with_pods(api, SHARED_READER, look).await
}

fn plan_resume(
    contents: NamespaceContents,
    namespace: &str,
    run: &str,
    except: &[NamespacedWorkload],
) -> Result<(String, RemainingWork, RestartPlanResponse), ApiProblem> {
    let NamespaceContents { workloads, left_out, .. } = contents;
    let run =
        find_unfinished_run(&workloads, namespace, Some(run)).map_err(|why| ApiProblem::new(422, why.to_string()))?;
    let remaining = RemainingWork::for_run(workloads, &run, except).map_err(|why| refusal_problem(&why))?;
    let (workloads, excepted) = (names_of(&remaining.workloads), names_of(&remaining.excepted));
    Ok((run, remaining, RestartPlanResponse { workloads, excepted, left_out, ..RestartPlanResponse::default() }))
}

pub(super) fn names_of(workloads: &[WorkloadSnapshot]) -> Vec<NamespacedWorkload> {
    workloads.iter().map(|one| one.name.clone()).collect()
}

fn refusal_problem(why: &RestartRefusal) -> ApiProblem {
    match why {
        RestartRefusal::UnknownWorkload { .. } | RestartRefusal::HasOwner { .. } => {
            ApiProblem::new(422, why.to_string())
        }
        RestartRefusal::OtherRestart { run, example, .. } => {
            let forget = format!("POST /api/v1/namespaces/{}/restarts/{run}/forget", example.namespace);
            ApiProblem::new(
                409,
                format!("{why}: go on with it by {{\"resume\": \"{run}\"}}, or give it up by {forget}"),
            )
        }
    }
}

/// Dry-runs the marks, and returns the refused workloads.
pub(super) async fn dry_run_refusals(
    restarts: &RestartClient,
    run: &str,
    remaining: &RemainingWork,
) -> Vec<WorkloadReason> {
    let RemainingWork { workloads, excepted } = remaining;
    let mark = RestartMark::pending(run, workloads.len());
    let mut refused = Vec::new();
    for workload in workloads.iter().filter(|one| one.mark.is_none()) {
        if let Err(why) = restarts.add_mark(workload, &mark, true).await {
            refused.push(WorkloadReason { workload: workload.name.clone(), why: why.to_string() });
        }
    }
    refused.extend(dry_run_unmark_refusals(restarts, excepted).await);
    refused
}

/// Dry-runs the removal of marks, and returns the refused workloads.
pub(super) async fn dry_run_unmark_refusals(
    restarts: &RestartClient,
    workloads: &[WorkloadSnapshot],
) -> Vec<WorkloadReason> {
    let stay = restarts.remove_marks(workloads, true).await;
    stay.into_iter().map(|(workload, why)| WorkloadReason { workload, why: why.to_string() }).collect()
}

/// Dry-runs the first mark, so a caller without the right is refused before anything begins.
pub(super) async fn check_first_write(
    restarts: &RestartClient,
    run: &str,
    first: &WorkloadSnapshot,
) -> Result<(), ApiProblem> {
    match restarts.add_mark(first, &RestartMark::pending(run, 1), true).await {
        Err(why @ (ApiError::Forbidden(_) | ApiError::Unauthorized(_))) => Err(rights_problem(why)),
        // The restart itself reports other errors.
        Ok(_) | Err(_) => Ok(()),
    }
}

pub(super) fn rights_problem(why: ApiError) -> ApiProblem {
    match why {
        ApiError::Forbidden(why) => ApiProblem::new(
            403,
            format!("{why}; the ClusterRoles outrigger-restart and edit grant what a restart needs"),
        ),
        why => why.into(),
    }
}

fn did_you_mean(hint: Option<&str>) -> String {
    hint.map(|hint| format!("; did you mean {}?", CleanText(hint))).unwrap_or_default()
}
