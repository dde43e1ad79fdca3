//! `/api/v1/overview` and `/api/v1/namespaces/{namespace}/workloads`: who is in the mesh, as `outrigger status` tells it.

use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::endpoint::Endpoint;
use super::reading::{Asked, known_namespace, unread_while};
use crate::features::status::states::{OfNamespace, Totals, by_namespace, of_namespace, standings, standings_within};
use crate::kubernetes::client::access::Resource;

/// Who is in the mesh: as `outrigger status -o json` prints it, and whether that is all.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Overview {
    totals: Totals,
    namespaces: Vec<OfNamespace>,
    /// Parts of the cluster that are not known here.
    unread: Vec<String>,
    /// Whether the answer is not complete without those.
    partial: bool,
}

impl Overview {
    fn of(api: &Api, find: impl FnOnce() -> (Totals, Vec<OfNamespace>)) -> Self {
        let ((totals, namespaces), unread) = unread_while(&api.inventory, find);
        Self { totals, namespaces, partial: !unread.is_empty(), unread }
    }
}

/// What is served of that.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::reading::<Overview, _>(
            "getOverview",
            "/api/v1/overview",
            "Tells who is in the mesh, by namespace and workload.",
            overview,
        ),
        Endpoint::reading::<Overview, _>(
            "listWorkloads",
            "/api/v1/namespaces/{namespace}/workloads",
            "Tells how the workloads of a namespace stand.",
            workloads,
        ),
    ]
}

/// Of the whole cluster.
pub(super) async fn overview(asked: Asked) -> Response {
    let look = |api: &Api| {
        Ok(Overview::of(api, || {
            let all = standings(&api.inventory, api.clock.now());
            (Totals::of(&all), by_namespace(&api.inventory, all))
        }))
    };
    asked.looked(("list", Resource::Workloads), None, look).await
}

/// Of one namespace.
pub(super) async fn workloads(asked: Asked) -> Response {
    let namespace = asked.part("namespace").unwrap_or_default();
    let of = namespace.clone();
    let look = move |api: &Api| {
        known_namespace(&api.inventory, &of)?;
        Ok(Overview::of(api, || {
            let all = standings_within(&api.inventory, api.clock.now(), Some(&of));
            (Totals::of(&all), vec![of_namespace(&api.inventory, of, all)])
        }))
    };
    asked.looked(("list", Resource::Workloads), Some(&namespace), look).await
}
