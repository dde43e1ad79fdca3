//! Graph of namespaces, workloads and services: the workloads behind each service, the routes to it, and suspensions. Pure.
//!
//! Limits: a host leads to a service where it is written in full, or short in the namespace of its route. Patterns and hosts
//! outside the cluster are left out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::decision::facts::Owner;
use crate::features::pod_source::{PodSource, pod_sources_with};
use crate::features::status::running::RunningPods;
use crate::features::status::state::WorkloadState;
use crate::features::status::states::workload_status;
use crate::features::suspension::targets::find_targets;
use crate::features::suspension::traffic::target_namespaces;
use crate::kernel::text::sanitize;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::routing::{MeshService, RoutingObject, ServiceRoute};
use crate::kubernetes::inventory::rules::RuleLimits;
use crate::kubernetes::resources::suspension_object::{self, SuspensionObject};

/// Nodes, and the edges between them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Graph {
    /// Nodes, by namespace, kind and name.
    pub nodes: Vec<GraphNode>,
    /// Edges, by their ends.
    pub edges: Vec<GraphEdge>,
}

/// Node of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Node")]
pub struct GraphNode {
    /// Id of the node, which edges refer to.
    pub id: String,
    /// Sort of node.
    pub is: NodeKind,
    /// Kubernetes kind of the object.
    pub kind: String,
    /// Namespace of the object; absent for namespaces, and for suspensions of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the object.
    pub name: String,
    /// State of a workload; absent for other nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<WorkloadState>,
    /// Subject and phase of a suspension; absent for other nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspends: Option<String>,
}

/// Sort of node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "NodeIs")]
pub enum NodeKind {
    /// Namespace.
    Namespace,
    /// Workload, or pod that no known workload made.
    Workload,
    /// Service.
    Service,
    /// Object that routes to services.
    Route,
    /// Suspension that is not over.
    Suspension,
    /// All objects in namespaces that the caller may not see.
    Elsewhere,
}

/// Edge between two nodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(rename = "Edge")]
pub struct GraphEdge {
    /// Id of the first node.
    pub from: String,
    /// Id of the second node.
    pub to: String,
    /// Relation of the first node to the second.
    pub does: EdgeKind,
}

/// Relation of one node to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(rename = "EdgeDoes")]
pub enum EdgeKind {
    /// A service gets its pods from a workload.
    Selects,
    /// A route handles requests for a service, or leads to it.
    Routes,
    /// A suspension suspends a namespace, a workload or a service.
    Suspends,
    /// Outrigger wrote a route for a suspension.
    Writes,
}

/// Part of the cluster that a graph covers.
#[derive(Debug, Clone, Copy)]
pub enum GraphScope<'s> {
    /// The whole cluster.
    All,
    /// One namespace, and everything connected with it.
    Around(&'s str),
    /// One namespace, for users who may see nothing else. Everything elsewhere is one node, which does not reveal what it is or
    /// whether it exists.
    Only(&'s str),
}

impl GraphScope<'_> {
    fn namespace(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Around(namespace) | Self::Only(namespace) => Some(namespace),
        }
    }

    fn includes(&self, namespace: &str) -> bool {
        self.namespace().is_none_or(|own| namespace == own)
    }

    fn hides(&self, namespace: &str) -> bool {
        matches!(self, Self::Only(own) if namespace != *own)
    }
}

/// Builds the graph of this part of the cluster at this instant.
pub fn build_graph(inventory: &Inventory, terms: &RuleLimits, now: Timestamp, scope: GraphScope<'_>) -> Graph {
    let is_included = |name: &str| scope.includes(name);
    let services = inventory.routing.services();
    let mut builder = GraphBuilder {
        inventory,
        scope,
        services: services.iter().map(|one| ((&*one.namespace, &*one.name), &**one)).collect(),
        nodes: BTreeMap::new(),
        edges: BTreeSet::new(),
    };
    for entry in inventory.namespaces.all() {
        if is_included(&entry.namespace().name) {
            builder.add_namespace(&entry.namespace().name);
        }
    }
    let running = RunningPods::in_namespace(inventory, scope.namespace());
    let origins = pod_sources_with(inventory, &running);
    for origin in &origins {
        let status = workload_status(inventory, now, origin, &running);
        let node = GraphNode {
            state: Some(status.state),
            ..new_node(NodeKind::Workload, &status.kind, Some(&status.namespace), &status.name)
        };
        builder.add(node);
    }
    let by_namespace = workloads_by_namespace(&origins);
    for service in services.iter().filter(|service| is_included(&service.namespace)) {
        builder.add_service(service, by_namespace.get(&*service.namespace).map_or(&[], Vec::as_slice));
    }
    for route in inventory.routing.routes() {
        builder.add_route(&route);
    }
    for (object, period) in inventory.rule_records.suspensions() {
        let state = period.map(|period| period.phase(now));
        if let Some(state) = state.filter(|state| *state != suspension_object::SuspensionPhase::Over) {
            builder.add_suspension(&object, state, terms, (now, &is_included));
        }
    }
    let GraphBuilder { nodes, edges, .. } = builder;
    Graph { nodes: nodes.into_values().collect(), edges: edges.into_iter().collect() }
}

