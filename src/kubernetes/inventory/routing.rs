//! What the mesh knows of routes to services: services, whatever routes to them, and rules of their destinations.
//!
//! Decisions about pods need none of it. Kept small: of what others wrote only what tells whether it stands in the way.

pub mod ownership;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};

use super::cache::Cache;
use super::changes::Changes;
use super::owner_kind::Served;

/// A kind that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A Service of Kubernetes.
    Service,
    /// A VirtualService of Istio.
    VirtualService,
    /// A DestinationRule of Istio.
    DestinationRule,
    /// An HTTPRoute of the Gateway API, which binds to a service where its parent is one.
    HttpRoute,
    /// The same for gRPC.
    GrpcRoute,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Service, Self::VirtualService, Self::DestinationRule, Self::HttpRoute, Self::GrpcRoute];
    /// Those that route.
    const ROUTES: [Self; 3] = [Self::VirtualService, Self::HttpRoute, Self::GrpcRoute];

    /// The API group, its version, the plural and the kind.
    pub fn names(self) -> [&'static str; 4] {
        match self {
            Self::Service => ["", "v1", "services", "Service"],
            Self::VirtualService => ["networking.istio.io", "v1", "virtualservices", "VirtualService"],
            Self::DestinationRule => ["networking.istio.io", "v1", "destinationrules", "DestinationRule"],
            Self::HttpRoute => ["gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute"],
            Self::GrpcRoute => ["gateway.networking.k8s.io", "v1", "grpcroutes", "GRPCRoute"],
        }
    }

    /// The kind, as objects of it say.
    pub fn as_str(self) -> &'static str {
        self.names()[3]
    }

    /// The plural, as paths say it.
    pub fn plural(self) -> &'static str {
        self.names()[2]
    }

    /// The kind of this name in this group.
    pub fn named(group: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.names()[0] == group && one.names()[3] == kind)
    }
}

/// Routes to services.
#[derive(Debug)]
pub struct Routing {
    services: Cache<Service>,
    virtual_services: Cache<Route>,
    http_routes: Cache<Route>,
    grpc_routes: Cache<Route>,
    destination_rules: Cache<DestinationRule>,
    served: [AtomicU8; 5],
    /// By the UID of the suspension, what the last attempt to carry it out or to end it failed with.
    pub troubles: Troubles,
    /// The domain that full names of services end with.
    pub domain: String,
}

/// What attempts to write failed with.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<BTreeMap<String, String>>, Changes);

impl Troubles {
    /// Remembers what an attempt came to.
    pub fn note(&self, uid: &str, trouble: Option<String>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match trouble.clone() {
            Some(trouble) => known.insert(uid.to_owned(), trouble),
            None => known.remove(uid),
        };
        if before != trouble {
            self.1.note();
        }
    }

    /// Forgets those of suspensions for which there is nothing to do any more.
    pub fn retain(&self, is_open: impl Fn(&str) -> bool) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.len();
        known.retain(|uid, _| is_open(uid));
        if known.len() != before {
            self.1.note();
        }
    }

    /// What the last attempt failed with.
    pub fn of(&self, uid: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Labels of the pods behind it; none where it selects none.
    pub selector: Option<Vec<(String, String)>>,
    /// Its ports.
    pub ports: Vec<Port>,
    /// Whether it is only a name for something outside.
    pub is_external: bool,
    /// The waypoint that it asks for.
    pub waypoint: Option<Box<str>>,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its number.
    pub port: u16,
    /// TCP, UDP or SCTP.
    #[serde(default = "tcp")]
    pub protocol: String,
    /// What is spoken on it.
    #[serde(default)]
    pub app_protocol: Option<String>,
}

/// Something that routes to services.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its kind.
    pub kind: Kind,
    /// How it stands.
    pub object: Standing,
    /// The hosts that it takes, as written.
    pub hosts: Vec<Box<str>>,
    /// Whether it takes them for callers in the mesh, and not only at gateways.
    pub on_mesh: bool,
    /// The hosts that it leads to, as written.
    pub leads_to: Vec<Box<str>>,
    /// Whether it leads to subsets, which a DestinationRule has to tell.
    pub needs_subsets: bool,
}

