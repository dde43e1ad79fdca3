//! `/api/v1/graph`: namespaces, workloads and services, and the routing and suspensions between them.

use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::endpoint::{Endpoint, schema_of_inline};
use super::problem::Problem;
use super::reading::{Asked, known_namespace, unread_while};
use super::request::answer;
use crate::features::graph::{Graph, Scope, graph};
use crate::kubernetes::client::access::Resource;
use crate::kubernetes::inventory::owner_kind::Served;
use crate::kubernetes::inventory::routing::Kind;

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
    answer(async {
        let session = asked.session(Resource::Workloads, namespace.as_deref()).await?;
        let found = async {
            session.may("list").await?;
            wanted?;
            let may_see_all = session.may_everywhere("list").await;
            asked.api.inventory.pods_wanted.look();
            asked.told(&session, move |api| drawn(api, of.as_deref(), may_see_all)).await
        };
        session.done(found.await)
    })
    .await
}

fn drawn(api: &Api, namespace: Option<&str>, may_see_all: bool) -> Result<Drawn, Problem> {
    let inventory = &api.inventory;
    let scope = match namespace {
        None => Scope::All,
        Some(namespace) if may_see_all => Scope::Around(namespace),
        Some(namespace) => Scope::Only(namespace),
    };
    namespace.map_or(Ok(()), |namespace| known_namespace(inventory, namespace))?;
    let unseen = Kind::ALL.into_iter().filter(|kind| inventory.routing.served(*kind) == Served::NotYet);
    let unseen: Vec<_> = unseen.map(|kind| kind.plural().to_owned()).collect();
    let (graph, mut unread) = unread_while(inventory, || graph(inventory, &api.terms, api.clock.now(), scope));
    unread.extend(unseen);
    Ok(Drawn { graph, partial: !unread.is_empty(), unread })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::testing::api;
    use crate::kubernetes::intake::files;
    use crate::kubernetes::inventory::Inventory;
    use crate::kubernetes::inventory::rules::Terms;

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

    fn drawn_of(inventory: &Inventory, scope: Scope<'_>) -> Graph {
        graph(inventory, &Terms::default(), Timestamp::UNIX_EPOCH, scope)
    }

    fn told(graph: &Graph) -> Vec<String> {
        graph.edges.iter().map(|edge| format!("{} {:?} {}", edge.from, edge.does, edge.to)).collect()
    }

    #[test]
    fn whoever_may_see_one_namespace_hears_nothing_of_what_others_hold() {
        let api = api();
        assert_eq!(files::fill(&api.inventory, &api.terms, &files::objects_of(STATE).unwrap()), [""; 0]);
        let only = drawn_of(&api.inventory, Scope::Only("shop"));
        let expected = [
            "elsewhere Routes shop/Service/web",
            "shop/Service/web Routes shop/VirtualService/own",
            "shop/VirtualService/guess Routes elsewhere",
            "shop/VirtualService/own Routes elsewhere",
        ];
        assert_eq!(told(&only), expected, "a service that is not there is told as one that is");
        let text = serde_json::to_string(&only).unwrap();
        assert!(!text.contains("payroll") && !text.contains("project") && !text.contains("salaries"), "{text}");
        let around = told(&drawn_of(&api.inventory, Scope::Around("shop")));
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
        let api = api();
        let mut objects: Vec<Value> = files::objects_of(STATE).unwrap();
        files::fill(&api.inventory, &api.terms, &objects);
        let template = json!({"metadata": {"labels": {"app": "web"}}});
        objects.extend((0..20).map(|number| {
            let metadata = json!({"name": format!("web-{number}"), "namespace": "shop", "uid": format!("u{number}")});
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"template": template}})
        }));
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    files::fill(&api.inventory, &api.terms, &objects);
                    (0..20).for_each(|number| api.inventory.owners.remove(&format!("u{number}")));
                }
            });
            let dangling = |graph: &Graph| {
                let is_node = |id: &str| graph.nodes.iter().any(|node| node.id == id);
                graph.edges.iter().any(|edge| !is_node(&edge.from) || !is_node(&edge.to))
            };
            let found = (0..300).any(|_| dangling(&drawn_of(&api.inventory, Scope::Around("shop"))));
            is_over.store(true, Ordering::Relaxed);
            assert!(!found, "an edge leads to nothing");
        });
    }
}
