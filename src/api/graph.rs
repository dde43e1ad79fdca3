//! `/api/v1/graph`: namespaces, workloads and services, and the routing and suspensions between them.

use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::endpoint::{Endpoint, schema_of_inline};
use super::problem::Problem;
use super::reading::{Asked, known_namespace, unread};
use crate::cluster::access::Resource;
use crate::graph::{Graph, graph};
use crate::inventory::owner_kind::Served;
use crate::inventory::routing::Kind;

/// What can be asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// One namespace, and what is tied to it.
    namespace: Option<String>,
}

/// The graph, and whether it is all.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Drawn {
    #[serde(flatten)]
    graph: Graph,
    /// Parts of the cluster that are not known here.
    unread: Vec<String>,
    /// Whether the graph is not complete without those.
    partial: bool,
}

/// What is served of that.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::reading::<Drawn, _>(
            "getGraph",
            "/api/v1/graph",
            "Draws namespaces, workloads and services, and the routing and suspensions between them.",
            draw,
        )
        .with_query(schema_of_inline::<Wanted>),
    ]
}

/// Draws it.
pub(super) async fn draw(asked: Asked) -> Response {
    let wanted: Result<Wanted, Problem> = asked.query();
    let namespace = wanted.as_ref().ok().and_then(|wanted| wanted.namespace.clone());
    let of = namespace.clone();
    let look = move |api: &Api| wanted.and_then(|_| drawn(api, of.as_deref()));
    asked.looked(("list", Resource::Workloads), namespace.as_deref(), look).await
}

fn drawn(api: &Api, namespace: Option<&str>) -> Result<Drawn, Problem> {
    let inventory = &api.inventory;
    namespace.map_or(Ok(()), |namespace| known_namespace(inventory, namespace))?;
    let mut unread = unread(inventory);
    let unseen = Kind::ALL.into_iter().filter(|kind| inventory.routing.served(*kind) == Served::NotYet);
    unread.extend(unseen.map(|kind| kind.plural().to_owned()));
    let graph = graph(inventory, &api.terms, api.clock.now(), namespace);
    Ok(Drawn { graph, partial: !unread.is_empty(), unread })
}