/// What is to be observed about calls to a host.
#[derive(Debug, Clone, PartialEq)]
pub struct DestinationRule {
    /// How it stands.
    pub object: Standing,
    /// The host, as written.
    pub host: Box<str>,
}

/// How an object stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its UID.
    pub uid: Option<Box<str>>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// The UID of the suspension that it says it was made for, see [`ownership`]; an object of somebody else has none.
    pub owner: Option<Box<str>>,
    /// Whether it is being deleted.
    pub is_being_deleted: bool,
    /// Of one of ours: labels, annotations, owners and spec, to be compared with what they should be.
    pub content: Option<Box<Value>>,
}

/// The domain of a cluster that was told no other.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

impl Default for Routing {
    fn default() -> Self {
        Self {
            services: Cache::default(),
            virtual_services: Cache::default(),
            http_routes: Cache::default(),
            grpc_routes: Cache::default(),
            destination_rules: Cache::default(),
            served: Default::default(),
            troubles: Troubles::default(),
            domain: CLUSTER_DOMAIN.to_owned(),
        }
    }
}

impl Routing {
    /// Whether the cluster has a kind, and all objects of it have been seen.
    pub fn served(&self, kind: Kind) -> Served {
        match self.served[kind as usize].load(Ordering::Acquire) {
            0 => Served::NotYet,
            1 => Served::No,
            _ => Served::Yes,
        }
    }

    /// Tells whether the cluster has a kind, and all objects of it have been seen.
    pub fn set_served(&self, kind: Kind, served: Served) {
        let number = match served {
            Served::NotYet => 0,
            Served::No => 1,
            Served::Yes => 2,
        };
        self.served[kind as usize].store(number, Ordering::Release);
        self.services.changes.note();
    }

    /// A number that grows with every change.
    pub fn changes(&self) -> u64 {
        let Self { services, virtual_services, http_routes, grpc_routes, destination_rules, .. } = self;
        let changes = [
            &services.changes,
            &virtual_services.changes,
            &http_routes.changes,
            &grpc_routes.changes,
            &destination_rules.changes,
        ];
        changes.into_iter().chain([&self.troubles.1]).map(Changes::count).sum()
    }

