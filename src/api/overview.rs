//! `/api/v1/overview` and `/api/v1/namespaces/{namespace}/workloads`: the output of `outrigger status`.

use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::ApiState;
use super::endpoint::ApiEndpoint;
use super::extract::ApiRequest;
use super::problem::ApiProblem;
use crate::features::status::report::{StatusRefusal, StatusReport, StatusRequest, StatusScope, report};
use crate::features::status::states::{NamespaceStatus, StateTotals};
use crate::kubernetes::client::access::ProtectedResource;

/// Status of workloads, as `outrigger status -o json` prints it, and whether it is complete.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Overview")]
pub(super) struct OverviewResponse {
    totals: StateTotals,
    namespaces: Vec<NamespaceStatus>,
    /// Parts of the cluster that could not be read.
    unread: Vec<String>,
    /// True where the answer is incomplete without them.
    partial: bool,
}

impl From<StatusReport> for OverviewResponse {
    fn from(StatusReport { totals, namespaces, unread }: StatusReport) -> Self {
        Self { totals, namespaces, partial: !unread.is_empty(), unread: unread.0 }
    }
}

pub(super) fn endpoints() -> Vec<ApiEndpoint> {
    vec![
        ApiEndpoint::cached_get::<OverviewResponse, _>(
            "getOverview",
            "/api/v1/overview",
            "Returns the status of all workloads, by namespace.",
            get_overview,
        ),
        ApiEndpoint::cached_get::<OverviewResponse, _>(
            "listWorkloads",
            "/api/v1/namespaces/{namespace}/workloads",
            "Returns the status of the workloads of a namespace.",
            list_workloads,
        ),
    ]
}

pub(super) async fn get_overview(request: ApiRequest) -> Response {
    let right = ("list", ProtectedResource::Workloads);
    request.answer_read(right, None, |api| report_scope(api, StatusScope::Cluster)).await
}

pub(super) async fn list_workloads(request: ApiRequest) -> Response {
    let namespace = request.path_part("namespace").unwrap_or_default();
    let scope = StatusScope::Namespace(namespace.clone());
    let right = ("list", ProtectedResource::Workloads);
    request.answer_read(right, Some(&namespace), |api| report_scope(api, scope)).await
}

fn report_scope(api: &ApiState, scope: StatusScope) -> Result<OverviewResponse, ApiProblem> {
    let request = StatusRequest { scope, only_problems: false };
    match report(&api.inventory, api.clock.now(), &request) {
        Ok(report) => Ok(report.into()),
        Err(StatusRefusal::UnknownNamespace(unknown)) => Err(ApiProblem::not_found(unknown.to_string())),
        Err(StatusRefusal::UnknownWorkload { .. }) => Err(ApiProblem::not_found("there is no such workload")),
    }
}
