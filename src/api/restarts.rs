//! `/api/v1/namespaces/{namespace}/restarts`: restarts of workloads in waves, with the caller's own token.
//!
//! Guarantees: the token serves only its restart. When the token expires or this process ends, the restart stops
//! where it is. Anyone with the right can then resume or forget it, here or with the command. Each replica knows its
//! own restarts.
//!
//! Limits: namespaces are read one after another, for at most a minute each.

mod feed;
mod forget;
mod plan;
mod registry;
mod responses;
mod restart_request;
mod step;

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::ApiState;
use super::endpoint::{ApiEndpoint, OperationSpec, ResponseSpec, component_schema, inline_schema};
use super::extract::ApiRequest;
use super::listener::EventListener;
use super::problem::ApiProblem;
use super::request::{acquire_change_turn, json_response, parse_body, read_body, run_to_completion};
use super::session::{ApiSession, AuditedAttempt};
use crate::audit::act_entry::ActKind;
use crate::features::restart::apply::{check_first_mark, rehearse_restart};
use crate::features::restart::execution::RestartRunner;
use crate::features::restart::prepare::{PreparedRestart, RemainingWork, RestartForgetOutput, RestartPlanOutput};
use crate::features::restart::request::RestartPace;
use crate::kernel::text::{CleanText, did_you_mean};
use crate::kubernetes::client::access::ProtectedResource;
use crate::kubernetes::client::restarts::RestartClient;
use feed::RestartFeed;
use forget::forget;
use plan::{prepare_request, rights_problem};
pub(super) use registry::RestartRegistry;
use registry::TrackedRestart;
use responses::{RestartDetailResponse, RestartListResponse, RestartResponse, RestartStartedResponse};
use restart_request::RestartRequestBody;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RestartDryRunQuery {
    /// Return the plan, ask the API server whether it may be done, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WatchRestartQuery {
    /// Stream server-sent events: a snapshot first, then each step, the workloads waited for, and the end.
    watch: Option<bool>,
}

const ALL: &str = "/api/v1/namespaces/{namespace}/restarts";
const ONE: &str = "/api/v1/namespaces/{namespace}/restarts/{run}";

pub(super) fn endpoints() -> Vec<ApiEndpoint> {
    let begun = ResponseSpec {
        headers: &[responses::LOCATION],
        ..ResponseSpec::json::<RestartStartedResponse>(202, "The restart has begun, or is resumed.")
    };
    let creating = OperationSpec {
        id: "restartWorkloads",
        summary: "Restarts workloads of a namespace, one wave after another, or resumes an unfinished restart.",
        query: Some(inline_schema::<RestartDryRunQuery>),
        body: Some((component_schema::<RestartRequestBody>, true)),
        responses: vec![
            begun,
            ResponseSpec::json::<RestartPlanOutput>(200, "Plan of a dry run. Without dryRun: there is nothing to do."),
        ],
        problems: &[408, 409, 413, 415, 422],
        ..OperationSpec::default()
    };
    let telling = OperationSpec {
        id: "getRestart",
        summary: "Returns the progress of a restart of this replica, or streams its steps.",
        query: Some(inline_schema::<WatchRestartQuery>),
        responses: vec![ResponseSpec {
            may_stream: true,
            ..ResponseSpec::json::<RestartDetailResponse>(200, "Restart with its steps.")
        }],
        ..OperationSpec::default()
    };
    let cancelling = OperationSpec {
        id: "cancelRestart",
        summary: "Stops a restart: roll-outs that have begun go on by themselves, and nothing else begins.",
        responses: vec![ResponseSpec::json::<RestartResponse>(
            202,
            "The restart stops after the writes that have begun.",
        )],
        problems: &[409],
        ..OperationSpec::default()
    };
    let forgetting = OperationSpec {
        id: "forgetRestart",
        summary: "Gives up an unfinished restart: removes its marks from the workloads, and changes nothing else.",
        query: Some(inline_schema::<RestartDryRunQuery>),
        responses: vec![ResponseSpec::json::<RestartForgetOutput>(
            200,
            "Restart that is given up, or would be after a dry run.",
        )],
        problems: &[409, 422],
        ..OperationSpec::default()
    };
    vec![
        ApiEndpoint::cached_get::<RestartListResponse, _>(
            "listRestarts",
            ALL,
            "Lists the restarts that this replica runs or has run, the newest first.",
            list,
        ),
        ApiEndpoint::post(ALL.to_owned(), create, creating),
        ApiEndpoint::get(ONE.to_owned(), get_restart, telling),
        ApiEndpoint::post(format!("{ONE}/cancel"), cancel, cancelling),
        ApiEndpoint::post(format!("{ONE}/forget"), forget, forgetting),
    ]
}

