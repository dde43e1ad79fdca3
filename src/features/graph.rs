//! What stands between namespaces, workloads and services: which service leads to which workload, what routes to it, and what
//! is suspended. Pure.
//!
//! Limits: a host is followed to a service where it is written in full, or short in the namespace of its route; patterns and
//! what is outside of the cluster are left out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::decision::facts::Owner;
use crate::features::preview::comparison::{Origin, origins_with};
use crate::features::status::running::RunningPods;
use crate::features::status::states::{State, standing_of};
use crate::features::suspension::traffic::namespaces_of;
use crate::features::suspension::whom::whom;
use crate::kernel::text::sanitized;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::routing::{Route, Service, Standing};
use crate::kubernetes::inventory::rules::Terms;
use crate::kubernetes::resources::suspension_object::{self, SuspensionObject};

/// Nodes, and what ties them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Graph {
    /// In order of namespaces, kinds and names.
    pub nodes: Vec<Node>,
    /// In order of their ends.
    pub edges: Vec<Edge>,
}

/// Something in the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Names it in edges.
    pub id: String,
    /// What it is.
    pub is: Is,
    /// Its kind.
    pub kind: String,
    /// Its namespace; absent of namespaces themselves, and of suspensions of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Of workloads, how they stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Of suspensions, what they suspend and whether they hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspends: Option<String>,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "NodeIs")]
pub enum Is {
    /// A namespace.
    Namespace,
    /// A workload, or a pod that no known workload made.
    Workload,
    /// A service.
    Service,
    /// Something that routes to services.
    Route,
    /// A suspension that is not over.
    Suspension,
    /// Whatever is in namespaces of which nothing is told.
    Elsewhere,
}

/// A tie between two nodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Edge {
    /// The id of a node.
    pub from: String,
    /// The id of another.
    pub to: String,
    /// What the one does to the other.
    pub does: Does,
}

/// What one node does to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(rename = "EdgeDoes")]
pub enum Does {
    /// A service has its pods from a workload.
    Selects,
    /// A route takes what is for a service, or leads to it.
    Routes,
    /// A suspension suspends a namespace, a workload, or a service.
    Suspends,
    /// A suspension had a route written.
    Writes,
}

/// What a graph is of.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'s> {
    /// Everything.
    All,
    /// One namespace and what is tied to it.
    Around(&'s str),
    /// The same for whoever may see that namespace alone: what is tied to it from elsewhere is one node, which tells neither what
    /// that is nor whether it exists.
    Only(&'s str),
}

impl Scope<'_> {
    fn namespace(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Around(namespace) | Self::Only(namespace) => Some(namespace),
        }
    }

    fn is_of(&self, namespace: &str) -> bool {
        self.namespace().is_none_or(|wanted| namespace == wanted)
    }

    fn hides(&self, namespace: &str) -> bool {
        matches!(self, Self::Only(wanted) if namespace != *wanted)
    }
}

/// The graph of what is wanted.
pub fn graph(inventory: &Inventory, terms: &Terms, now: Timestamp, scope: Scope<'_>) -> Graph {
    let is_wanted = |name: &str| scope.is_of(name);
    let services = inventory.routing.services();
    let mut drawing = Drawing {
        inventory,
        scope,
        services: services.iter().map(|one| ((&*one.namespace, &*one.name), &**one)).collect(),
        nodes: BTreeMap::new(),
        edges: BTreeSet::new(),
    };
    for entry in inventory.namespaces.all() {
        if is_wanted(&entry.namespace().name) {
            drawing.namespace(&entry.namespace().name);
        }
    }
    let running = RunningPods::within(inventory, scope.namespace());
    let origins = origins_with(inventory, &running);
    for origin in &origins {
        let standing = standing_of(inventory, now, origin, &running);
        let node = Node {
            state: Some(standing.state),
            ..node(Is::Workload, &standing.kind, Some(&standing.namespace), &standing.name)
        };
        drawing.add(node);
    }
    let by_namespace = workloads_by_namespace(&origins);
    for service in services.iter().filter(|service| is_wanted(&service.namespace)) {
        drawing.service(service, by_namespace.get(&*service.namespace).map_or(&[], Vec::as_slice));
    }
    for route in inventory.routing.routes() {
        drawing.route(&route);
    }
    for (object, period) in inventory.standings.suspensions() {
        let state = period.map(|period| period.state(now));
        if let Some(state) = state.filter(|state| *state != suspension_object::State::Over) {
            drawing.suspension(&object, state, terms, (now, &is_wanted));
        }
    }
    let Drawing { nodes, edges, .. } = drawing;
    Graph { nodes: nodes.into_values().collect(), edges: edges.into_iter().collect() }
}

