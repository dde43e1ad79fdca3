//! `/api/v1/overrides`, of the cluster or of a namespace: every override that stands, as `outrigger status --overrides` tells it.

use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::endpoint::Endpoint;
use super::reading::{Asked, known_namespace, unread_while};
use crate::features::overrides::listing::{Standing, standing_within};
use crate::kubernetes::client::access::Resource;

/// Every override, and what becomes of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Overrides {
    overrides: Vec<Standing>,
    /// Parts of the cluster that are not known here.
    unread: Vec<String>,
    /// Whether the answer is not complete without those.
    partial: bool,
}

/// What is served of that.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::reading::<Overrides, _>(
            "listOverrides",
            "/api/v1/overrides",
            "Tells of every override that stands, and what becomes of it.",
            list,
        ),
        Endpoint::reading::<Overrides, _>(
            "listNamespaceOverrides",
            "/api/v1/namespaces/{namespace}/overrides",
            "Tells of every override of a namespace, and what becomes of it.",
            list,
        ),
    ]
}

/// Lists them.
pub(super) async fn list(asked: Asked) -> Response {
    let namespace = asked.part("namespace");
    let of = namespace.clone();
    let look = move |api: &Api| {
        of.as_deref().map_or(Ok(()), |of| known_namespace(&api.inventory, of))?;
        let find = || standing_within(&api.inventory, api.clock.now(), of.as_deref());
        let (overrides, unread) = unread_while(&api.inventory, find);
        Ok(Overrides { overrides, partial: !unread.is_empty(), unread })
    };
    asked.looked(("list", Resource::Workloads), namespace.as_deref(), look).await
}