    /// The service of this name.
    pub fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services.get(&key(namespace, name))
    }

    /// All services.
    pub fn services(&self) -> Vec<Arc<Service>> {
        self.services.all()
    }

    /// Everything that routes, of all kinds, in order of kinds and names.
    pub fn routes(&self) -> Vec<Arc<Route>> {
        let mut routes: Vec<_> = Kind::ROUTES.into_iter().flat_map(|kind| self.routes_of(kind).all()).collect();
        routes.sort_by(|left, right| {
            let place = |route: &Route| (route.kind, route.object.namespace.clone(), route.object.name.clone());
            place(left).cmp(&place(right))
        });
        routes
    }

    /// The VirtualService of this name.
    pub fn virtual_service(&self, namespace: &str, name: &str) -> Option<Arc<Route>> {
        self.virtual_services.get(&key(namespace, name))
    }

    /// The DestinationRule of this name.
    pub fn destination_rule(&self, namespace: &str, name: &str) -> Option<Arc<DestinationRule>> {
        self.destination_rules.get(&key(namespace, name))
    }

    /// All DestinationRules.
    pub fn destination_rules(&self) -> Vec<Arc<DestinationRule>> {
        let mut rules = self.destination_rules.all();
        rules.sort_by(|left, right| {
            (&left.object.namespace, &left.object.name).cmp(&(&right.object.namespace, &right.object.name))
        });
        rules
    }

    /// Everything that was made for suspensions: the VirtualServices, and then the DestinationRules that they need.
    pub fn made(&self) -> Vec<(Kind, Standing)> {
        let routes = self.routes().into_iter().map(|route| (route.kind, route.object.clone()));
        let rules = self.destination_rules().into_iter().map(|rule| (Kind::DestinationRule, rule.object.clone()));
        let is_route = |kind: &Kind| matches!(kind, Kind::VirtualService | Kind::DestinationRule);
        routes.chain(rules).filter(|(kind, object)| is_route(kind) && object.owner.is_some()).collect()
    }

    /// What was made for the suspension of this UID: of a namespaced one only what is in its namespace can have been.
    pub fn made_for(&self, uid: &str, namespace: Option<&str>) -> Vec<(Kind, Standing)> {
        let mut made = self.made();
        made.retain(|(_, object)| object.owner.as_deref() == Some(uid) && object.is_within(namespace));
        made
    }

    /// The VirtualService of somebody else under the name of ours that would answer errors without this rule of ours.
    pub fn needing(&self, kind: Kind, rule: &Standing) -> Option<Arc<Route>> {
        let route = self.virtual_service(&rule.namespace, &rule.name)?;
        let needs_it = kind == Kind::DestinationRule && route.needs_subsets && route.object.owner != rule.owner;
        needs_it.then_some(route)
    }

    /// Puts an object in place of the one of its name; one that cannot be read is said to be so.
    pub fn insert(&self, kind: Kind, metadata: &ObjectMeta, data: &Value) -> Result<(), String> {
        let key = key_of(metadata);
        match kind {
            Kind::Service => self.services.insert(key, service(metadata, data)?),
            Kind::DestinationRule => self.destination_rules.insert(key, destination_rule(metadata, data)),
            Kind::VirtualService | Kind::HttpRoute | Kind::GrpcRoute => {
                self.routes_of(kind).insert(key, route(kind, metadata, data));
            }
        }
        Ok(())
    }

    /// Takes an object away.
    pub fn remove(&self, kind: Kind, metadata: &ObjectMeta) {
        let key = key_of(metadata);
        match kind {
            Kind::Service => self.services.remove(&key),
            Kind::DestinationRule => self.destination_rules.remove(&key),
            Kind::VirtualService | Kind::HttpRoute | Kind::GrpcRoute => self.routes_of(kind).remove(&key),
        }
    }

    /// The cluster does not have this kind, nor any object of it any more.
    pub fn set_absent(&self, kind: Kind) {
        self.retain(kind, &HashSet::new());
        self.set_served(kind, Served::No);
    }

    /// Forgets what a complete list of a kind no longer holds; from then on all of it has been seen.
    pub fn retain(&self, kind: Kind, listed: &HashSet<Box<str>>) {
        match kind {
            Kind::Service => self.services.retain(listed, |_| true),
            Kind::DestinationRule => self.destination_rules.retain(listed, |_| true),
            Kind::VirtualService | Kind::HttpRoute | Kind::GrpcRoute => self.routes_of(kind).retain(listed, |_| true),
        }
        self.set_served(kind, Served::Yes);
    }

    fn routes_of(&self, kind: Kind) -> &Cache<Route> {
        match kind {
            Kind::HttpRoute => &self.http_routes,
            Kind::GrpcRoute => &self.grpc_routes,
            Kind::VirtualService | Kind::Service | Kind::DestinationRule => &self.virtual_services,
        }
    }
}

