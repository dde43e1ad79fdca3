//! The routing that suspends the traffic of services: what is to be written, what stands in its way, whom it does not reach.
//!
//! A service is suspended as a whole by an answer of an error to every caller in the mesh, or in some of its versions by
//! giving them no share of the requests. Both are written as a VirtualService and a DestinationRule of the service's name,
//! as Kiali's wizard wrote them, and both are enforced by the proxies of the callers.
//! Guarantees: nothing of somebody else's is changed, and routing that stands is found first and named. Pure: everything
//! is read from the inventory, and written by others.

pub mod objects;
mod obstacle;
mod reach;
mod subset;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::decision::facts::Owner;
use crate::decision::mesh::Injector;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::Served;
use crate::kubernetes::inventory::routing::{Kind, Service, Standing};
use crate::kubernetes::resources::suspending;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// The end of a suspension takes a moment; for longer it is overdue.
pub const PROMPT: SignedDuration = SignedDuration::from_secs(10);

/// The label by which Istio and Kiali tell versions of a service apart.
pub const VERSION: &str = "version";

/// What a suspension of traffic comes to for one service.
#[derive(Debug, Clone, PartialEq)]
pub struct OfService {
    /// The namespace of the service.
    pub namespace: String,
    /// Its name.
    pub service: String,
    /// The routing that suspends its traffic, or why it cannot be suspended.
    pub routing: Result<Routing, Obstacle>,
}

/// What is written for one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Routing {
    /// The DestinationRule, which is written first and removed last; none where another's stands and is not needed.
    pub destination_rule: Option<Value>,
    /// The VirtualService.
    pub virtual_service: Value,
    /// Whom it does not reach, and what else follows, a sentence each.
    pub not_reached: Vec<String>,
}

/// Why the traffic of a service cannot be suspended, in a sentence that names what is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// What would have to be known is not known yet, or may not be read.
    Unknown(String),
    /// Nobody routes as we would have to: there is no Istio.
    Unsupported(String),
    /// There is no such service.
    NoService(String),
    /// The service has none of these versions.
    NoVersion(String),
    /// It speaks nothing that can be answered with an HTTP status.
    NoHttp(String),
    /// Routing that is not ours to change takes the host already.
    Taken(String),
}

impl Obstacle {
    /// The word for it, as reasons of conditions are written.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "Unknown",
            Self::Unsupported(_) => "Unsupported",
            Self::NoService(_) => "NoService",
            Self::NoVersion(_) => "NoVersion",
            Self::NoHttp(_) => "NoHttp",
            Self::Taken(_) => "Taken",
        }
    }

    /// The sentence.
    pub fn sentence(&self) -> &str {
        match self {
            Self::Unknown(why)
            | Self::Unsupported(why)
            | Self::NoService(why)
            | Self::NoVersion(why)
            | Self::NoHttp(why)
            | Self::Taken(why) => why,
        }
    }
}

/// A service that is to be suspended, and what is known about it.
pub(crate) struct Target<'t> {
    pub(crate) inventory: &'t Inventory,
    pub(crate) suspension: &'t SuspensionObject,
    pub(crate) service: &'t Service,
    /// Versions that are to be suspended; empty for all of it.
    pub(crate) wanted: &'t [String],
    /// The workloads behind it.
    pub(crate) workloads: Vec<Arc<Owner>>,
    /// Their versions.
    pub(crate) versions: BTreeSet<String>,
}

