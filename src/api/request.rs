//! What requests of every resource have in common: where they go, their queries and bodies, and how they are answered.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::LengthLimitError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::Problem;
use super::{Api, BODY, PATIENCE};
use crate::kernel::text::Clean;
use crate::kubernetes::intake::files;
use crate::kubernetes::resources::strict::{Wrong, strictly};

/// A body has so long to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits for one's turn to change something.
pub(super) async fn turn(api: &Api) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
    match tokio::time::timeout(PATIENCE, api.changes.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) | Err(_) => Err(Problem::new(503, "too many changes are under way; try again in a second")),
    }
}

/// The body, which is not read before it is known who sends it, and that they may.
pub(super) async fn whole(body: Body) -> Result<Bytes, Problem> {
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if std::error::Error::source(&error).is_some_and(|cause| cause.is::<LengthLimitError>()) => {
            Err(Problem::new(413, "the body is larger than 64 KiB"))
        }
        Ok(Err(_)) => Err(Problem::new(400, "the body ended early; send it again")),
        Err(_) => Err(Problem::new(408, "the body took too long to arrive; send it again")),
    }
}

/// What a body says.
pub(super) fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Problem> {
    if essence(headers) != "application/json" {
        return Err(Problem::new(415, "the body is to be JSON; send it with Content-Type: application/json"));
    }
    read_json(body)
}

/// The objects of Kubernetes that a body is, in JSON or YAML; none where it is empty.
pub(super) fn objects(headers: &HeaderMap, body: &Bytes) -> Result<Vec<Value>, Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    match essence(headers).as_str() {
        "application/json" => Ok(files::each_of(vec![read_json(body)?])),
        "application/yaml" | "application/x-yaml" | "text/yaml" => {
            let unreadable = |why: &str| Problem::new(400, format!("the body cannot be read: {}", Clean(why)));
            let text = std::str::from_utf8(body).map_err(|_| unreadable("it is no text in UTF-8"))?;
            files::objects_of(text).map_err(|why| unreadable(&why))
        }
        _ => Err(Problem::new(
            415,
            "the body is to be JSON or YAML; send it with Content-Type: application/json or application/yaml",
        )),
    }
}

/// The type of a body, without parameters and in small letters.
fn essence(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn read_json<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let status = if error.is_data() { 422 } else { 400 };
        let why = wrong::<T>(body).map_or_else(|| error.to_string(), |wrong| wrong.to_string());
        // A line each; what is left out of very many is told when these are mended.
        let first: Vec<&str> = why.lines().map(str::trim).take(2).collect();
        Problem::new(status, format!("the body cannot be read: {}", Clean(&first.join("; "))))
    })
}

/// What is wrong with a body that is JSON, with the place of it, and for a field that is not known the one that was perhaps meant.
fn wrong<T: DeserializeOwned>(body: &Bytes) -> Option<Wrong> {
    let value: Value = serde_json::from_slice(body).ok()?;
    strictly::<T>(&value).err()
}

/// The parameters of a query, of which none may be unknown.
pub(super) fn query_of<T: DeserializeOwned>(query: Option<&str>) -> Result<T, Problem> {
    let uri = format!("/?{}", query.unwrap_or_default())
        .parse()
        .map_err(|_| Problem::new(400, "the query cannot be read"))?;
    let parsed = axum::extract::Query::<T>::try_from_uri(&uri);
    parsed.map(|query| query.0).map_err(|error| Problem::new(400, Clean(&error.body_text()).to_string()))
}

/// An answer in JSON.
pub(super) fn json_answer(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (status, [(CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(error) => Problem::new(500, format!("the answer cannot be written: {error}")).into_response(),
    }
}

/// Does what has been begun to its end, also when whoever asked has gone meanwhile, and answers: nothing is stored unrecorded.
pub(super) async fn carried_through(
    api: &Api,
    work: impl Future<Output = Result<Response, Problem>> + Send + 'static,
) -> Response {
    let done = api.under_way.spawn(work).await;
    let failed = |_| Err(Problem::new(500, "this failed within; the log of the server says how"));
    done.unwrap_or_else(failed).unwrap_or_else(IntoResponse::into_response)
}

/// The answer to a request, also where it has none but a problem.
pub(super) async fn answer(work: impl Future<Output = Result<Response, Problem>>) -> Response {
    work.await.unwrap_or_else(IntoResponse::into_response)
}
