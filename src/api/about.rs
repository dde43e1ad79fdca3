//! `/api/v1`: who asks, and whom.

use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::endpoint::{Answer, Endpoint, Operation};
use super::reading::Asked;
use super::request::json_answer;
use super::session::Session;

/// Who asks whom.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct About {
    /// Who asks, as the cluster knows them.
    user: String,
    /// The version of the server.
    version: &'static str,
    /// The mesh that it serves.
    mesh: &'static str,
}

/// What is served of it.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let answers = vec![Answer::json::<About>(200, "Who asks, and whom.")];
    let operation = Operation {
        id: "getAbout",
        summary: "Tells who asks, by the token, and whom.",
        answers,
        ..Operation::default()
    };
    vec![Endpoint::get("/api/v1".to_owned(), about, operation)]
}

/// Tells.
pub(super) async fn about(asked: Asked) -> Response {
    let answer = |session: &Session<'_>| {
        let about = About {
            user: session.caller.user.clone(),
            version: env!("CARGO_PKG_VERSION"),
            mesh: session.api.inventory.settings.mesh.name,
        };
        json_answer(StatusCode::OK, &about)
    };
    asked.found_by_anybody(answer).await
}