/// What this suspension of traffic comes to, service by service, if it holds.
///
/// Of two that name one service the one that has it keeps it, and else the older one gets it; `now` tells which others count.
pub fn routing_for(inventory: &Inventory, suspension: &SuspensionObject, now: Timestamp) -> Vec<OfService> {
    let namespaces = namespaces_of(inventory, suspension);
    let mut found = Vec::new();
    for suspending::Service { name, versions } in &suspension.spec.services {
        let before = found.len();
        for namespace in &namespaces {
            let known = unknown(inventory).map_or(Ok(()), Err);
            let service = inventory.routing.service(namespace, name);
            let routing = match (known, service) {
                (Err(obstacle), _) => Err(obstacle),
                (Ok(()), Some(service)) => Target::of(inventory, suspension, &service, versions).routing(now),
                // A suspension of the cluster is about those that exist.
                (Ok(()), None) if suspension.namespace.is_none() => continue,
                (Ok(()), None) => Err(no_service(inventory, namespace, name)),
            };
            found.push(OfService { namespace: namespace.clone(), service: name.clone(), routing });
        }
        if found.len() == before && suspension.namespace.is_none() {
            let sentence =
                format!("none of the namespaces that it names has a service {name}; it is taken up when one has");
            let routing = Err(unknown(inventory).unwrap_or(Obstacle::NoService(sentence)));
            found.push(OfService { namespace: String::new(), service: name.clone(), routing });
        }
    }
    found
}

/// The namespaces that a suspension of traffic is about, without those that are never touched.
pub fn namespaces_of(inventory: &Inventory, suspension: &SuspensionObject) -> Vec<String> {
    let is_touched = |name: &str| !inventory.settings.excluded_namespaces.iter().any(|excluded| excluded == name);
    if let Some(namespace) = &suspension.namespace {
        return vec![namespace.clone()];
    }
    // How long it may last has nothing to do with where.
    let Ok((_, compiled)) = suspension.compiled(SignedDuration::MAX) else { return Vec::new() };
    let matching = compiled.matching;
    let mut names = Vec::new();
    for entry in inventory.namespaces.all() {
        let namespace = entry.namespace();
        let labels =
            matching.namespace_selector.selects_all() || matching.namespace_selector.matches(&namespace.labels);
        if matching.names_namespace(&namespace.name) && labels && is_touched(&namespace.name) {
            names.push(namespace.name.to_string());
        }
    }
    names.sort();
    names
}

/// Whether a namespaced suspension of traffic is in a namespace that is never touched.
pub(crate) fn is_excluded(inventory: &Inventory, namespace: &str) -> bool {
    inventory.settings.excluded_namespaces.iter().any(|excluded| excluded == namespace)
}

/// What of the cluster has to be known, and is not.
fn unknown(inventory: &Inventory) -> Option<Obstacle> {
    let mesh = inventory.settings.mesh;
    if !matches!(mesh.injector, Injector::Istio { .. }) {
        let sentence =
            format!("traffic is suspended with the routing of Istio, and this installation serves {}", mesh.name);
        return Some(Obstacle::Unsupported(sentence));
    }
    for kind in Kind::ALL {
        let [_, _, plural, name] = kind.names();
        let needed = matches!(kind, Kind::VirtualService | Kind::DestinationRule);
        match inventory.routing.served(kind) {
            Served::Yes => {}
            Served::No if needed => {
                let sentence =
                    format!("the cluster does not know {name}, which Istio installs; traffic cannot be suspended");
                return Some(Obstacle::Unsupported(sentence));
            }
            Served::No => {}
            Served::NotYet => {
                let sentence = format!("the {plural} of the cluster are not known yet, or may not be listed");
                return Some(Obstacle::Unknown(sentence));
            }
        }
    }
    None
}

fn no_service(inventory: &Inventory, namespace: &str, name: &str) -> Obstacle {
    let services = inventory.routing.services();
    let of_namespace = services.iter().filter(|service| *service.namespace == *namespace);
    let scored = of_namespace.map(|service| (strsim::jaro_winkler(name, &service.name), service));
    let best = scored.max_by(|left, right| left.0.total_cmp(&right.0)).filter(|(score, _)| *score > 0.8);
    let meant = best.map(|(_, service)| format!("; did you mean {}?", service.name)).unwrap_or_default();
    Obstacle::NoService(format!("namespace {namespace} has no service {name}{meant}"))
}