pub(super) async fn list(request: ApiRequest) -> Response {
    let namespace = request.path_part("namespace").unwrap_or_default();
    let of = namespace.clone();
    let look = move |api: &ApiState| Ok(RestartListResponse::new(api, &of));
    request.answer_read(("list", ProtectedResource::Workloads), Some(&namespace), look).await
}

/// Returns one restart, or a stream of its steps.
pub(super) async fn get_restart(request: ApiRequest) -> Response {
    let namespace = request.path_part("namespace").unwrap_or_default();
    let find = |session: &ApiSession<'_>| {
        let WatchRestartQuery { watch } = request.parse_query()?;
        let run = find_run(&request, &namespace)?;
        if watch == Some(true) {
            let listener = EventListener::new(session, ProtectedResource::Workloads, Some(namespace.clone()))?;
            return Ok(listener.stream(RestartFeed::new(run)));
        }
        Ok(json_response(StatusCode::OK, &RestartDetailResponse::new(&run)))
    };
    request.answer_now(("list", ProtectedResource::Workloads), Some(&namespace), find).await
}

fn find_run(request: &ApiRequest, namespace: &str) -> Result<Arc<TrackedRestart>, ApiProblem> {
    let id = request.path_part("run").unwrap_or_default();
    if let Some(found) = request.api.restarts.find(namespace, &id) {
        return Ok(found);
    }
    let all = request.api.restarts.of_namespace(namespace);
    let meant = did_you_mean(&id, all.iter().map(|run| run.id.as_str()));
    let (id, namespace) = (CleanText(&id), CleanText(namespace));
    Err(ApiProblem::not_found(format!("this replica has run no restart {id} in namespace {namespace}{meant}")))
}

/// Begins a restart, or resumes one.
pub(super) async fn create(request: ApiRequest, body: Body) -> Response {
    let query: Result<RestartDryRunQuery, ApiProblem> = request.parse_query();
    let dry_run = query.as_ref().is_ok_and(|query| query.dry_run);
    let namespace = request.path_part("namespace").unwrap_or_default();
    let attempt = AuditedAttempt::on_restart(ActKind::Restart, &namespace, None, dry_run, request.peer);
    run_to_completion(&Arc::clone(&request.api), async move {
        let ApiRequest { api, headers, .. } = &request;
        let mut session = ApiSession::begin(api, headers, attempt).await?;
        let begun = async {
            query?;
            session.authorize("list").await?;
            let body = read_body(body).await?;
            begin_restart(&mut session, &namespace, parse_body(headers, &body)?).await
        }
        .await;
        let (response, running) = session.record_outcome(begun)?;
        // The audit log records the beginning before the end.
        running.map(|running| api.running_changes.spawn(running));
        Ok(response)
    })
    .await
}

