//! A restart that is given up: its marks go off the workloads that it has not done, and nothing else becomes of them.
//!
//! Any replica can do so, since the marks say all there is; one that runs has to be stopped first where it runs.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::planned::{names_of, read_in_turn, still_marked, unread_by_caller};
use super::runs::Run;
use super::{Acting, Request, restarts_of};
use crate::api::Api;
use crate::api::problem::Problem;
use crate::api::request::{carried_through, json_answer, turn};
use crate::api::session::{Attempt, Other, Session};
use crate::audit::act::Deed;
use crate::features::restart::left::{left_of, unfinished_run};
use crate::features::restart::telling::Told;
use crate::features::restart::workload::Name;
use crate::kernel::text::Clean;

/// A restart that is given up.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RestartForgotten")]
pub(super) struct Forgotten {
    /// Its name.
    run: String,
    /// Whether nothing was done.
    dry_run: bool,
    /// These bear its mark no longer; what has begun to replace its pods goes on by itself.
    workloads: Vec<Name>,
    /// Kinds of workloads that could not be read, and may bear it still, a sentence each.
    left_out: Vec<String>,
    /// Of a dry run: those whose mark whoever asks may not take off, and why.
    refused: Vec<Told>,
}

/// Gives one up.
pub(super) async fn forget(request: Request) -> Response {
    let acting: Result<Acting, Problem> = request.query();
    let dry_run = acting.as_ref().is_ok_and(|acting| acting.dry_run);
    let (namespace, run) = (request.part("namespace").unwrap_or_default(), request.part("run").unwrap_or_default());
    let other = Other::of("Restart", &namespace, Some(&run));
    let attempt = Attempt::on(Deed::RestartForget, other, (&namespace, None), dry_run, request.peer);
    carried_through(&Arc::clone(&request.api), async move {
        let mut session = Session::begin(&request.api, &request.headers, attempt).await?;
        let forgotten = async {
            acting?;
            session.may("list").await?;
            forgotten(&mut session, &namespace, &run).await
        };
        let forgotten = forgotten.await;
        session.done(forgotten.map(|forgotten| json_answer(StatusCode::OK, &forgotten)))
    })
    .await
}

async fn forgotten(session: &mut Session<'_>, namespace: &str, run: &str) -> Result<Forgotten, Problem> {
    let (api, dry_run) = (session.api, session.attempt.dry_run);
    let restarts = restarts_of(session)?;
    let found = read_in_turn(api, &session.caller.user, &restarts, namespace).await?;
    let _turn = turn(api).await?;
    // Not before: it may have been gone on with while the namespace was read.
    let known = over(api, namespace, run)?;
    let run =
        unfinished_run(&found.workloads, namespace, Some(run)).map_err(|why| Problem::not_found(why.to_string()))?;
    let (left, left_out) = (left_of(found.workloads, &run), found.left_out);
    let other = session.attempt.other.as_mut().expect("an attempt with an object tells of it");
    other.after = Some(json!({"workloads": left.len()}));
    let workloads = names_of(&left);
    if dry_run {
        return Ok(Forgotten { run, dry_run, workloads, left_out, refused: still_marked(&restarts, &left).await });
    }
    if let Some((workload, why)) = restarts.unmark_all(&left, false).await.into_iter().next() {
        let Problem { status, detail, .. } = unread_by_caller(why);
        let stays = format!("restart {run} is not given up, since {workload} keeps its mark: {detail}");
        return Err(Problem::new(status, stays));
    }
    if let Some(known) = known {
        known.forget();
    }
    Ok(Forgotten { run, dry_run, workloads, left_out, refused: Vec::new() })
}

/// The one of this name that this replica has run, if any; one that still runs is refused.
fn over(api: &Api, namespace: &str, run: &str) -> Result<Option<Arc<Run>>, Problem> {
    let known = api.restarts.named(namespace, run);
    let Some(Run { id, .. }) = known.as_deref().filter(|run| !run.is_over()) else { return Ok(known) };
    let cancel = format!("POST /api/v1/namespaces/{}/restarts/{id}/cancel", Clean(namespace));
    let why = format!("restart {id} runs here; cancel it first, by {cancel}, and give it up when it is over");
    Err(Problem::new(409, why))
}