impl<'t> Target<'t> {
    fn of(
        inventory: &'t Inventory,
        suspension: &'t SuspensionObject,
        service: &'t Service,
        wanted: &'t [String],
    ) -> Self {
        let workloads = behind(inventory, service);
        let versions = workloads.iter().filter_map(|workload| version_of(workload)).map(str::to_owned).collect();
        Self { inventory, suspension, service, wanted, workloads, versions }
    }

    fn routing(&self, now: Timestamp) -> Result<Routing, Obstacle> {
        obstacle::found(self, now)?;
        // One of ours that stands is kept: a route may need its subsets.
        let is_free = obstacle::foreign_rules(self).is_empty() || self.has(Kind::DestinationRule);
        let destination_rule = is_free.then(|| self.destination_rule());
        Ok(Routing { virtual_service: self.virtual_service(), destination_rule, not_reached: reach::not_reached(self) })
    }

    /// Whether an object of this kind stands already that was made for this suspension and service.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        let Service { namespace, name, .. } = self.service;
        let routing = &self.inventory.routing;
        let object = match kind {
            Kind::VirtualService => routing.virtual_service(namespace, name).map(|route| route.object.clone()),
            Kind::DestinationRule => routing.destination_rule(namespace, name).map(|rule| rule.object.clone()),
            Kind::Service | Kind::HttpRoute | Kind::GrpcRoute => None,
        };
        object.is_some_and(|object| self.is_ours(&object))
    }

    /// Whether anything of it stands already.
    pub(crate) fn has_begun(&self) -> bool {
        self.has(Kind::VirtualService) || self.has(Kind::DestinationRule)
    }

    /// Whether an object was made for this suspension and service, and does not only say that it is ours.
    pub(crate) fn is_ours(&self, object: &Standing) -> bool {
        let (uid, Service { namespace, name, .. }) = (self.suspension.uid.as_deref(), self.service);
        let is_of_our_name = object.namespace == *namespace && object.name == *name;
        uid.is_some() && object.owner.as_deref() == uid && is_of_our_name
    }

    /// Whether all of the service is to be suspended: also where the only versions that are left are suspended ones.
    pub(crate) fn is_whole(&self) -> bool {
        self.wanted.is_empty() || self.versions.iter().all(|version| self.wanted.contains(version))
    }

    /// The service's name for the whole cluster.
    pub(crate) fn host(&self) -> String {
        let Service { namespace, name, .. } = self.service;
        format!("{name}.{namespace}.svc.{}", self.inventory.routing.domain)
    }

    /// How sentences name the service.
    pub(crate) fn named(&self) -> String {
        let Service { namespace, name, .. } = self.service;
        format!("service {namespace}/{name}")
    }
}

/// The workloads whose pods are behind a service.
fn behind(inventory: &Inventory, service: &Service) -> Vec<Arc<Owner>> {
    let Some(selector) = &service.selector else { return Vec::new() };
    let is_behind = |workload: &Arc<Owner>| {
        let labels = workload.template.as_ref().and_then(|template| template.pod.labels.as_ref());
        *workload.namespace == *service.namespace
            && labels.is_some_and(|labels| selector.iter().all(|(key, value)| labels.get(key) == Some(value.as_str())))
    };
    inventory.workloads().into_iter().filter(is_behind).collect()
}

/// The version of a workload's new pods.
fn version_of(workload: &Owner) -> Option<&str> {
    workload.template.as_ref()?.pod.label(VERSION).filter(|version| !version.is_empty())
}

/// The suspensions of traffic, with their periods: those that can be read.
pub fn suspensions(inventory: &Inventory) -> Vec<(Arc<SuspensionObject>, suspending::Period)> {
    let all = inventory.standings.suspensions().into_iter();
    all.filter_map(|(object, period)| object.suspends_traffic().then_some((object, period?))).collect()
}
