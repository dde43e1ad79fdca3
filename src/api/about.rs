//! `/api/v1`: who asks, and what there is to ask for.

use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::endpoint::{self, Answer, Operation};
use super::reading::Asked;
use super::request::json_answer;
use super::session::Session;

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
    method: String,
    path: String,
}

/// What is served about that.
pub(super) fn endpoints() -> Vec<endpoint::Endpoint> {
    let operation = Operation {
        id: "getAbout",
        summary: "Tells who asks, by the token, and what there is to ask for.",
        answers: vec![Answer::json::<About>(200, "Who, and what.")],
        ..Operation::default()
    };
    vec![endpoint::Endpoint::get("/api/v1".to_owned(), about, operation)]
}

/// Tells.
pub(super) async fn about(asked: Asked) -> Response {
    let answer = |session: &Session<'_>| {
        let endpoints = super::endpoints().into_iter();
        let endpoints = endpoints.map(|one| Endpoint { method: one.method.to_uppercase(), path: one.path });
        let about = About {
            user: session.caller.user.clone(),
            version: env!("CARGO_PKG_VERSION"),
            mesh: session.api.inventory.settings.mesh.name,
            endpoints: endpoints.collect(),
        };
        json_answer(StatusCode::OK, &about)
    };
    asked.found_by_anybody(answer).await
}