/// Response, and the restart to run from then on.
type RestartStart = (Response, Option<BoxFuture<'static, ()>>);

async fn begin_restart(
    session: &mut ApiSession<'_>,
    namespace: &str,
    body: RestartRequestBody,
) -> Result<RestartStart, ApiProblem> {
    let (api, dry_run) = (session.api, session.attempt.dry_run);
    let (request, pace) = body.validate(&api.inventory.owner_kinds, namespace)?;
    let restarts = restart_client(session)?;
    let prepared = prepare_request(api, &session.caller.user, &restarts, namespace, &request).await?;
    let RemainingWork { workloads, excepted } = &prepared.work;
    // Late: a caller that waits for a plan must not hold up other changes.
    let _turn = acquire_change_turn(api).await?;
    let audit = session.attempt.restart_mut();
    audit.run = Some(prepared.run.clone());
    let mut after = json!({"workloads": workloads.len()});
    if !excepted.is_empty() {
        after["excepted"] = excepted.len().into();
    }
    audit.after = Some(after);
    if dry_run || prepared.is_empty() {
        let plan = RestartPlanOutput::new(&prepared, rehearse_restart(&restarts, &prepared).await);
        return Ok((json_response(StatusCode::OK, &plan), None));
    }
    if prepared.work.is_new() {
        check_first_mark(&restarts, &prepared).await.map_err(|why| rights_problem(&why))?;
    } else {
        session.authorize_for("patch", ProtectedResource::Deployments).await?;
    }
    let plan = RestartPlanOutput::new(&prepared, Vec::new());
    let PreparedRestart { run, work, .. } = prepared;
    let (count, now) = (work.workloads.len(), api.clock.now());
    let run = api.restarts.admit(TrackedRestart::new(run, namespace, &session.attempt, count, now))?;
    let mut response = json_response(StatusCode::ACCEPTED, &RestartStartedResponse::new(&run, plan));
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v1/namespaces/{namespace}/restarts/{}", run.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    let running = run_restart(Arc::clone(api), run, restarts, (work, pace), session.attempt.clone());
    Ok((response, Some(running.boxed())))
}

/// Makes a client with the rights of the caller.
fn restart_client(session: &ApiSession<'_>) -> Result<RestartClient, ApiProblem> {
    let nothing = "the state comes from files: there are no pods to restart";
    session.api.backend.restarts(&session.token)?.ok_or_else(|| ApiProblem::new(409, nothing))
}

/// Runs a restart until it ends, and records the end.
async fn run_restart(
    api: Arc<ApiState>,
    run: Arc<TrackedRestart>,
    restarts: RestartClient,
    (work, pace): (RemainingWork, RestartPace),
    attempt: AuditedAttempt,
) {
    let ending = run.end_guard(&api, attempt);
    let on_step = |step| run.record_step(step, api.clock.now());
    let (kinds, clock) = (&api.inventory.owner_kinds, &api.clock);
    let runner =
        RestartRunner { restarts: &restarts, run: &run.id, kinds, pace, clock, cancel: &run.cancel, on_step: &on_step };
    ending.finish(runner.restart(work).await);
}

pub(super) async fn cancel(request: ApiRequest) -> Response {
    let (namespace, id) = (request.path_part("namespace").unwrap_or_default(), request.path_part("run"));
    let attempt = AuditedAttempt::on_restart(ActKind::RestartCancel, &namespace, id.as_deref(), false, request.peer);
    run_to_completion(&Arc::clone(&request.api), async move {
        let session = ApiSession::begin(&request.api, &request.headers, attempt).await?;
        let cancelled = async {
            session.authorize("list").await?;
            let run = find_run(&request, &namespace)?;
            if run.user != session.caller.user {
                session.authorize_for("patch", ProtectedResource::Deployments).await?;
            }
            if run.is_over() {
                return Err(ApiProblem::new(409, format!("restart {} has ended: there is nothing to stop", run.id)));
            }
            run.cancel.cancel();
            Ok(json_response(StatusCode::ACCEPTED, &RestartResponse::new(&run)))
        };
        session.record_outcome(cancelled.await)
    })
    .await
}
