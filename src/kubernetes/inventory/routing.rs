//! Routes to services in the mesh: the services, everything that routes to them, and the rules of their destinations.
//!
//! Decisions about pods need none of it. Of other people's objects only those parts are kept that show whether the
//! object is in the way of a suspension.

pub mod ownership;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::cache::ObjectCache;
use super::change_counter::ChangeCounter;
use super::owner_kind::KindAvailability;
use crate::kernel::names::USE_WAYPOINT;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoutingKind {
    Service,
    VirtualService,
    DestinationRule,
    /// HTTPRoute of the Gateway API, which binds to a service where its parent is one.
    HttpRoute,
    /// GRPCRoute of the Gateway API, which binds in the same way.
    GrpcRoute,
}

impl RoutingKind {
    pub const ALL: [Self; 5] =
        [Self::Service, Self::VirtualService, Self::DestinationRule, Self::HttpRoute, Self::GrpcRoute];
    /// Kinds that route.
    const ROUTES: [Self; 3] = [Self::VirtualService, Self::HttpRoute, Self::GrpcRoute];

    /// Returns the API group, its version, the plural and the kind.
    pub fn names(self) -> [&'static str; 4] {
        match self {
            Self::Service => ["", "v1", "services", "Service"],
            Self::VirtualService => ["networking.istio.io", "v1", "virtualservices", "VirtualService"],
            Self::DestinationRule => ["networking.istio.io", "v1", "destinationrules", "DestinationRule"],
            Self::HttpRoute => ["gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute"],
            Self::GrpcRoute => ["gateway.networking.k8s.io", "v1", "grpcroutes", "GRPCRoute"],
        }
    }

    /// Returns the kind, as objects name it.
    pub fn as_str(self) -> &'static str {
        self.names()[3]
    }

    pub fn plural(self) -> &'static str {
        self.names()[2]
    }

    /// Returns the kind of this name in this group.
    pub fn from_names(group: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.names()[0] == group && one.names()[3] == kind)
    }
}

/// Services, and the routes to them.
#[derive(Debug)]
pub struct RoutingInventory {
    services: ObjectCache<MeshService>,
    virtual_services: ObjectCache<ServiceRoute>,
    http_routes: ObjectCache<ServiceRoute>,
    grpc_routes: ObjectCache<ServiceRoute>,
    destination_rules: ObjectCache<DestinationRule>,
    availability: [AtomicU8; 5],
    /// Failures of the last attempts to start or end suspensions, by UID.
    pub failures: RoutingFailures,
    /// Domain that full names of services end with.
    pub domain: String,
}

/// Failures of attempts to write routing objects, by the UID of the suspension.
#[derive(Debug, Default)]
pub struct RoutingFailures(Mutex<BTreeMap<String, String>>, ChangeCounter);

impl RoutingFailures {
    /// Records the outcome of an attempt: its failure, or `None` for a success.
    pub fn record(&self, uid: &str, failure: Option<String>) {
        let mut failures = self.0.lock();
        let before = match failure.clone() {
            Some(failure) => failures.insert(uid.to_owned(), failure),
            None => failures.remove(uid),
        };
        if before != failure {
            self.1.increment();
        }
    }

    /// Forgets failures of suspensions that `is_open` rejects: nothing remains to be done for them.
    pub fn retain(&self, is_open: impl Fn(&str) -> bool) {
        let mut failures = self.0.lock();
        let before = failures.len();
        failures.retain(|uid, _| is_open(uid));
        if failures.len() != before {
            self.1.increment();
        }
    }

    pub fn get(&self, uid: &str) -> Option<String> {
        self.0.lock().get(uid).cloned()
    }
}

/// Service of Kubernetes, as far as the mesh routes to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshService {
    pub namespace: Box<str>,
    pub name: Box<str>,
    /// Labels of the pods behind the service; `None` if it selects no pods.
    pub selector: Option<Vec<(String, String)>>,
    pub ports: Vec<ServicePort>,
    /// Whether the service is only a name for a host outside the cluster.
    pub is_external: bool,
    /// Waypoint that the service asks for.
    pub waypoint: Option<Box<str>>,
}

/// Port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    #[serde(default)]
    pub name: String,
    pub port: u16,
    /// TCP, UDP or SCTP.
    #[serde(default = "default_protocol")]
    pub protocol: String,
    /// Application protocol.
    #[serde(default)]
    pub app_protocol: Option<String>,
}

