//! `/api/v1`: who asks, and what there is to ask for.

use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::reading::Asked;
use super::session::Session;
use super::suspensions::json_answer;

/// Who asks whom for what.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct About {
    /// Who asks, as the cluster knows them.
    user: String,
    /// The version of the server.
    version: &'static str,
    /// The mesh that it serves.
    mesh: &'static str,
    /// Everything that it answers.
    endpoints: Vec<Endpoint>,
}

/// A path, and how it is asked for.
#[derive(Debug, Serialize, JsonSchema)]
struct Endpoint {
    method: &'static str,
    path: String,
}

/// Tells.
pub(super) async fn about(asked: Asked) -> Response {
    let answer = |session: &Session<'_>| {
        let endpoints = super::endpoints().into_iter().map(|(method, path, _)| Endpoint { method, path });
        let about = About {
            user: session.caller.user.clone(),
            version: env!("CARGO_PKG_VERSION"),
            mesh: session.api.inventory.settings.mesh.name,
            endpoints: endpoints.collect(),
        };
        json_answer(StatusCode::OK, &json!(about))
    };
    asked.found_by_anybody(answer).await
}
