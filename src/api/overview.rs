//! `/api/v1/overview` and `/api/v1/namespaces/{namespace}/workloads`: the output of `outrigger status`.

use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::ApiState;
use super::endpoint::ApiEndpoint;
use super::extract::{ApiRequest, check_namespace_exists, with_unread};
use crate::features::status::states::{
    NamespaceStatus, StateTotals, group_by_namespace, namespace_status, workload_statuses, workload_statuses_in,
};
use crate::kubernetes::client::access::ProtectedResource;

/// Who is in the mesh: as `outrigger status -o json` prints it, and whether that is all.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Overview")]
pub(super) struct OverviewResponse {
    totals: StateTotals,
    namespaces: Vec<NamespaceStatus>,
    /// Parts of the cluster that are not known here.
    unread: Vec<String>,
    /// Whether the answer is not complete without those.
    partial: bool,
}

impl OverviewResponse {
    fn new(api: &ApiState, find: impl FnOnce() -> (StateTotals, Vec<NamespaceStatus>)) -> Self {
        let ((totals, namespaces), unread) = with_unread(&api.inventory, find);
        Self { totals, namespaces, partial: !unread.is_empty(), unread }
    }
}

/// Lists the endpoints of the overview.
pub(super) fn endpoints() -> Vec<ApiEndpoint> {
    vec![
        ApiEndpoint::cached_get::<OverviewResponse, _>(
            "getOverview",
            "/api/v1/overview",
            "Tells who is in the mesh, by namespace and workload.",
            get_overview,
        ),
        ApiEndpoint::cached_get::<OverviewResponse, _>(
            "listWorkloads",
            "/api/v1/namespaces/{namespace}/workloads",
            "Tells how the workloads of a namespace stand.",
            list_workloads,
        ),
    ]
}

/// Answers `GET /api/v1/overview`.
pub(super) async fn get_overview(request: ApiRequest) -> Response {
    let look = |api: &ApiState| {
        Ok(OverviewResponse::new(api, || {
            let all = workload_statuses(&api.inventory, api.clock.now());
            (StateTotals::count(&all), group_by_namespace(&api.inventory, all))
        }))
    };
    request.answer_read(("list", ProtectedResource::Workloads), None, look).await
}

/// Answers `GET /api/v1/namespaces/{namespace}/workloads`.
pub(super) async fn list_workloads(request: ApiRequest) -> Response {
    let namespace = request.path_part("namespace").unwrap_or_default();
    let of = namespace.clone();
    let look = move |api: &ApiState| {
        check_namespace_exists(&api.inventory, &of)?;
        Ok(OverviewResponse::new(api, || {
            let all = workload_statuses_in(&api.inventory, api.clock.now(), Some(&of));
            (StateTotals::count(&all), vec![namespace_status(&api.inventory, of, all)])
        }))
    };
    request.answer_read(("list", ProtectedResource::Workloads), Some(&namespace), look).await
}
