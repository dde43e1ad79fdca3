//! `/api/v1`: tells the caller's name, the version, the mesh and all endpoints.

use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::endpoint::{ApiEndpoint, OperationSpec, ResponseSpec};
use super::extract::ApiRequest;
use super::request::json_response;
use super::session::ApiSession;

/// Who asks whom for what.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "About")]
pub(super) struct DiscoveryResponse {
    /// Who asks, as the cluster knows them.
    user: String,
    /// The version of the server.
    version: &'static str,
    /// The mesh that it serves.
    mesh: &'static str,
    /// Everything that it answers.
    endpoints: Vec<EndpointRow>,
}

/// A path, and how it is asked for.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Endpoint")]
struct EndpointRow {
    method: String,
    path: String,
}

pub(super) fn endpoints() -> Vec<ApiEndpoint> {
    let operation = OperationSpec {
        id: "getAbout",
        summary: "Tells who asks, by the token, and what there is to ask for.",
        responses: vec![ResponseSpec::json::<DiscoveryResponse>(200, "Who, and what.")],
        ..OperationSpec::default()
    };
    vec![ApiEndpoint::get("/api/v1".to_owned(), discover, operation)]
}

/// Answers `GET /api/v1`.
pub(super) async fn discover(request: ApiRequest) -> Response {
    let answer = |session: &ApiSession<'_>| {
        let endpoints = super::endpoints().into_iter();
        let endpoints = endpoints.map(|one| EndpointRow { method: one.method.to_uppercase(), path: one.path });
        let response = DiscoveryResponse {
            user: session.caller.user.clone(),
            version: env!("CARGO_PKG_VERSION"),
            mesh: session.api.inventory.settings.mesh.name,
            endpoints: endpoints.collect(),
        };
        json_response(StatusCode::OK, &response)
    };
    request.answer_anybody(answer).await
}