/// Object that routes to services.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRoute {
    pub kind: RoutingKind,
    pub object: RoutingObject,
    /// Hosts of the route, as written.
    pub hosts: Vec<Box<str>>,
    /// Whether the route holds for callers in the mesh, and not only at gateways.
    pub on_mesh: bool,
    /// Hosts that the route leads to, as written.
    pub destinations: Vec<Box<str>>,
    /// Whether the route leads to subsets, which a DestinationRule has to define.
    pub needs_subsets: bool,
}

/// Rules for calls to one host.
#[derive(Debug, Clone, PartialEq)]
pub struct DestinationRule {
    pub object: RoutingObject,
    /// Host, as written.
    pub host: Box<str>,
}

/// Metadata, and for our own objects the content, of a routing object.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutingObject {
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub uid: Option<Box<str>>,
    pub created_at: Option<Timestamp>,
    /// UID of the suspension that the object was made for, see [`ownership`]; `None` for an object of somebody else.
    pub suspension_uid: Option<Box<str>>,
    pub is_being_deleted: bool,
    /// Labels, annotations, owners and spec of an object of ours, for comparison with the desired content.
    pub content: Option<Box<Value>>,
}

/// Domain of a cluster, unless a setting names another.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

impl Default for RoutingInventory {
    fn default() -> Self {
        Self {
            services: ObjectCache::default(),
            virtual_services: ObjectCache::default(),
            http_routes: ObjectCache::default(),
            grpc_routes: ObjectCache::default(),
            destination_rules: ObjectCache::default(),
            availability: Default::default(),
            failures: RoutingFailures::default(),
            domain: CLUSTER_DOMAIN.to_owned(),
        }
    }
}

impl RoutingInventory {
    /// Returns whether the cluster has a kind, and all its objects have been seen.
    pub fn availability(&self, kind: RoutingKind) -> KindAvailability {
        match self.availability[kind as usize].load(Ordering::Acquire) {
            0 => KindAvailability::Filling,
            1 => KindAvailability::Absent,
            _ => KindAvailability::Filled,
        }
    }

    /// Records whether the cluster has a kind, and all its objects have been seen.
    pub fn set_availability(&self, kind: RoutingKind, served: KindAvailability) {
        let number = match served {
            KindAvailability::Filling => 0,
            KindAvailability::Absent => 1,
            KindAvailability::Filled => 2,
        };
        self.availability[kind as usize].store(number, Ordering::Release);
        self.services.changes.increment();
    }

    /// Returns a number that grows with every change.
    pub fn change_count(&self) -> u64 {
        let Self { services, virtual_services, http_routes, grpc_routes, destination_rules, .. } = self;
        let changes = [
            &services.changes,
            &virtual_services.changes,
            &http_routes.changes,
            &grpc_routes.changes,
            &destination_rules.changes,
        ];
        changes.into_iter().chain([&self.failures.1]).map(ChangeCounter::count).sum()
    }

    pub fn service(&self, namespace: &str, name: &str) -> Option<Arc<MeshService>> {
        self.services.get(&join_key(namespace, name))
    }

    pub fn services(&self) -> Vec<Arc<MeshService>> {
        self.services.all()
    }

    /// Returns the routes of all kinds, ordered by kind and name.
    pub fn routes(&self) -> Vec<Arc<ServiceRoute>> {
        let mut routes: Vec<_> =
            RoutingKind::ROUTES.into_iter().flat_map(|kind| self.route_cache(kind).all()).collect();
        routes.sort_by(|left, right| {
            let place = |route: &ServiceRoute| (route.kind, route.object.namespace.clone(), route.object.name.clone());
            place(left).cmp(&place(right))
        });
        routes
    }

    pub fn virtual_service(&self, namespace: &str, name: &str) -> Option<Arc<ServiceRoute>> {
        self.virtual_services.get(&join_key(namespace, name))
    }

    pub fn destination_rule(&self, namespace: &str, name: &str) -> Option<Arc<DestinationRule>> {
        self.destination_rules.get(&join_key(namespace, name))
    }

    /// Returns all DestinationRules, ordered by name.
    pub fn destination_rules(&self) -> Vec<Arc<DestinationRule>> {
        let mut rules = self.destination_rules.all();
        rules.sort_by(|left, right| {
            (&left.object.namespace, &left.object.name).cmp(&(&right.object.namespace, &right.object.name))
        });
        rules
    }

