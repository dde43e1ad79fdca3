//! `/api/v1`: tells the caller's name, the version, the mesh and all endpoints.

use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::endpoint::{ApiEndpoint, OperationSpec, ResponseSpec};
use super::extract::ApiRequest;
use super::request::json_response;
use super::session::ApiSession;

/// Caller, server and endpoints.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "About")]
pub(super) struct DiscoveryResponse {
    /// Name of the caller in the cluster.
    user: String,
    /// Version of the server.
    version: &'static str,
    /// Mesh of the installation.
    mesh: &'static str,
    /// Endpoints of the API.
    endpoints: Vec<EndpointRow>,
}

/// Method and path of an endpoint.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Endpoint")]
struct EndpointRow {
    method: String,
    path: String,
}

pub(super) fn endpoints() -> Vec<ApiEndpoint> {
    let operation = OperationSpec {
        id: "getAbout",
        summary: "Returns the caller by its token, and all endpoints.",
        responses: vec![ResponseSpec::json::<DiscoveryResponse>(200, "Caller, server and endpoints.")],
        ..OperationSpec::default()
    };
    vec![ApiEndpoint::get("/api/v1".to_owned(), discover, operation)]
}

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
