//! `/api/v1/overrides`, for the cluster or a namespace: all overrides with their outcomes, as in `outrigger status --overrides`.

use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::ApiState;
use super::endpoint::ApiEndpoint;
use super::extract::{ApiRequest, check_namespace_exists, with_unread};
use crate::features::overrides::listing::{OverrideRow, list_overrides_within};
use crate::kubernetes::client::access::ProtectedResource;

/// Overrides with their effects.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Overrides")]
pub(super) struct OverrideListResponse {
    overrides: Vec<OverrideRow>,
    /// Parts of the cluster that are not known here.
    unread: Vec<String>,
    /// True if the answer is incomplete because of them.
    partial: bool,
}

pub(super) fn endpoints() -> Vec<ApiEndpoint> {
    vec![
        ApiEndpoint::cached_get::<OverrideListResponse, _>(
            "listOverrides",
            "/api/v1/overrides",
            "Lists all overrides with their effects.",
            list,
        ),
        ApiEndpoint::cached_get::<OverrideListResponse, _>(
            "listNamespaceOverrides",
            "/api/v1/namespaces/{namespace}/overrides",
            "Lists the overrides of a namespace with their effects.",
            list,
        ),
    ]
}

pub(super) async fn list(request: ApiRequest) -> Response {
    let namespace = request.path_part("namespace");
    let scope = namespace.clone();
    let compute = move |api: &ApiState| {
        scope.as_deref().map_or(Ok(()), |scope| check_namespace_exists(&api.inventory, scope))?;
        let find = || list_overrides_within(&api.inventory, api.clock.now(), scope.as_deref());
        let (overrides, unread) = with_unread(&api.inventory, find);
        Ok(OverrideListResponse { overrides, partial: !unread.is_empty(), unread })
    };
    request.answer_read(("list", ProtectedResource::Workloads), namespace.as_deref(), compute).await
}