fn workloads_by_namespace(origins: &[Origin]) -> HashMap<&str, Vec<&Arc<Owner>>> {
    let mut by_namespace: HashMap<&str, Vec<&Arc<Owner>>> = HashMap::new();
    for workload in origins.iter().filter_map(Origin::workload) {
        by_namespace.entry(&workload.namespace).or_default().push(workload);
    }
    by_namespace
}

struct Drawing<'d> {
    inventory: &'d Inventory,
    scope: Scope<'d>,
    services: HashMap<(&'d str, &'d str), &'d Service>,
    nodes: BTreeMap<String, Node>,
    edges: BTreeSet<Edge>,
}

impl Drawing<'_> {
    /// Adds a node, unless it is there, and names it.
    fn add(&mut self, node: Node) -> String {
        let id = node.id.clone();
        self.nodes.entry(id.clone()).or_insert(node);
        id
    }

    fn tie(&mut self, from: &str, does: Does, to: &str) {
        self.edges.insert(Edge { from: from.to_owned(), to: to.to_owned(), does });
    }

    fn namespace(&mut self, name: &str) -> String {
        self.add(node(Is::Namespace, "Namespace", None, name))
    }

    fn service(&mut self, service: &Service, workloads: &[&Arc<Owner>]) {
        let Service { namespace, name, selector, .. } = service;
        let id = self.add(node(Is::Service, "Service", Some(namespace), name));
        let Some(selector) = selector else { return };
        for workload in workloads {
            let labels = workload.template.as_ref().and_then(|template| template.pod.labels.as_ref());
            let is_behind = |labels: &crate::decision::selector::Labels<'_>| {
                selector.iter().all(|(key, value)| labels.get(key) == Some(value))
            };
            if labels.is_some_and(is_behind) {
                let to = node(Is::Workload, &workload.kind, Some(namespace), &workload.name).id;
                self.tie(&id, Does::Selects, &to);
            }
        }
    }

    fn route(&mut self, route: &Route) {
        let Route { kind, object: Standing { namespace, name, .. }, hosts, on_mesh, leads_to, .. } = route;
        let ends =
            |hosts: &[Box<str>]| -> Vec<Node> { hosts.iter().filter_map(|host| self.end(host, namespace)).collect() };
        let taken = if *on_mesh { ends(hosts) } else { Vec::new() };
        let led = ends(leads_to);
        let is_of = |end: &Node| end.namespace.as_deref().is_some_and(|namespace| self.scope.is_of(namespace));
        if !self.scope.is_of(namespace) && !taken.iter().chain(&led).any(is_of) {
            return;
        }
        let hides = self.scope.hides(namespace);
        let id = self.add(if hides { elsewhere() } else { node(Is::Route, kind.as_str(), Some(namespace), name) });
        let ties = taken.into_iter().map(|end| (end, true)).chain(led.into_iter().map(|end| (end, false)));
        // What is elsewhere has nothing to do with itself that would be told.
        for (end, is_taken) in ties.filter(|(end, _)| end.id != id) {
            let end = self.add(end);
            let (from, to) = if is_taken { (&end, &id) } else { (&id, &end) };
            self.tie(from, Does::Routes, to);
        }
    }

    /// What a host means, as written in a route of this namespace.
    fn end(&self, host: &str, namespace: &str) -> Option<Node> {
        let host = host.to_lowercase();
        let host = host.strip_suffix(&format!(".svc.{}", self.inventory.routing.domain)).unwrap_or(&host);
        let host = host.strip_suffix(".svc").unwrap_or(host);
        let (name, namespace) = host.split_once('.').unwrap_or((host, namespace));
        if self.scope.hides(namespace) {
            // Also if there is no such service: whoever writes a route would find out by it.
            return (!namespace.contains('.') && !host.contains('*')).then(elsewhere);
        }
        let service = self.services.get(&(namespace, name))?;
        Some(node(Is::Service, "Service", Some(&service.namespace), &service.name))
    }

    fn suspension(
        &mut self,
        object: &SuspensionObject,
        state: suspension_object::State,
        terms: &Terms,
        (now, is_wanted): (Timestamp, &dyn Fn(&str) -> bool),
    ) {
        let targets = self.targets(object, terms, now, is_wanted);
        if targets.is_empty() {
            return;
        }
        let what = if object.suspends_traffic() { "traffic" } else { "injection" };
        let when = if state == suspension_object::State::InForce { "in force" } else { "scheduled" };
        let own = node(Is::Suspension, object.kind(), object.namespace.as_deref(), &object.name);
        let id = self.add(Node { suspends: Some(format!("{what}, {when}")), ..own });
        for target in targets {
            let to = self.add(target);
            self.tie(&id, Does::Suspends, &to);
        }
        for (kind, made) in
            object.uid.iter().flat_map(|uid| self.inventory.routing.made_for(uid, object.namespace.as_deref()))
        {
            let to = node(Is::Route, kind.as_str(), Some(&made.namespace), &made.name);
            if self.nodes.contains_key(&to.id) {
                self.tie(&id, Does::Writes, &to.id);
            }
        }
    }

    /// Whom a suspension is about: services, workloads where it names some, or whole namespaces.
    fn targets(
        &self,
        object: &SuspensionObject,
        terms: &Terms,
        now: Timestamp,
        is_wanted: &dyn Fn(&str) -> bool,
    ) -> Vec<Node> {
        let spec = &object.spec;
        let namespaces = namespaces_of(self.inventory, object).into_iter().filter(|name| is_wanted(name));
        if object.suspends_traffic() {
            let of = |namespace: &String| -> Vec<Node> {
                let here = spec.services.iter();
                let here = here.filter(|one| self.services.contains_key(&(namespace.as_str(), one.name.as_str())));
                here.map(|one| node(Is::Service, "Service", Some(namespace), &one.name)).collect()
            };
            return namespaces.flat_map(|namespace| of(&namespace)).collect();
        }
        if spec.workloads.is_empty() && spec.pod_selector == Default::default() {
            return namespaces.map(|name| node(Is::Namespace, "Namespace", None, &name)).collect();
        }
        let workloads = whom(self.inventory, object, terms, now).workloads.into_iter();
        let workloads = workloads.filter(|one| is_wanted(&one.namespace));
        workloads.map(|one| node(Is::Workload, &one.kind, Some(&one.namespace), &one.name)).collect()
    }
}

fn node(is: Is, kind: &str, namespace: Option<&str>, name: &str) -> Node {
    let (kind, namespace, name) = (sanitized(kind), namespace.map(sanitized), sanitized(name));
    let id = format!("{}/{kind}/{name}", namespace.as_deref().unwrap_or_default());
    Node { id, is, kind, namespace, name, state: None, suspends: None }
}

fn elsewhere() -> Node {
    let (id, name) = ("elsewhere".to_owned(), "elsewhere".to_owned());
    Node { id, is: Is::Elsewhere, kind: "Namespace".to_owned(), namespace: None, name, state: None, suspends: None }
}