fn workloads_by_namespace(origins: &[PodSource]) -> HashMap<&str, Vec<&Arc<Owner>>> {
    let mut by_namespace: HashMap<&str, Vec<&Arc<Owner>>> = HashMap::new();
    for workload in origins.iter().filter_map(PodSource::workload) {
        by_namespace.entry(&workload.namespace).or_default().push(workload);
    }
    by_namespace
}

struct GraphBuilder<'d> {
    inventory: &'d Inventory,
    scope: GraphScope<'d>,
    services: HashMap<(&'d str, &'d str), &'d MeshService>,
    nodes: BTreeMap<String, GraphNode>,
    edges: BTreeSet<GraphEdge>,
}

impl GraphBuilder<'_> {
    /// Adds a node, unless it is in the graph already, and returns its id.
    fn add(&mut self, node: GraphNode) -> String {
        let id = node.id.clone();
        self.nodes.entry(id.clone()).or_insert(node);
        id
    }

    fn connect(&mut self, from: &str, does: EdgeKind, to: &str) {
        self.edges.insert(GraphEdge { from: from.to_owned(), to: to.to_owned(), does });
    }

    fn add_namespace(&mut self, name: &str) -> String {
        self.add(new_node(NodeKind::Namespace, "Namespace", None, name))
    }

    fn add_service(&mut self, service: &MeshService, workloads: &[&Arc<Owner>]) {
        let MeshService { namespace, name, selector, .. } = service;
        let id = self.add(new_node(NodeKind::Service, "Service", Some(namespace), name));
        let Some(selector) = selector else { return };
        for workload in workloads {
            let labels = workload.template.as_ref().and_then(|template| template.pod.labels.as_ref());
            let is_behind = |labels: &crate::decision::selector::Labels<'_>| {
                selector.iter().all(|(key, value)| labels.get(key) == Some(value))
            };
            if labels.is_some_and(is_behind) {
                let to = new_node(NodeKind::Workload, &workload.kind, Some(namespace), &workload.name).id;
                self.connect(&id, EdgeKind::Selects, &to);
            }
        }
    }

    fn add_route(&mut self, route: &ServiceRoute) {
        let ServiceRoute {
            kind,
            object: RoutingObject { namespace, name, .. },
            hosts,
            on_mesh,
            destinations: leads_to,
            ..
        } = route;
        let ends = |hosts: &[Box<str>]| -> Vec<GraphNode> {
            hosts.iter().filter_map(|host| self.resolve_host(host, namespace)).collect()
        };
        let taken = if *on_mesh { ends(hosts) } else { Vec::new() };
        let led = ends(leads_to);
        let is_of = |end: &GraphNode| end.namespace.as_deref().is_some_and(|namespace| self.scope.includes(namespace));
        if !self.scope.includes(namespace) && !taken.iter().chain(&led).any(is_of) {
            return;
        }
        let hides = self.scope.hides(namespace);
        let id = self.add(if hides {
            elsewhere_node()
        } else {
            new_node(NodeKind::Route, kind.as_str(), Some(namespace), name)
        });
        let ties = taken.into_iter().map(|end| (end, true)).chain(led.into_iter().map(|end| (end, false)));
        // A route between two places elsewhere is not shown.
        for (end, is_taken) in ties.filter(|(end, _)| end.id != id) {
            let end = self.add(end);
            let (from, to) = if is_taken { (&end, &id) } else { (&id, &end) };
            self.connect(from, EdgeKind::Routes, to);
        }
    }

    /// Returns the service that a host names in a route of this namespace.
    fn resolve_host(&self, host: &str, namespace: &str) -> Option<GraphNode> {
        let host = host.to_lowercase();
        let host = host.strip_suffix(&format!(".svc.{}", self.inventory.routing.domain)).unwrap_or(&host);
        let host = host.strip_suffix(".svc").unwrap_or(host);
        let (name, namespace) = host.split_once('.').unwrap_or((host, namespace));
        if self.scope.hides(namespace) {
            // Even where no such service exists: writing a route must not reveal that.
            return (!namespace.contains('.') && !host.contains('*')).then(elsewhere_node);
        }
        let service = self.services.get(&(namespace, name))?;
        Some(new_node(NodeKind::Service, "Service", Some(&service.namespace), &service.name))
    }

    fn add_suspension(
        &mut self,
        object: &SuspensionObject,
        state: suspension_object::SuspensionPhase,
        terms: &RuleLimits,
        (now, is_included): (Timestamp, &dyn Fn(&str) -> bool),
    ) {
        let targets = self.suspended_nodes(object, terms, now, is_included);
        if targets.is_empty() {
            return;
        }
        let what = if object.suspends_traffic() { "traffic" } else { "injection" };
        let when = if state == suspension_object::SuspensionPhase::InForce { "in force" } else { "scheduled" };
        let own = new_node(NodeKind::Suspension, object.kind(), object.namespace.as_deref(), &object.name);
        let id = self.add(GraphNode { suspends: Some(format!("{what}, {when}")), ..own });
        for target in targets {
            let to = self.add(target);
            self.connect(&id, EdgeKind::Suspends, &to);
        }
        for (kind, made) in object
            .uid
            .iter()
            .flat_map(|uid| self.inventory.routing.objects_of_suspension(uid, object.namespace.as_deref()))
        {
            let to = new_node(NodeKind::Route, kind.as_str(), Some(&made.namespace), &made.name);
            if self.nodes.contains_key(&to.id) {
                self.connect(&id, EdgeKind::Writes, &to.id);
            }
        }
    }

    /// Returns the nodes that a suspension suspends: services, workloads where it names some, or whole namespaces.
    fn suspended_nodes(
        &self,
        object: &SuspensionObject,
        terms: &RuleLimits,
        now: Timestamp,
        is_included: &dyn Fn(&str) -> bool,
    ) -> Vec<GraphNode> {
        let spec = &object.spec;
        let namespaces = target_namespaces(self.inventory, object).into_iter().filter(|name| is_included(name));
        if object.suspends_traffic() {
            let of = |namespace: &String| -> Vec<GraphNode> {
                let here = spec.services.iter();
                let here = here.filter(|one| self.services.contains_key(&(namespace.as_str(), one.name.as_str())));
                here.map(|one| new_node(NodeKind::Service, "Service", Some(namespace), &one.name)).collect()
            };
            return namespaces.flat_map(|namespace| of(&namespace)).collect();
        }
        if spec.workloads.is_empty() && spec.pod_selector == Default::default() {
            return namespaces.map(|name| new_node(NodeKind::Namespace, "Namespace", None, &name)).collect();
        }
        let workloads = find_targets(self.inventory, object, terms, now).workloads.into_iter();
        let workloads = workloads.filter(|one| is_included(&one.namespace));
        workloads.map(|one| new_node(NodeKind::Workload, &one.kind, Some(&one.namespace), &one.name)).collect()
    }
}

fn new_node(is: NodeKind, kind: &str, namespace: Option<&str>, name: &str) -> GraphNode {
    let (kind, namespace, name) = (sanitize(kind), namespace.map(sanitize), sanitize(name));
    let id = format!("{}/{kind}/{name}", namespace.as_deref().unwrap_or_default());
    GraphNode { id, is, kind, namespace, name, state: None, suspends: None }
}

fn elsewhere_node() -> GraphNode {
    let (id, name) = ("elsewhere".to_owned(), "elsewhere".to_owned());
    GraphNode {
        id,
        is: NodeKind::Elsewhere,
        kind: "Namespace".to_owned(),
        namespace: None,
        name,
        state: None,
        suspends: None,
    }
}
