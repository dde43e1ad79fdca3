//! `/api/v1/graph`: namespaces, workloads and services, and the routing and suspensions between them.

use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ApiState;
use super::endpoint::{ApiEndpoint, inline_schema};
use super::extract::{ApiRequest, check_namespace_exists, with_unread};
use super::problem::ApiProblem;
use super::request::respond;
use crate::features::graph::{Graph, GraphScope, build_graph};
use crate::kubernetes::client::access::ProtectedResource;
use crate::kubernetes::inventory::owner_kind::KindAvailability;
use crate::kubernetes::inventory::routing::RoutingKind;

/// Query of the graph.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GraphQuery {
    /// Namespace to show, with everything connected with it.
    namespace: Option<String>,
}

/// Graph, and whether it is complete.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Drawn")]
pub(super) struct GraphResponse {
    #[serde(flatten)]
    graph: Graph,
    /// Parts of the cluster that could not be read.
    unread: Vec<String>,
    /// True where the graph is incomplete without them.
    partial: bool,
}

pub(super) fn endpoints() -> Vec<ApiEndpoint> {
    vec![
        ApiEndpoint::cached_get::<GraphResponse, _>(
            "getGraph",
            "/api/v1/graph",
            "Returns namespaces, workloads and services, and the routing and suspensions between them.",
            get_graph,
        )
        .with_query(inline_schema::<GraphQuery>),
    ]
}

pub(super) async fn get_graph(request: ApiRequest) -> Response {
    let query: Result<GraphQuery, ApiProblem> = request.parse_query();
    let namespace = query.as_ref().ok().and_then(|query| query.namespace.clone());
    let of = namespace.clone();
    respond(async {
        let session = request.begin_read(ProtectedResource::Workloads, namespace.as_deref()).await?;
        let response = async {
            session.authorize("list").await?;
            query?;
            let may_see_all = session.is_allowed_everywhere("list").await;
            request.api.inventory.pods_demand.record_use();
            request.compute_answer(&session, move |api| graph_response(api, of.as_deref(), may_see_all)).await
        };
        session.record_outcome(response.await)
    })
    .await
}

fn graph_response(api: &ApiState, namespace: Option<&str>, may_see_all: bool) -> Result<GraphResponse, ApiProblem> {
    let inventory = &api.inventory;
    let scope = match namespace {
        None => GraphScope::All,
        Some(namespace) if may_see_all => GraphScope::Around(namespace),
        Some(namespace) => GraphScope::Only(namespace),
    };
    namespace.map_or(Ok(()), |namespace| check_namespace_exists(inventory, namespace))?;
    let unseen =
        RoutingKind::ALL.into_iter().filter(|kind| inventory.routing.availability(*kind) == KindAvailability::Filling);
    let unseen: Vec<_> = unseen.map(|kind| kind.plural().to_owned()).collect();
    let (graph, mut unread) = with_unread(inventory, || build_graph(inventory, &api.terms, api.clock.now(), scope));
    unread.extend(unseen);
    Ok(GraphResponse { graph, partial: !unread.is_empty(), unread })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::testing::test_api;
    use crate::kubernetes::intake::files;
    use crate::kubernetes::inventory::Inventory;
    use crate::kubernetes::inventory::rules::RuleLimits;

    const STATE: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: payroll}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: salaries, namespace: payroll}, spec: {ports: [{port: 80}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: project, namespace: payroll}, spec: {hosts: [salaries], http: [{route: [{destination: {host: web.shop}}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: own, namespace: shop}, spec: {hosts: [web], http: [{route: [{destination: {host: salaries.payroll}}]}]}}
---
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: guess, namespace: shop}, spec: {hosts: [www.example.com], http: [{route: [{destination: {host: bonuses.payroll.svc}}]}]}}
"#;

    fn build(inventory: &Inventory, scope: GraphScope<'_>) -> Graph {
        build_graph(inventory, &RuleLimits::default(), Timestamp::UNIX_EPOCH, scope)
    }

    fn describe_edges(graph: &Graph) -> Vec<String> {
        graph.edges.iter().map(|edge| format!("{} {:?} {}", edge.from, edge.does, edge.to)).collect()
    }

    #[test]
    fn whoever_may_see_one_namespace_hears_nothing_of_what_others_hold() {
        let api = test_api();
        assert_eq!(files::replace_all(&api.inventory, &api.terms, &files::parse_objects(STATE).unwrap()), [""; 0]);
        let only = build(&api.inventory, GraphScope::Only("shop"));
        let expected = [
            "elsewhere Routes shop/Service/web",
            "shop/Service/web Routes shop/VirtualService/own",
            "shop/VirtualService/guess Routes elsewhere",
            "shop/VirtualService/own Routes elsewhere",
        ];
        assert_eq!(describe_edges(&only), expected, "a service that is not there is told as one that is");
        let text = serde_json::to_string(&only).unwrap();
        assert!(!text.contains("payroll") && !text.contains("project") && !text.contains("salaries"), "{text}");
        let around = describe_edges(&build(&api.inventory, GraphScope::Around("shop")));
        let expected = [
            "payroll/Service/salaries Routes payroll/VirtualService/project",
            "payroll/VirtualService/project Routes shop/Service/web",
            "shop/Service/web Routes shop/VirtualService/own",
            "shop/VirtualService/own Routes payroll/Service/salaries",
        ];
        assert_eq!(around, expected);
    }

    #[test]
    fn every_end_of_an_edge_is_a_node_also_while_workloads_come_and_go() {
        let api = test_api();
        let mut objects: Vec<Value> = files::parse_objects(STATE).unwrap();
        files::replace_all(&api.inventory, &api.terms, &objects);
        let template = json!({"metadata": {"labels": {"app": "web"}}});
        objects.extend((0..20).map(|number| {
            let metadata = json!({"name": format!("web-{number}"), "namespace": "shop", "uid": format!("u{number}")});
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"template": template}})
        }));
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    files::replace_all(&api.inventory, &api.terms, &objects);
                    (0..20).for_each(|number| api.inventory.owners.remove(&format!("u{number}")));
                }
            });
            let dangling = |graph: &Graph| {
                let is_node = |id: &str| graph.nodes.iter().any(|node| node.id == id);
                graph.edges.iter().any(|edge| !is_node(&edge.from) || !is_node(&edge.to))
            };
            let has_dangling = (0..300).any(|_| dangling(&build(&api.inventory, GraphScope::Around("shop"))));
            is_over.store(true, Ordering::Relaxed);
            assert!(!has_dangling, "an edge leads to nothing");
        });
    }
}
