//! Creates a suspension; a repeated request creates it only once.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value};

use super::DryRunQuery;
use super::response::respond_with;
use crate::api::ApiState;
use crate::api::extract::ApiRequest;
use crate::api::problem::ApiProblem;
use crate::api::request::{acquire_change_turn, parse_body, read_body, run_to_completion};
use crate::api::session::{ApiSession, AuditedAttempt};
use crate::audit::act_entry::ActKind;
use crate::features::suspension::change::{draft_suspension, is_same_request};
use crate::features::suspension::stored::StoredSuspension;
use crate::features::suspension::traffic::plan_routing;
use crate::kernel::text::CleanText;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Header by which repeated requests create only one suspension.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Creates a suspension.
pub(super) async fn create(request: ApiRequest, body: Body) -> Response {
    let query: Result<DryRunQuery, ApiProblem> = request.parse_query();
    let dry_run = query.as_ref().is_ok_and(|query| query.dry_run);
    let attempt =
        AuditedAttempt::on_suspension(ActKind::Create, request.path_part("namespace"), None, dry_run, request.peer);
    run_to_completion(&Arc::clone(&request.api), async move {
        let ApiRequest { api, headers, .. } = &request;
        let mut session = ApiSession::begin(api, headers, attempt).await?;
        let response = async {
            query?;
            session.authorize("create").await?;
            let body = read_body(body).await?;
            // A slow sender must not make others wait, so the body is read before the turn is taken.
            let _turn = acquire_change_turn(api).await?;
            let mut fields: Map<String, Value> = parse_body(headers, &body)?;
            let name = choose_name(&mut fields, &session, headers)?;
            session.attempt.scope.name = Some(name.clone());
            create_named(&mut session, fields, name).await
        }
        .await;
        session.record_outcome(response)
    })
    .await
}

async fn create_named(
    session: &mut ApiSession<'_>,
    fields: Map<String, Value>,
    name: String,
) -> Result<Response, ApiProblem> {
    let (api, namespace, dry_run) = (session.api, session.attempt.scope.namespace.clone(), session.attempt.dry_run);
    let has_start = fields.get("startsAt").is_some_and(|value| !value.is_null());
    let spec = serde_json::from_value(Value::Object(fields));
    let spec = spec
        .map_err(|error| ApiProblem::new(422, format!("this is no suspension: {}", CleanText(&error.to_string()))))?;
    let draft = draft_suspension(namespace, name, spec, session.attempt.id.clone(), api.clock.now(), &api.terms)?;
    session.attempt.suspension_mut().after = Some(draft.clone());
    let store = api.backend.suspension_store(&session.token)?;
    let created = match check_obstacles(api, &draft) {
        Ok(()) => store.create(&draft, dry_run).await.map_err(ApiProblem::from),
        Err(problem) => Err(problem),
    };
    match created {
        Ok(StoredSuspension { object, .. }) => {
            session.attempt.suspension_mut().after = Some(object.clone());
            let status = if dry_run { StatusCode::OK } else { StatusCode::CREATED };
            let mut response = respond_with(api, &object, status).await;
            if !dry_run && let Ok(location) = HeaderValue::from_str(&suspension_path(&object)) {
                response.headers_mut().insert(LOCATION, location);
            }
            Ok(response)
        }
        // A repeated request is no conflict, even with the routing that the first one has created.
        Err(problem) if problem.status == 409 => {
            let existing = store.get(draft.namespace.as_deref(), &draft.name).await;
            let Ok(StoredSuspension { object: existing, .. }) = existing else { return Err(problem) };
            if !is_same_request(&existing, &draft, has_start) {
                let asks = format!("{} stands there, and asks for something else", existing.describe());
                return Err(ApiProblem::new(409, format!("{asks}; choose another name, or extend or end it")));
            }
            session.attempt.suspension_mut().after = Some(existing.clone());
            session.attempt.suspension_mut().note = Some("it stood already; nothing was written");
            Ok(respond_with(api, &existing, StatusCode::OK).await)
        }
        Err(problem) => Err(problem),
    }
}

/// Refuses a suspension of traffic that could not be carried out.
fn check_obstacles(api: &ApiState, draft: &SuspensionObject) -> Result<(), ApiProblem> {
    let obstacles: Vec<_> = match draft.suspends_traffic() {
        true => plan_routing(&api.inventory, draft, api.clock.now())
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
            Err(ApiProblem::new(status, sentences.join("; ")))
        }
    }
}

/// Returns the given name; or a name derived from caller and idempotency key; or a new one.
fn choose_name(
    fields: &mut Map<String, Value>,
    session: &ApiSession<'_>,
    headers: &HeaderMap,
) -> Result<String, ApiProblem> {
    match fields.remove("name") {
        Some(Value::String(name)) => return Ok(name),
        Some(_) => return Err(ApiProblem::new(422, "name is not a text")),
        None => {}
    }
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(format!("suspension-{}", &session.attempt.id[..8])) };
    let namespace = session.attempt.scope.namespace.as_deref().unwrap_or_default();
    let parts = [session.caller.user.as_bytes(), namespace.as_bytes(), key.as_bytes()].join(&0);
    let hash = digest(&SHA256, &parts);
    let hex: String = hash.as_ref()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("suspension-{hex}"))
}

fn suspension_path(object: &SuspensionObject) -> String {
    let SuspensionObject { namespace, name, .. } = object;
    match namespace {
        Some(namespace) => format!("/api/v1/namespaces/{namespace}/suspensions/{name}"),
        None => format!("/api/v1/suspensions/{name}"),
    }
}
