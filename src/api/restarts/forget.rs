//! Forgetting a restart: its marks are removed from the unfinished workloads, and nothing else changes.
//!
//! Every replica can do this, because the marks hold the whole state. A running restart has to be cancelled on its
//! own replica first.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::plan::{dry_run_unmark_refusals, names_of, read_in_turn, rights_problem};
use super::registry::TrackedRestart;
use super::{ApiRequest, RestartDryRunQuery, restart_client};
use crate::api::ApiState;
use crate::api::problem::ApiProblem;
use crate::api::request::{acquire_change_turn, json_response, run_to_completion};
use crate::api::session::{ApiSession, AuditedAttempt};
use crate::audit::act_entry::ActKind;
use crate::features::restart::remaining::{find_unfinished_run, remaining_workloads};
use crate::features::restart::report::WorkloadReason;
use crate::features::restart::workload::NamespacedWorkload;
use crate::kernel::text::CleanText;

/// A restart that is given up.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RestartForgotten")]
pub(super) struct ForgetRestartResponse {
    /// Its name.
    run: String,
    /// Whether nothing was done.
    dry_run: bool,
    /// These bear its mark no longer; what has begun to replace its pods goes on by itself.
    workloads: Vec<NamespacedWorkload>,
    /// Kinds of workloads that could not be read, and may bear it still, a sentence each.
    left_out: Vec<String>,
    /// Of a dry run: those whose mark whoever asks may not take off, and why.
    refused: Vec<WorkloadReason>,
}

/// Forgets a restart.
pub(super) async fn forget(request: ApiRequest) -> Response {
    let query: Result<RestartDryRunQuery, ApiProblem> = request.parse_query();
    let dry_run = query.as_ref().is_ok_and(|query| query.dry_run);
    let (namespace, run) =
        (request.path_part("namespace").unwrap_or_default(), request.path_part("run").unwrap_or_default());
    let attempt = AuditedAttempt::on_restart(ActKind::RestartForget, &namespace, Some(&run), dry_run, request.peer);
    run_to_completion(&Arc::clone(&request.api), async move {
        let mut session = ApiSession::begin(&request.api, &request.headers, attempt).await?;
        let forgotten = async {
            query?;
            session.authorize("list").await?;
            forget_restart(&mut session, &namespace, &run).await
        };
        let forgotten = forgotten.await;
        session.record_outcome(forgotten.map(|forgotten| json_response(StatusCode::OK, &forgotten)))
    })
    .await
}

async fn forget_restart(
    session: &mut ApiSession<'_>,
    namespace: &str,
    run: &str,
) -> Result<ForgetRestartResponse, ApiProblem> {
    let (api, dry_run) = (session.api, session.attempt.dry_run);
    let restarts = restart_client(session)?;
    let contents = read_in_turn(api, &session.caller.user, &restarts, namespace).await?;
    let _turn = acquire_change_turn(api).await?;
    // Late: somebody may have resumed it while the namespace was read.
    let known = finished_run(api, namespace, run)?;
    let run = find_unfinished_run(&contents.workloads, namespace, Some(run))
        .map_err(|why| ApiProblem::not_found(why.to_string()))?;
    let (remaining, left_out) = (remaining_workloads(contents.workloads, &run), contents.left_out);
    session.attempt.restart_mut().after = Some(json!({"workloads": remaining.len()}));
    let workloads = names_of(&remaining);
    if dry_run {
        return Ok(ForgetRestartResponse {
            run,
            dry_run,
            workloads,
            left_out,
            refused: dry_run_unmark_refusals(&restarts, &remaining).await,
        });
    }
    if let Some((workload, why)) = restarts.remove_marks(&remaining, false).await.into_iter().next() {
        let ApiProblem { status, detail, .. } = rights_problem(why);
        let stays = format!("restart {run} is not given up, since {workload} keeps its mark: {detail}");
        return Err(ApiProblem::new(status, stays));
    }
    if let Some(known) = known {
        known.forget();
    }
    Ok(ForgetRestartResponse { run, dry_run, workloads, left_out, refused: Vec::new() })
}

/// Returns the restart if this replica has run it. Refuses one that still runs.
fn finished_run(api: &ApiState, namespace: &str, run: &str) -> Result<Option<Arc<TrackedRestart>>, ApiProblem> {
    let known = api.restarts.find(namespace, run);
    let Some(TrackedRestart { id, .. }) = known.as_deref().filter(|run| !run.is_over()) else { return Ok(known) };
    let cancel = format!("POST /api/v1/namespaces/{}/restarts/{id}/cancel", CleanText(namespace));
    let why = format!("restart {id} runs here; cancel it first, by {cancel}, and give it up when it is over");
    Err(ApiProblem::new(409, why))
}