    /// Returns the objects that were made for suspensions: the VirtualServices, and then the DestinationRules that they
    /// need.
    pub fn suspension_objects(&self) -> Vec<(RoutingKind, RoutingObject)> {
        let routes = self.routes().into_iter().map(|route| (route.kind, route.object.clone()));
        let rules =
            self.destination_rules().into_iter().map(|rule| (RoutingKind::DestinationRule, rule.object.clone()));
        let is_route = |kind: &RoutingKind| matches!(kind, RoutingKind::VirtualService | RoutingKind::DestinationRule);
        routes.chain(rules).filter(|(kind, object)| is_route(kind) && object.suspension_uid.is_some()).collect()
    }

    /// Returns the objects that were made for the suspension of this UID. A namespaced suspension has objects in its
    /// namespace only.
    pub fn objects_of_suspension(&self, uid: &str, namespace: Option<&str>) -> Vec<(RoutingKind, RoutingObject)> {
        let mut made = self.suspension_objects();
        made.retain(|(_, object)| object.suspension_uid.as_deref() == Some(uid) && object.is_within(namespace));
        made
    }

    /// Returns somebody else's VirtualService under the name of ours, if it would answer errors without this rule of
    /// ours.
    pub fn foreign_route_needing(&self, kind: RoutingKind, rule: &RoutingObject) -> Option<Arc<ServiceRoute>> {
        let route = self.virtual_service(&rule.namespace, &rule.name)?;
        let needs_it = kind == RoutingKind::DestinationRule
            && route.needs_subsets
            && route.object.suspension_uid != rule.suspension_uid;
        needs_it.then_some(route)
    }

    /// Puts an object in place of the one of its name. The error says why an object cannot be read.
    pub fn insert(&self, kind: RoutingKind, metadata: &ObjectMeta, data: &Value) -> Result<(), String> {
        let key = object_key(metadata);
        match kind {
            RoutingKind::Service => self.services.insert(key, parse_service(metadata, data)?),
            RoutingKind::DestinationRule => self.destination_rules.insert(key, parse_destination_rule(metadata, data)),
            RoutingKind::VirtualService | RoutingKind::HttpRoute | RoutingKind::GrpcRoute => {
                self.route_cache(kind).insert(key, parse_route(kind, metadata, data));
            }
        }
        Ok(())
    }

    pub fn remove(&self, kind: RoutingKind, metadata: &ObjectMeta) {
        let key = object_key(metadata);
        match kind {
            RoutingKind::Service => self.services.remove(&key),
            RoutingKind::DestinationRule => self.destination_rules.remove(&key),
            RoutingKind::VirtualService | RoutingKind::HttpRoute | RoutingKind::GrpcRoute => {
                self.route_cache(kind).remove(&key)
            }
        }
    }

    /// Records that the cluster does not have this kind, and forgets all its objects.
    pub fn set_absent(&self, kind: RoutingKind) {
        self.retain(kind, &HashSet::new());
        self.set_availability(kind, KindAvailability::Absent);
    }

    /// Forgets objects that a complete list of a kind no longer holds. From then on the kind counts as filled.
    pub fn retain(&self, kind: RoutingKind, listed: &HashSet<Box<str>>) {
        match kind {
            RoutingKind::Service => self.services.retain(listed, |_| true),
            RoutingKind::DestinationRule => self.destination_rules.retain(listed, |_| true),
            RoutingKind::VirtualService | RoutingKind::HttpRoute | RoutingKind::GrpcRoute => {
                self.route_cache(kind).retain(listed, |_| true)
            }
        }
        self.set_availability(kind, KindAvailability::Filled);
    }

    fn route_cache(&self, kind: RoutingKind) -> &ObjectCache<ServiceRoute> {
        match kind {
            RoutingKind::HttpRoute => &self.http_routes,
            RoutingKind::GrpcRoute => &self.grpc_routes,
            RoutingKind::VirtualService | RoutingKind::Service | RoutingKind::DestinationRule => &self.virtual_services,
        }
    }
}

