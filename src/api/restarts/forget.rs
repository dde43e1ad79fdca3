//! Forgetting a restart: its marks are removed from the unfinished workloads, and nothing else changes.
//!
//! Every replica can do this, because the marks hold the whole state. A running restart has to be cancelled on its
//! own replica first.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::plan::{problem_because, read_in_turn};
use super::registry::TrackedRestart;
use super::{ApiRequest, RestartDryRunQuery, restart_client};
use crate::api::ApiState;
use crate::api::problem::ApiProblem;
use crate::api::request::{acquire_change_turn, json_response, run_to_completion};
use crate::api::session::{ApiSession, AuditedAttempt};
use crate::audit::act_entry::ActKind;
use crate::features::restart::apply::{forget_restart, rehearse_restart};
use crate::features::restart::prepare::{RestartForgetOutput, prepare_restart};
use crate::features::restart::request::{RestartIntent, RestartRequest, new_run_id};
use crate::kernel::text::CleanText;

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
            forget_run(&mut session, &namespace, &run).await
        };
        let forgotten = forgotten.await;
        session.record_outcome(forgotten.map(|forgotten| json_response(StatusCode::OK, &forgotten)))
    })
    .await
}

async fn forget_run(
    session: &mut ApiSession<'_>,
    namespace: &str,
    run: &str,
) -> Result<RestartForgetOutput, ApiProblem> {
    let (api, dry_run) = (session.api, session.attempt.dry_run);
    let restarts = restart_client(session)?;
    let world = read_in_turn(api, &session.caller.user, &restarts, namespace).await?;
    let _turn = acquire_change_turn(api).await?;
    // Late: somebody may have resumed it while the namespace was read.
    let known = finished_run(api, namespace, run)?;
    let request = RestartRequest::new(RestartIntent::Forget(Some(run.to_owned())), Vec::new());
    let prepared = request.and_then(|request| prepare_restart(world, &request, new_run_id()));
    let prepared = prepared.map_err(|why| ApiProblem::not_found(why.to_string()))?;
    session.attempt.restart_mut().after = Some(json!({"workloads": prepared.work.excepted.len()}));
    if dry_run {
        let refused = rehearse_restart(&restarts, &prepared).await;
        return Ok(RestartForgetOutput::new(&prepared, dry_run, refused));
    }
    let forgotten = forget_restart(&restarts, &prepared).await;
    forgotten.map_err(|stays| problem_because(&stays.why, &stays))?;
    if let Some(known) = known {
        known.forget();
    }
    Ok(RestartForgetOutput::new(&prepared, dry_run, Vec::new()))
}

/// Returns the restart if this replica has run it. Refuses one that still runs.
fn finished_run(api: &ApiState, namespace: &str, run: &str) -> Result<Option<Arc<TrackedRestart>>, ApiProblem> {
    let known = api.restarts.find(namespace, run);
    let Some(TrackedRestart { id, .. }) = known.as_deref().filter(|run| !run.is_over()) else { return Ok(known) };
    let cancel = format!("POST /api/v1/namespaces/{}/restarts/{id}/cancel", CleanText(namespace));
    let why = format!("restart {id} runs here: cancel it first by {cancel}, and give it up when it has ended");
    Err(ApiProblem::new(409, why))
}