/// What an object is kept under.
pub fn key_of(metadata: &ObjectMeta) -> Box<str> {
    key(metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

fn key(namespace: &str, name: &str) -> Box<str> {
    format!("{namespace}/{name}").into()
}

impl Standing {
    /// Whether it is in this namespace, if one is given.
    pub fn is_within(&self, namespace: Option<&str>) -> bool {
        namespace.is_none_or(|namespace| *self.namespace == *namespace)
    }
}

fn standing(metadata: &ObjectMeta, data: &Value) -> Standing {
    let owner = ownership::owner(metadata);
    let content = owner.map(|_| {
        Box::new(json!({
            "labels": metadata.labels, "annotations": metadata.annotations,
            "ownerReferences": metadata.owner_references, "spec": data["spec"],
        }))
    });
    Standing {
        namespace: metadata.namespace.as_deref().unwrap_or_default().into(),
        name: metadata.name.as_deref().unwrap_or_default().into(),
        uid: metadata.uid.as_deref().map(Into::into),
        created_at: metadata.creation_timestamp.as_ref().map(|created| created.0),
        owner: owner.map(Into::into),
        is_being_deleted: metadata.deletion_timestamp.is_some(),
        content,
    }
}

fn service(metadata: &ObjectMeta, data: &Value) -> Result<Service, String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Spec {
        selector: Option<BTreeMap<String, String>>,
        ports: Option<Vec<Port>>,
        r#type: Option<String>,
    }
    let spec = if data["spec"].is_null() { Spec::default() } else { read::<Spec>(&data["spec"])? };
    let waypoint = metadata.labels.as_ref().and_then(|labels| labels.get("istio.io/use-waypoint"));
    Ok(Service {
        namespace: metadata.namespace.as_deref().unwrap_or_default().into(),
        name: metadata.name.as_deref().unwrap_or_default().into(),
        selector: spec.selector.filter(|labels| !labels.is_empty()).map(|labels| labels.into_iter().collect()),
        ports: spec.ports.unwrap_or_default(),
        is_external: spec.r#type.as_deref() == Some("ExternalName"),
        waypoint: waypoint.map(|waypoint| waypoint.as_str().into()),
    })
}

fn read<T: for<'d> Deserialize<'d>>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| error.to_string())
}

fn destination_rule(metadata: &ObjectMeta, data: &Value) -> DestinationRule {
    let host = data["spec"]["host"].as_str().unwrap_or_default();
    DestinationRule { object: standing(metadata, data), host: host.into() }
}

fn route(kind: Kind, metadata: &ObjectMeta, data: &Value) -> Route {
    let object = standing(metadata, data);
    let (spec, own) = (&data["spec"], object.namespace.clone());
    let (hosts, on_mesh, leads_to) = match kind {
        Kind::HttpRoute | Kind::GrpcRoute => of_gateway_api(spec, &own),
        Kind::VirtualService | Kind::Service | Kind::DestinationRule => of_istio(spec),
    };
    let needs_subsets = destinations(spec).any(|destination| destination["subset"].is_string());
    Route { kind, object, hosts, on_mesh, leads_to, needs_subsets }
}

/// Where a VirtualService leads.
fn destinations(spec: &Value) -> impl Iterator<Item = &Value> {
    let routes = ["http", "tcp", "tls"].into_iter().flat_map(|protocol| list(&spec[protocol]));
    routes.flat_map(|route| list(&route["route"])).map(|one| &one["destination"])
}

fn of_istio(spec: &Value) -> (Vec<Box<str>>, bool, Vec<Box<str>>) {
    let texts = |value: &Value| -> Vec<Box<str>> { list(value).filter_map(Value::as_str).map(Into::into).collect() };
    let gateways = texts(&spec["gateways"]);
    let on_mesh = gateways.is_empty() || gateways.iter().any(|gateway| &**gateway == "mesh");
    let leads_to = destinations(spec).filter_map(|one| one["host"].as_str()).map(Into::into).collect();
    (texts(&spec["hosts"]), on_mesh, leads_to)
}

/// A route whose parent is a service takes that service's host for callers in the mesh.
fn of_gateway_api(spec: &Value, own: &str) -> (Vec<Box<str>>, bool, Vec<Box<str>>) {
    let host = |reference: &Value| -> Option<Box<str>> {
        let namespace = reference["namespace"].as_str().unwrap_or(own);
        Some(format!("{}.{namespace}", reference["name"].as_str()?).into())
    };
    let parents = list(&spec["parentRefs"]).filter(|parent| parent["kind"] == "Service");
    let hosts: Vec<_> = parents.filter_map(host).collect();
    let backends = list(&spec["rules"]).flat_map(|rule| list(&rule["backendRefs"]));
    let is_service = |backend: &&Value| backend["kind"].as_str().unwrap_or("Service") == "Service";
    let leads_to = backends.filter(is_service).filter_map(host).collect();
    (hosts.clone(), !hosts.is_empty(), leads_to)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> + Clone {
    value.as_array().into_iter().flatten()
}

fn tcp() -> String {
    "TCP".to_owned()
}
