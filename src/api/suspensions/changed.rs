//! A suspension is given a later end, or ends now.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::IF_MATCH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::Deserialize;

use super::told::{answer_with, etag};
use super::{Acting, asked};
use crate::api::problem::Problem;
use crate::api::reading::Asked as Request;
use crate::api::request::{carried_through, read, turn, whole};
use crate::api::session::{Attempt, Session};
use crate::audit::act::Deed;
use crate::features::suspension::change::{Ending, Extension as Longer, ended, extended};
use crate::features::suspension::stored::StoredSuspension;
use crate::kernel::api_error::ApiError;
use crate::kubernetes::resources::suspending::{lasting, lasts};
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// A change that lost a race is tried again so often.
const TRIES: usize = 5;

/// How much longer: exactly one of by and expiresAt says so.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("oneOf" = [asked::given("by"), asked::given("expiresAt")], "example" = {"by": "1h"}))]
pub(super) struct Extended {
    /// So much longer than at present, in hours, minutes and seconds.
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
#[serde(deny_unknown_fields)]
pub(super) struct Ended {
    /// For the record.
    reason: Option<String>,
}

/// Gives one a later end.
pub(super) async fn extend(request: Request, body: Body) -> Response {
    change(request, body, Deed::Extend).await
}

/// Ends one now.
pub(super) async fn end(request: Request, body: Body) -> Response {
    change(request, body, Deed::End).await
}

async fn change(request: Request, body: Body, deed: Deed) -> Response {
    let acting: Result<Acting, Problem> = request.query();
    let dry_run = acting.as_ref().is_ok_and(|acting| acting.dry_run);
    let attempt = Attempt::new(deed, request.part("namespace"), request.part("name"), dry_run, request.peer);
    carried_through(&Arc::clone(&request.api), async move {
        let Request { api, headers, .. } = &request;
        let mut session = Session::begin(api, headers, attempt).await?;
        let changed = async {
            acting?;
            session.may("get").await?;
            session.may("patch").await?;
            let asked = asked(headers, &whole(body).await?, deed)?;
            // Whoever sends slowly keeps nobody else waiting.
            let _turn = turn(api).await?;
            session.attempt.reason.clone_from(&asked.reason);
            changed(&mut session, headers, &asked).await
        }
        .await;
        session.done(changed)
    })
    .await
}

/// What a change is to come to.
struct Asked {
    longer: Option<Longer>,
    reason: Option<String>,
}

fn asked(headers: &HeaderMap, body: &Bytes, deed: Deed) -> Result<Asked, Problem> {
    if deed == Deed::End {
        let Ended { reason } = if body.is_empty() { Ended::default() } else { read(headers, body)? };
        return Ok(Asked { longer: None, reason });
    }
    let Extended { by, expires_at, reason } = read(headers, body)?;
    let longer = match (by, expires_at) {
        (Some(by), None) => Longer::By(lasting(&by).ok_or_else(|| {
            Problem::new(422, "by is not a positive duration of at most 99999h, such as 3h, 2h30m or 90s")
        })?),
        (None, Some(Time(until))) => Longer::Until(until),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::new(422, "exactly one of by and expiresAt says how much longer"));
        }
    };
    Ok(Asked { longer: Some(longer), reason })
}

async fn changed(session: &mut Session<'_>, headers: &HeaderMap, asked: &Asked) -> Result<Response, Problem> {
    let (api, dry_run) = (session.api, session.attempt.dry_run);
    let (namespace, name) = (session.attempt.namespace.clone(), session.attempt.name.clone().unwrap_or_default());
    let writing = api.backend.writing(&session.token)?;
    let mut tries = 1..=TRIES;
    loop {
        let is_last = tries.next().is_none_or(|attempt| attempt == TRIES);
        let live = writing.get(namespace.as_deref(), &name).await?;
        session.attempt.before = Some(live.object.clone());
        if headers.contains_key(IF_MATCH) && !names_state(headers, &live.object) {
            return Err(Problem::new(412, "it has been changed since you read it; read it again"));
        }
        let now = api.clock.now();
        let ending = match asked.longer {
            Some(longer) => Ending::Write(Box::new(extended(&live.object, longer, now, &api.terms)?)),
            None => ended(&live.object, now, &api.terms)?,
        };
        let written = match &ending {
            Ending::Write(object) => writing.replace(&live, object, dry_run).await.map(Some),
            Ending::Delete => writing.delete(&live, dry_run).await.map(|()| None),
        };
        match written {
            Ok(Some(StoredSuspension { object, .. })) => {
                session.attempt.after = Some(object.clone());
                return Ok(answer_with(api, &object, StatusCode::OK).await);
            }
            // It had not begun, and is no more.
            Ok(None) => return Ok(StatusCode::NO_CONTENT.into_response()),
            // Also a new status makes it another; whether what is asked for is, the next look tells.
            Err(ApiError::Changed(_)) if !is_last => {}
            Err(why) => return Err(why.into()),
        }
    }
}

/// Whether one of the states that are named is this one.
fn names_state(headers: &HeaderMap, object: &SuspensionObject) -> bool {
    let tag = etag(object);
    let named = headers.get_all(IF_MATCH).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|tags| tags.split(',')).any(|one| one.trim() == "*" || one.trim() == tag)
}
