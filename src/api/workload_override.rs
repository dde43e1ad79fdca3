//! `/api/v1/namespaces/{namespace}/override` and `…/workloads/{kind}/{name}/override`: writes or removes an override.
//!
//! Writes use the caller's own token, so Kubernetes itself checks the right.

mod body;
mod response;
mod target;

use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;

use super::ApiState;
use super::endpoint::{ApiEndpoint, OperationSpec, ResponseSpec, component_schema, inline_schema};
use super::extract::{ApiRequest, read_with_pods, with_unread};
use super::problem::ApiProblem;
use super::request::{acquire_change_turn, json_response, parse_body, read_body, run_to_completion};
use super::session::ApiSession;
use crate::features::overrides::apply::{AppliedOverride, ApplyError, OverrideCaller, OverrideOutcome};
use crate::features::overrides::lookup::find_subject;
use crate::features::overrides::plan::{OverridePlan, SubjectPlan, plan_overrides};
use crate::features::overrides::request::{OverrideRefusal, OverrideRequest};
use crate::kubernetes::client::overrides::{OverrideWriteError, OverrideWriteOptions};
use body::WorkloadOverrideRequest;
use response::OverrideResponse;
use target::OverrideTarget;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct OverrideWriteQuery {
    /// Answer with the forecast, and write nothing.
    #[serde(default)]
    dry_run: bool,
}

pub(super) fn endpoints() -> Vec<ApiEndpoint> {
    let endpoint = |id, summary, path: &str| {
        let answer = "Override that was written, and the forecast for new pods. A dry run writes nothing.";
        let operation = OperationSpec {
            id,
            summary,
            query: Some(inline_schema::<OverrideWriteQuery>),
            body: Some((component_schema::<WorkloadOverrideRequest>, true)),
            responses: vec![ResponseSpec::json::<OverrideResponse>(200, answer)],
            problems: &[408, 409, 413, 415, 422],
            ..OperationSpec::default()
        };
        ApiEndpoint::put(path.to_owned(), write, operation)
    };
    vec![
        endpoint(
            "overrideWorkload",
            "Writes or removes the override of a workload. No roll-out starts.",
            "/api/v1/namespaces/{namespace}/workloads/{kind}/{name}/override",
        ),
        endpoint(
            "overrideNamespace",
            "Writes or removes the override of a namespace. No roll-out starts.",
            "/api/v1/namespaces/{namespace}/override",
        ),
    ]
}

/// Writes or removes an override, and records the attempt.
pub(super) async fn write(request: ApiRequest, body: Body) -> Response {
    let query: Result<OverrideWriteQuery, ApiProblem> = request.parse_query();
    let dry_run = query.as_ref().is_ok_and(|query| query.dry_run);
    let target = OverrideTarget::from_request(&request);
    let attempt = target.attempt(dry_run, request.peer);
    run_to_completion(&Arc::clone(&request.api), async move {
        let ApiRequest { api, headers, .. } = &request;
        let mut session = ApiSession::begin(api, headers, attempt).await?;
        let result = async {
            query?;
            session.authorize("get").await?;
            let body = read_body(body).await?;
            // The turn comes after the body, so that a slow sender keeps nobody waiting.
            let _turn = acquire_change_turn(api).await?;
            write_override(&mut session, target, parse_body(headers, &body)?).await
        }
        .await;
        session.record_outcome(result)
    })
    .await
}

/// Plan of an override, with what the caller should know about it.
struct PreparedOverride {
    plan: SubjectPlan,
    warnings: Vec<String>,
    unread: Vec<String>,
}

async fn write_override(
    session: &mut ApiSession<'_>,
    target: OverrideTarget,
    body: WorkloadOverrideRequest,
) -> Result<Response, ApiProblem> {
    let (api, dry_run, now) = (session.api, session.attempt.dry_run, session.api.clock.now());
    let force_conflicts = body.force;
    let request = body.into_request(now)?;
    session.attempt.override_mut().reason.clone_from(&request.reason);
    let prepared = {
        let request = request.clone();
        read_with_pods(api, &session.caller.user, move |api| prepare_override(api, &target, &request, now)).await?
    };
    let edit = &prepared.plan.edit;
    let audit = session.attempt.override_mut();
    (audit.until, audit.after) = (request.until, Some(edit.fields.clone()));
    audit.kind.clone_from(&edit.target.kind);
    let store = api.backend.override_store(&session.token)?;
    let AppliedOverride { outcome, previous } =
        store.apply(&prepared.plan, OverrideWriteOptions { force_conflicts, dry_run }).await?;
    audit.before = previous;
    audit.is_unchanged = outcome == OverrideOutcome::Unchanged;
    Ok(json_response(StatusCode::OK, &OverrideResponse::new(&session.attempt, request.action, outcome, prepared)))
}

fn prepare_override(
    api: &ApiState,
    target: &OverrideTarget,
    request: &OverrideRequest,
    now: Timestamp,
) -> Result<PreparedOverride, ApiProblem> {
    let inventory = &api.inventory;
    let subject = find_subject(inventory, target.query())?;
    let (plan, unread) = with_unread(inventory, || plan_overrides(inventory, request, vec![subject], now));
    let OverridePlan { subjects, warnings } = plan?;
    let plan = subjects.into_iter().next().expect("each subject has one plan");
    Ok(PreparedOverride { plan, warnings, unread })
}

impl From<OverrideRefusal> for ApiProblem {
    fn from(refusal: OverrideRefusal) -> Self {
        Self::new(422, refusal.to_string())
    }
}

impl From<ApplyError> for ApiProblem {
    fn from(error: ApplyError) -> Self {
        let status = match &error {
            ApplyError::Write { error: OverrideWriteError::Refused(why), .. } => Self::from(why.clone()).status,
            ApplyError::Files(_) | ApplyError::Write { .. } => 409,
        };
        Self::new(status, error.describe(OverrideCaller::ApiRequest))
    }
}
