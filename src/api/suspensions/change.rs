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
use super::{DryRunQuery, schema};
use crate::api::extract::ApiRequest;
use crate::api::limits::CHANGE_ATTEMPTS;
use crate::api::problem::ApiProblem;
use crate::api::request::{acquire_change_turn, parse_body, read_body, run_to_completion};
use crate::api::session::{ApiSession, AuditedAttempt, RightScope};
use crate::audit::act_entry::ActKind;
use crate::features::suspension::change::{SuspensionChange, SuspensionExtension, end_suspension, extend_suspension};
use crate::features::suspension::stored::StoredSuspension;
use crate::kernel::api_error::ApiError;
use crate::kernel::duration::{DURATION_GRAMMAR, parse_duration};
use crate::kubernetes::resources::suspension_fields::lasts;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// How much longer: exactly one of by and expiresAt says so.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Extended", rename_all = "camelCase")]
#[schemars(extend("oneOf" = [schema::given_field("by"), schema::given_field("expiresAt")], "example" = {"by": "1h"}))]
pub(super) struct ExtendRequest {
    /// How much longer than at present, such as 3d, 2h30m or 90s.
    #[serde(default)]
    #[schemars(schema_with = "lasts")]
    by: Option<String>,
    /// The first instant at which it no longer holds.
    expires_at: Option<Time>,
    /// Why, for the record.
    reason: Option<String>,
}

/// Why it ends.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Ended")]
pub(super) struct EndRequest {
    /// For the record.
    reason: Option<String>,
}

/// Gives a suspension a later end.
pub(super) async fn extend(request: ApiRequest, body: Body) -> Response {
    handle_change(request, body, ActKind::Extend).await
}

/// Ends a suspension now.
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
            let change = parse_change(headers, &read_body(body).await?, act)?;
            // A slow sender must not make others wait, so the body is read before the turn is taken.
            let _turn = acquire_change_turn(api).await?;
            session.attempt.suspension_mut().reason.clone_from(&change.reason);
            apply_change(&mut session, headers, &change).await
        }
        .await;
        session.record_outcome(changed)
    })
    .await
}

/// Requested change: an extension, or an end if there is none.
struct ChangeRequest {
    extension: Option<SuspensionExtension>,
    reason: Option<String>,
}

fn parse_change(headers: &HeaderMap, body: &Bytes, act: ActKind) -> Result<ChangeRequest, ApiProblem> {
    if act == ActKind::End {
        let EndRequest { reason } = if body.is_empty() { EndRequest::default() } else { parse_body(headers, body)? };
        return Ok(ChangeRequest { extension: None, reason });
    }
    let ExtendRequest { by, expires_at, reason } = parse_body(headers, body)?;
    let extension = match (by, expires_at) {
        (Some(by), None) => SuspensionExtension::By(
            parse_duration(&by).map_err(|_| ApiProblem::new(422, format!("by is not {DURATION_GRAMMAR}")))?,
        ),
        (None, Some(Time(until))) => SuspensionExtension::Until(until),
        (Some(_), Some(_)) | (None, None) => {
            return Err(ApiProblem::new(422, "exactly one of by and expiresAt says how much longer"));
        }
    };
    Ok(ChangeRequest { extension: Some(extension), reason })
}

async fn apply_change(
    session: &mut ApiSession<'_>,
    headers: &HeaderMap,
    change: &ChangeRequest,
) -> Result<Response, ApiProblem> {
    let (api, dry_run) = (session.api, session.attempt.dry_run);
    let RightScope { namespace, name, .. } = session.attempt.scope.clone();
    let name = name.unwrap_or_default();
    let store = api.backend.suspension_store(&session.token)?;
    let mut attempts = 1..=CHANGE_ATTEMPTS;
    loop {
        let is_last = attempts.next().is_none_or(|attempt| attempt == CHANGE_ATTEMPTS);
        let stored = store.get(namespace.as_deref(), &name).await?;
        session.attempt.suspension_mut().before = Some(stored.object.clone());
        if headers.contains_key(IF_MATCH) && !matches_state(headers, &stored.object) {
            return Err(ApiProblem::new(412, "it has been changed since you read it; read it again"));
        }
        let now = api.clock.now();
        let planned = match change.extension {
            Some(extension) => {
                SuspensionChange::Write(Box::new(extend_suspension(&stored.object, extension, now, &api.terms)?))
            }
            None => end_suspension(&stored.object, now, &api.terms)?,
        };
        let written = match &planned {
            SuspensionChange::Write(object) => store.replace(&stored, object, dry_run).await.map(Some),
            SuspensionChange::Delete => store.delete(&stored, dry_run).await.map(|()| None),
        };
        match written {
            Ok(Some(StoredSuspension { object, .. })) => {
                session.attempt.suspension_mut().after = Some(object.clone());
                return Ok(respond_with(api, &object, StatusCode::OK).await);
            }
            // The suspension had not begun, and was deleted.
            Ok(None) => return Ok(StatusCode::NO_CONTENT.into_response()),
            // A new status also changes the version; the next attempt checks the request against the new state.
            Err(ApiError::Changed(_)) if !is_last => {}
            Err(why) => return Err(why.into()),
        }
    }
}

/// Returns whether `If-Match` names the present state of the suspension.
fn matches_state(headers: &HeaderMap, object: &SuspensionObject) -> bool {
    let tag = etag(object);
    let named = headers.get_all(IF_MATCH).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|tags| tags.split(',')).any(|one| one.trim() == "*" || one.trim() == tag)
}