pub fn object_key(metadata: &ObjectMeta) -> Box<str> {
    join_key(metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

fn join_key(namespace: &str, name: &str) -> Box<str> {
    format!("{namespace}/{name}").into()
}

impl RoutingObject {
    /// Returns whether the object is in this namespace, if one is given.
    pub fn is_within(&self, namespace: Option<&str>) -> bool {
        namespace.is_none_or(|namespace| *self.namespace == *namespace)
    }
}

fn parse_object(metadata: &ObjectMeta, data: &Value) -> RoutingObject {
    let owner = ownership::suspension_uid(metadata);
    let content = owner.map(|_| {
        Box::new(json!({
            "labels": metadata.labels, "annotations": metadata.annotations,
            "ownerReferences": metadata.owner_references, "spec": data["spec"],
        }))
    });
    RoutingObject {
        namespace: metadata.namespace.as_deref().unwrap_or_default().into(),
        name: metadata.name.as_deref().unwrap_or_default().into(),
        uid: metadata.uid.as_deref().map(Into::into),
        created_at: metadata.creation_timestamp.as_ref().map(|created| created.0),
        suspension_uid: owner.map(Into::into),
        is_being_deleted: metadata.deletion_timestamp.is_some(),
        content,
    }
}

fn parse_service(metadata: &ObjectMeta, data: &Value) -> Result<MeshService, String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct ServiceSpec {
        selector: Option<BTreeMap<String, String>>,
        ports: Option<Vec<ServicePort>>,
        r#type: Option<String>,
    }
    let spec = if data["spec"].is_null() { ServiceSpec::default() } else { decode::<ServiceSpec>(&data["spec"])? };
    let waypoint = metadata.labels.as_ref().and_then(|labels| labels.get(USE_WAYPOINT));
    Ok(MeshService {
        namespace: metadata.namespace.as_deref().unwrap_or_default().into(),
        name: metadata.name.as_deref().unwrap_or_default().into(),
        selector: spec.selector.filter(|labels| !labels.is_empty()).map(|labels| labels.into_iter().collect()),
        ports: spec.ports.unwrap_or_default(),
        is_external: spec.r#type.as_deref() == Some("ExternalName"),
        waypoint: waypoint.map(|waypoint| waypoint.as_str().into()),
    })
}

fn decode<T: for<'d> Deserialize<'d>>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| error.to_string())
}

fn parse_destination_rule(metadata: &ObjectMeta, data: &Value) -> DestinationRule {
    let host = data["spec"]["host"].as_str().unwrap_or_default();
    DestinationRule { object: parse_object(metadata, data), host: host.into() }
}

fn parse_route(kind: RoutingKind, metadata: &ObjectMeta, data: &Value) -> ServiceRoute {
    let object = parse_object(metadata, data);
    let (spec, own) = (&data["spec"], object.namespace.clone());
    let (hosts, on_mesh, leads_to) = match kind {
        RoutingKind::HttpRoute | RoutingKind::GrpcRoute => parse_gateway_route(spec, &own),
        RoutingKind::VirtualService | RoutingKind::Service | RoutingKind::DestinationRule => parse_istio_route(spec),
    };
    let needs_subsets = istio_destinations(spec).any(|destination| destination["subset"].is_string());
    ServiceRoute { kind, object, hosts, on_mesh, destinations: leads_to, needs_subsets }
}

/// Returns the destinations of a VirtualService.
fn istio_destinations(spec: &Value) -> impl Iterator<Item = &Value> {
    let routes = ["http", "tcp", "tls"].into_iter().flat_map(|protocol| items(&spec[protocol]));
    routes.flat_map(|route| items(&route["route"])).map(|one| &one["destination"])
}

fn parse_istio_route(spec: &Value) -> (Vec<Box<str>>, bool, Vec<Box<str>>) {
    let texts = |value: &Value| -> Vec<Box<str>> { items(value).filter_map(Value::as_str).map(Into::into).collect() };
    let gateways = texts(&spec["gateways"]);
    let on_mesh = gateways.is_empty() || gateways.iter().any(|gateway| &**gateway == "mesh");
    let leads_to = istio_destinations(spec).filter_map(|one| one["host"].as_str()).map(Into::into).collect();
    (texts(&spec["hosts"]), on_mesh, leads_to)
}

/// Parses a route of the Gateway API. One whose parent is a service takes that service's host for callers in the mesh.
fn parse_gateway_route(spec: &Value, own: &str) -> (Vec<Box<str>>, bool, Vec<Box<str>>) {
    let host = |reference: &Value| -> Option<Box<str>> {
        let namespace = reference["namespace"].as_str().unwrap_or(own);
        Some(format!("{}.{namespace}", reference["name"].as_str()?).into())
    };
    let parents = items(&spec["parentRefs"]).filter(|parent| parent["kind"] == "Service");
    let hosts: Vec<_> = parents.filter_map(host).collect();
    let backends = items(&spec["rules"]).flat_map(|rule| items(&rule["backendRefs"]));
    let is_service = |backend: &&Value| backend["kind"].as_str().unwrap_or("Service") == "Service";
    let leads_to = backends.filter(is_service).filter_map(host).collect();
    (hosts.clone(), !hosts.is_empty(), leads_to)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> + Clone {
    value.as_array().into_iter().flatten()
}

fn default_protocol() -> String {
    "TCP".to_owned()
}
