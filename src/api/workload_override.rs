//! `/api/v1/namespaces/{namespace}/injection` and `…/workloads/{kind}/{name}/injection`: writes or removes an override.
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
use serde_json::{Map, Value, json};

use super::ApiState;
use super::endpoint::{ApiEndpoint, OperationSpec, ResponseSpec, component_schema, inline_schema};
use super::extract::{ApiRequest, read_with_pods, with_unread};
use super::problem::ApiProblem;
use super::request::{acquire_change_turn, json_response, parse_body, read_body, run_to_completion};
use super::session::{ApiSession, AuditedAttempt};
use crate::audit::act_entry::ActKind;
use crate::features::overrides::field::MetadataField;
use crate::features::overrides::plan::{OverridePlan, plan_overrides, preview_plans};
use crate::features::overrides::request::{OverrideRefusal, OverrideRequest};
use crate::features::preview::warnings::preview_warnings;
use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::overrides::{
    OverrideWriteError, OverrideWriteOptions, OverrideWriteOutcome, OverrideWriteReport,
};
use body::WorkloadOverrideRequest;
use response::OverrideResponse;
use target::OverrideTarget;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct OverrideWriteQuery {
    /// Whether to say what would be done and what follows, and do nothing.
    #[serde(default)]
    dry_run: bool,
}

pub(super) fn endpoints() -> Vec<ApiEndpoint> {
    let endpoint = |id, summary, path: &str| {
        let answer = "What stands now, and what new pods get for it; of a dry run what would.";
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
            "Writes an override on a workload, or takes it away; no roll-out starts.",
            "/api/v1/namespaces/{namespace}/workloads/{kind}/{name}/injection",
        ),
        endpoint(
            "overrideNamespace",
            "Writes an override on a namespace, or takes it away; no roll-out starts.",
            "/api/v1/namespaces/{namespace}/injection",
        ),
    ]
}

/// Writes or removes an override, and records the attempt.
pub(super) async fn write(request: ApiRequest, body: Body) -> Response {
    let query: Result<OverrideWriteQuery, ApiProblem> = request.parse_query();
    let dry_run = query.as_ref().is_ok_and(|query| query.dry_run);
    let target = OverrideTarget::from_request(&request);
    let attempt = AuditedAttempt::on_workload(
        ActKind::Override,
        target.audited_object(),
        target.right_scope(),
        dry_run,
        request.peer,
    );
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
    plan: OverridePlan,
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
    session.attempt.reason.clone_from(&request.reason);
    let prepared = {
        let request = request.clone();
        read_with_pods(api, &session.caller.user, move |api| prepare_override(api, &target, &request, now)).await?
    };
    let edit = &prepared.plan.edit;
    let object = session.attempt.other.as_mut().expect("the attempt was created with an object");
    (object.until, object.after) = (request.until, Some(annotations_json(&edit.fields)));
    edit.target.kind.clone_into(&mut object.object.kind);
    let outcome = match api.backend.overrides(&session.token)? {
        Some(writer) => {
            let result = writer.write(edit, OverrideWriteOptions { force_conflicts, dry_run }).await;
            let OverrideWriteReport { outcome, previous } =
                result.map_err(|why| write_problem(&why, &edit.target.resource_name()))?;
            object.before = Some(annotations_json(&previous));
            outcome
        }
        None if dry_run => OverrideWriteOutcome::Changed,
        None => {
            let kept = "what there is comes from files, which are changed by whoever keeps them";
            let by_hand = prepared.plan.describe_by_hand();
            return Err(ApiProblem::new(409, format!("{kept}: {by_hand}; dryRun=true tells what follows")));
        }
    };
    if outcome == OverrideWriteOutcome::Unchanged {
        session.attempt.note = Some("it stood there already; nothing has changed");
    }
    Ok(json_response(StatusCode::OK, &OverrideResponse::new(&session.attempt, request.action, outcome, prepared)))
}

fn prepare_override(
    api: &ApiState,
    target: &OverrideTarget,
    request: &OverrideRequest,
    now: Timestamp,
) -> Result<PreparedOverride, ApiProblem> {
    let inventory = &api.inventory;
    let subject = target.find_subject(inventory)?;
    let (plans, unread) = with_unread(inventory, || plan_overrides(inventory, request, vec![subject], now));
    let plans = plans.map_err(refusal_problem)?;
    let warnings = preview_warnings(&preview_plans(&plans), inventory);
    let plan = plans.into_iter().next().expect("each subject has one plan");
    Ok(PreparedOverride { plan, warnings, unread })
}

/// Returns annotations as in an object; null for a missing one.
fn annotations_json(fields: &[MetadataField]) -> Value {
    let fields: Map<_, _> = fields.iter().map(|field| (field.key.clone(), json!(field.value))).collect();
    json!({"metadata": {"annotations": fields}})
}

fn refusal_problem(why: OverrideRefusal) -> ApiProblem {
    match why {
        OverrideRefusal::Invalid(sentence) => ApiProblem::new(422, sentence),
        OverrideRefusal::Undoes(sentence) => ApiProblem::new(409, sentence),
    }
}

fn write_problem(why: &OverrideWriteError, resource: &str) -> ApiProblem {
    match why {
        OverrideWriteError::Conflict(_) => {
            ApiProblem::new(409, format!("{why}; change it there, or take it over with \"force\": true"))
        }
        OverrideWriteError::ObjectChanged(_) => ApiProblem::new(409, why.to_string()),
        OverrideWriteError::Refused(ApiError::Forbidden(sentence)) => {
            ApiProblem::new(403, format!("{sentence}; it takes the rights to get and patch {resource}"))
        }
        OverrideWriteError::Refused(why) => why.clone().into(),
    }
}
