//! Extends a suspension, or ends it now.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::IF_MATCH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::Deserialize;

use super::response::{etag, respond_with};
use super::{DryRunQuery, schema, suspension_world};
use crate::api::audited_object::RightScope;
use crate::api::extract::ApiRequest;
use crate::api::problem::ApiProblem;
use crate::api::request::{acquire_change_turn, parse_body, read_body, run_to_completion};
use crate::api::session::{ApiSession, AuditedAttempt};
use crate::audit::act_entry::ActKind;
use crate::features::suspension::apply::{ChangeOutcome, SuspensionFailure};
use crate::features::suspension::change::SuspensionRefusal;
use crate::features::suspension::request::{ChangeRequest, SuspensionExtension};
use crate::kernel::duration::{DURATION_GRAMMAR, parse_duration};
use crate::kubernetes::resources::suspension_fields::lasts;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// New end: exactly one of by and expiresAt is required.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Extended", rename_all = "camelCase")]
#[schemars(extend("oneOf" = [schema::given_field("by"), schema::given_field("expiresAt")], "example" = {"by": "1h"}))]
pub(super) struct ExtendRequest {
    /// Duration to add to the present end, such as 3d, 2h30m or 90s.
    #[serde(default)]
    #[schemars(schema_with = "lasts")]
    by: Option<String>,
    /// New end: the first instant at which the suspension is no longer in force.
    expires_at: Option<Time>,
    /// Reason, for the audit log.
    reason: Option<String>,
}

/// Reason of an end.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Ended")]
pub(super) struct EndRequest {
    /// Reason, for the audit log.
    reason: Option<String>,
}

pub(super) async fn extend(request: ApiRequest, body: Body) -> Response {
    handle_change(request, body, ActKind::Extend).await
}

pub(super) async fn end(request: ApiRequest, body: Body) -> Response {
    handle_change(request, body, ActKind::End).await
}

async fn handle_change(request: ApiRequest, body: Body, act: ActKind) -> Response {
    let query: Result<DryRunQuery, ApiProblem> = request.parse_query();
    let dry_run = query.as_ref().is_ok_and(|query| query.dry_run);
    let attempt = AuditedAttempt::on_suspension(
        act,
        request.path_part("namespace"),
        request.path_part("name"),
        dry_run,
        request.peer,
    );
    run_to_completion(&Arc::clone(&request.api), async move {
        let ApiRequest { api, headers, .. } = &request;
        let mut session = ApiSession::begin(api, headers, attempt).await?;
        let changed = async {
            query?;
            session.authorize("get").await?;
            session.authorize("patch").await?;
            let (change, reason) = parse_change(headers, &read_body(body).await?, act)?;
            // A slow sender must not make others wait, so the body is read before the turn is taken.
            let _turn = acquire_change_turn(api).await?;
            session.attempt.suspension_mut().reason = reason;
            apply_change(&mut session, headers, change).await
        }
        .await;
        session.record_outcome(changed)
    })
    .await
}

/// Returns the requested change, and the reason of the caller.
fn parse_change(
    headers: &HeaderMap,
    body: &Bytes,
    act: ActKind,
) -> Result<(ChangeRequest, Option<String>), ApiProblem> {
    if act == ActKind::End {
        let EndRequest { reason } = if body.is_empty() { EndRequest::default() } else { parse_body(headers, body)? };
        return Ok((ChangeRequest::End, reason));
    }
    let ExtendRequest { by, expires_at, reason } = parse_body(headers, body)?;
    let extension = match (by, expires_at) {
        (Some(by), None) => SuspensionExtension::By(
            parse_duration(&by).map_err(|_| ApiProblem::new(422, format!("by is not {DURATION_GRAMMAR}")))?,
        ),
        (None, Some(Time(until))) => SuspensionExtension::Until(until),
        (Some(_), Some(_)) | (None, None) => {
            return Err(ApiProblem::new(422, "exactly one of by and expiresAt is required"));
        }
    };
    Ok((ChangeRequest::Extend(extension), reason))
}

async fn apply_change(
    session: &mut ApiSession<'_>,
    headers: &HeaderMap,
    request: ChangeRequest,
) -> Result<Response, ApiProblem> {
    let (api, dry_run) = (session.api, session.attempt.dry_run);
    let RightScope { namespace, name, .. } = session.attempt.scope.clone();
    let name = name.unwrap_or_default();
    let store = api.backend.suspension_store(&session.token)?;
    let stored = store.get(namespace.as_deref(), &name).await?;
    session.attempt.suspension_mut().before = Some(stored.object.clone());
    let is_conditional = headers.contains_key(IF_MATCH);
    if is_conditional && !matches_state(headers, &stored.object) {
        return Err(ApiProblem::new(412, SuspensionRefusal::changed_since(&stored.object).to_string()));
    }
    let plan = suspension_world(api).prepare_change(stored, request)?;
    match plan.apply(&store, &api.clock, dry_run).await {
        Ok(ChangeOutcome::Written(object)) => {
            session.attempt.suspension_mut().after = Some(SuspensionObject::clone(&object));
            Ok(respond_with(api, &object, StatusCode::OK).await)
        }
        Ok(ChangeOutcome::Deleted) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(SuspensionFailure::Refused(SuspensionRefusal::Changed(why))) if is_conditional => {
            Err(ApiProblem::new(412, why))
        }
        Err(why) => Err(why.into()),
    }
}

/// Returns whether `If-Match` names the present state of the suspension.
fn matches_state(headers: &HeaderMap, object: &SuspensionObject) -> bool {
    let tag = etag(object);
    let named = headers.get_all(IF_MATCH).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|tags| tags.split(',')).any(|one| one.trim() == "*" || one.trim() == tag)
}
