//! Bodies, queries, turns and responses, for requests of every resource.

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::LengthLimitError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ApiState;
use super::limits::{BODY_TIMEOUT, MAX_BODY_BYTES, TURN_TIMEOUT};
use super::problem::ApiProblem;
use crate::kernel::text::CleanText;
use crate::kubernetes::intake::files;
use crate::kubernetes::resources::strict::{StrictError, read_strictly};

/// Waits for a turn to change something.
pub(super) async fn acquire_change_turn(api: &ApiState) -> Result<tokio::sync::SemaphorePermit<'_>, ApiProblem> {
    match tokio::time::timeout(TURN_TIMEOUT, api.change_slots.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) | Err(_) => Err(ApiProblem::new(503, "too many changes are under way; try again in a second")),
    }
}

/// Reads the body. Call this only after the caller's right is checked.
pub(super) async fn read_body(body: Body) -> Result<Bytes, ApiProblem> {
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if std::error::Error::source(&error).is_some_and(|cause| cause.is::<LengthLimitError>()) => {
            Err(ApiProblem::new(413, "the body is larger than 64 KiB"))
        }
        Ok(Err(_)) => Err(ApiProblem::new(400, "the body ended early; send it again")),
        Err(_) => Err(ApiProblem::new(408, "the body took too long to arrive; send it again")),
    }
}

/// Parses a JSON body.
pub(super) fn parse_body<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, ApiProblem> {
    if media_type(headers) != "application/json" {
        return Err(ApiProblem::new(415, "the body is to be JSON; send it with Content-Type: application/json"));
    }
    parse_json(body)
}

/// Parses a body of Kubernetes objects, in JSON or YAML; an empty body has none.
pub(super) fn parse_objects(headers: &HeaderMap, body: &Bytes) -> Result<Vec<Value>, ApiProblem> {
    if body.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    match media_type(headers).as_str() {
        "application/json" => Ok(files::flatten_lists(vec![parse_json(body)?])),
        "application/yaml" | "application/x-yaml" | "text/yaml" => {
            let unreadable = |why: &str| ApiProblem::new(400, format!("the body cannot be read: {}", CleanText(why)));
            let text = std::str::from_utf8(body).map_err(|_| unreadable("it is no text in UTF-8"))?;
            files::parse_objects(text).map_err(|why| unreadable(&why))
        }
        _ => Err(ApiProblem::new(
            415,
            "the body is to be JSON or YAML; send it with Content-Type: application/json or application/yaml",
        )),
    }
}

/// Returns the media type of the body, without parameters and in lower case.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn parse_json<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiProblem> {
    serde_json::from_slice(body).map_err(|error| {
        let status = if error.is_data() { 422 } else { 400 };
        let why = find_mistake::<T>(body).map_or_else(|| error.to_string(), |wrong| wrong.to_string());
        // The first two mistakes are enough: the others show up once these are fixed.
        let first: Vec<&str> = why.lines().map(str::trim).take(2).collect();
        ApiProblem::new(status, format!("the body cannot be read: {}", CleanText(&first.join("; "))))
    })
}

/// Finds the mistake in a JSON body, with its place, and a suggestion for an unknown field.
fn find_mistake<T: DeserializeOwned>(body: &Bytes) -> Option<StrictError> {
    let value: Value = serde_json::from_slice(body).ok()?;
    read_strictly::<T>(&value).err()
}

/// Parses a query. Unknown parameters are refused.
pub(super) fn parse_query<T: DeserializeOwned>(query: Option<&str>) -> Result<T, ApiProblem> {
    let uri = format!("/?{}", query.unwrap_or_default())
        .parse()
        .map_err(|_| ApiProblem::new(400, "the query cannot be read"))?;
    let parsed = axum::extract::Query::<T>::try_from_uri(&uri);
    parsed.map(|query| query.0).map_err(|error| ApiProblem::new(400, CleanText(&error.body_text()).to_string()))
}

/// Returns a JSON response.
pub(super) fn json_response(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (status, [(CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(error) => ApiProblem::new(500, format!("the answer cannot be written: {error}")).into_response(),
    }
}

/// Runs work to its end even if the client goes away, so that nothing is stored unrecorded, and answers.
pub(super) async fn run_to_completion(
    api: &ApiState,
    work: impl Future<Output = Result<Response, ApiProblem>> + Send + 'static,
) -> Response {
    let done = api.running_changes.spawn(work).await;
    let failed = |_| Err(ApiProblem::new(500, "this failed within; the log of the server says how"));
    done.unwrap_or_else(failed).unwrap_or_else(IntoResponse::into_response)
}

/// Runs work, and answers with its response or its problem.
pub(super) async fn respond(work: impl Future<Output = Result<Response, ApiProblem>>) -> Response {
    work.await.unwrap_or_else(IntoResponse::into_response)
}
