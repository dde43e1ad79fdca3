//! `/api/v1/namespaces/{namespace}/workloads/{kind}/{name}`: explains the decision for one workload.

use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::ApiState;
use super::endpoint::ApiEndpoint;
use super::extract::{ApiRequest, with_unread};
use super::problem::ApiProblem;
use crate::features::explain::explanation::Explanation;
use crate::features::explain::request::{self, ExplainReport, ExplainRequest};
use crate::features::status::state::WorkloadState;
use crate::features::status::states::WorkloadStatus;
use crate::kubernetes::client::access::ProtectedResource;

/// Explanation as `outrigger explain -o json` prints it, and the state of the workload.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Explained")]
pub(super) struct ExplanationResponse {
    #[serde(flatten)]
    explanation: Explanation,
    /// State of the workload.
    state: WorkloadState,
    /// Reason of the state, in one sentence.
    why: String,
    /// Names of running pods that differ from a new pod.
    differing: Vec<String>,
    /// Parts of the cluster that are not known.
    unread: Vec<String>,
    /// Whether the answer is incomplete, since some parts are not known.
    partial: bool,
}

/// Returns the endpoints of explanations.
pub(super) fn endpoints() -> Vec<ApiEndpoint> {
    vec![ApiEndpoint::cached_get::<ExplanationResponse, _>(
        "explainWorkload",
        "/api/v1/namespaces/{namespace}/workloads/{kind}/{name}",
        "Explains the decision for new pods of a workload, with every rule considered.",
        explain,
    )]
}

pub(super) async fn explain(request: ApiRequest) -> Response {
    let part = |name: &str| request.path_part(name).unwrap_or_default();
    let target = ExplainRequest { namespace: part("namespace"), kind: part("kind"), name: part("name") };
    let namespace = target.namespace.clone();
    request
        .answer_read(("get", ProtectedResource::Workloads), Some(&namespace), move |api| explain_target(api, &target))
        .await
}

fn explain_target(api: &ApiState, target: &ExplainRequest) -> Result<ExplanationResponse, ApiProblem> {
    let explain = || request::explain(&api.inventory, target, api.clock.now());
    let (report, unread) = with_unread(&api.inventory, explain);
    let report = report.map_err(|refusal| ApiProblem::not_found(refusal.to_string()))?;
    let ExplainReport { explanation, status, kind: _ } = report;
    let (state, why, actual) = match status {
        Some(WorkloadStatus { state, why, actual, .. }) => (state, why, actual),
        None => (WorkloadState::Unknown, String::new(), None),
    };
    let differing = actual.map(|actual| actual.differing).unwrap_or_default();
    Ok(ExplanationResponse { explanation, state, why, differing, partial: !unread.is_empty(), unread })
}
