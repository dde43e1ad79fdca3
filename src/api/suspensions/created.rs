//! A suspension is made: once, also where it is asked for twice.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value};

use super::Acting;
use super::told::answer_with;
use crate::api::Api;
use crate::api::problem::Problem;
use crate::api::reading::Asked;
use crate::api::request::{carried_through, read, turn, whole};
use crate::api::session::{Attempt, Session};
use crate::audit::act::Deed;
use crate::features::suspension::change::{asks_for_the_same, drafted};
use crate::features::suspension::stored::StoredSuspension;
use crate::features::suspension::traffic::routing_for;
use crate::kernel::text::Clean;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// The header that makes a repeated creation one.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Makes one.
pub(super) async fn create(asked: Asked, body: Body) -> Response {
    let acting: Result<Acting, Problem> = asked.query();
    let dry_run = acting.as_ref().is_ok_and(|acting| acting.dry_run);
    let attempt = Attempt::new(Deed::Create, asked.part("namespace"), None, dry_run, asked.peer);
    carried_through(&Arc::clone(&asked.api), async move {
        let Asked { api, headers, .. } = &asked;
        let mut session = Session::begin(api, headers, attempt).await?;
        let made = async {
            acting?;
            session.may("create").await?;
            let body = whole(body).await?;
            // Whoever sends slowly keeps nobody else waiting.
            let _turn = turn(api).await?;
            let mut fields: Map<String, Value> = read(headers, &body)?;
            let name = name_of(&mut fields, &session, headers)?;
            session.attempt.name = Some(name.clone());
            made(&mut session, fields, name).await
        }
        .await;
        session.done(made)
    })
    .await
}

async fn made(session: &mut Session<'_>, fields: Map<String, Value>, name: String) -> Result<Response, Problem> {
    let (api, namespace, dry_run) = (session.api, session.attempt.namespace.clone(), session.attempt.dry_run);
    let starts_were_given = fields.get("startsAt").is_some_and(|value| !value.is_null());
    let spec = serde_json::from_value(Value::Object(fields));
    let spec =
        spec.map_err(|error| Problem::new(422, format!("this is no suspension: {}", Clean(&error.to_string()))))?;
    let draft = drafted(namespace, name, spec, session.attempt.id.clone(), api.clock.now(), &api.terms)?;
    session.attempt.after = Some(draft.clone());
    let writing = api.backend.writing(&session.token)?;
    let created = match unobstructed(api, &draft) {
        Ok(()) => writing.create(&draft, dry_run).await.map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    match created {
        Ok(StoredSuspension { object, .. }) => {
            session.attempt.after = Some(object.clone());
            let status = if dry_run { StatusCode::OK } else { StatusCode::CREATED };
            let mut response = answer_with(api, &object, status).await;
            if !dry_run && let Ok(location) = HeaderValue::from_str(&path_of(&object)) {
                response.headers_mut().insert(LOCATION, location);
            }
            Ok(response)
        }
        // The same once more is no conflict, also not with what the first has made.
        Err(problem) if problem.status == 409 => {
            let stands = writing.get(draft.namespace.as_deref(), &draft.name).await;
            let Ok(StoredSuspension { object: stands, .. }) = stands else { return Err(problem) };
            if !asks_for_the_same(&stands, &draft, starts_were_given) {
                let asks = format!("{} stands there, and asks for something else", stands.named());
                return Err(Problem::new(409, format!("{asks}; choose another name, or extend or end it")));
            }
            session.attempt.after = Some(stands.clone());
            session.attempt.note = Some("it stood already; nothing was written");
            Ok(answer_with(api, &stands, StatusCode::OK).await)
        }
        Err(problem) => Err(problem),
    }
}

/// Refuses what could not be carried out.
fn unobstructed(api: &Api, draft: &SuspensionObject) -> Result<(), Problem> {
    let obstacles: Vec<_> = match draft.suspends_traffic() {
        true => routing_for(&api.inventory, draft, api.clock.now())
            .into_iter()
            .filter_map(|one| one.routing.err())
            .collect(),
        false => Vec::new(),
    };
    match obstacles.first() {
        None => Ok(()),
        Some(first) => {
            let status = match first.reason() {
                "Taken" => 409,
                "Unknown" => 503,
                _ => 422,
            };
            let sentences: Vec<_> = obstacles.iter().map(|one| one.sentence()).collect();
            Err(Problem::new(status, sentences.join("; ")))
        }
    }
}

/// A name that was given, or one that is the same for the same key of the same caller, or a new one.
fn name_of(fields: &mut Map<String, Value>, session: &Session<'_>, headers: &HeaderMap) -> Result<String, Problem> {
    match fields.remove("name") {
        Some(Value::String(name)) => return Ok(name),
        Some(_) => return Err(Problem::new(422, "name is not a text")),
        None => {}
    }
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(format!("suspension-{}", &session.attempt.id[..8])) };
    let namespace = session.attempt.namespace.as_deref().unwrap_or_default();
    let parts = [session.caller.user.as_bytes(), namespace.as_bytes(), key.as_bytes()].join(&0);
    let hash = digest(&SHA256, &parts);
    let hex: String = hash.as_ref()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("suspension-{hex}"))
}

fn path_of(object: &SuspensionObject) -> String {
    let SuspensionObject { namespace, name, .. } = object;
    match namespace {
        Some(namespace) => format!("/api/v1/namespaces/{namespace}/suspensions/{name}"),
        None => format!("/api/v1/suspensions/{name}"),
    }
}
