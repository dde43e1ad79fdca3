//! Plans the routing that suspends the traffic of services: objects to write, obstacles, and callers that are not reached.
//!
//! A whole service is suspended by answering every caller in the mesh with an error. Some versions of a service are suspended
//! by giving them no share of the requests. Both are written as a VirtualService and a DestinationRule of the service's name,
//! as Kiali's wizard wrote them, and both are enforced by the proxies of the callers.
//! Guarantees: routing of other people is never changed; existing routing is found first, and named. Pure: everything is read
//! from the inventory, and the caller writes the result; only `removal` calls the cluster.

pub mod objects;
mod obstacle;
mod reach;
pub mod removal;
mod subset;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::decision::facts::Owner;
use crate::decision::mesh::InjectorKind;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::KindAvailability;
use crate::kubernetes::inventory::routing::{MeshService, RoutingKind, RoutingObject};
use crate::kubernetes::resources::suspension_fields;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Time that ending a suspension may take; after that it is overdue.
pub const END_GRACE: SignedDuration = SignedDuration::from_secs(10);

/// Label by which Istio and Kiali tell versions of a service apart.
pub const VERSION_LABEL: &str = "version";

/// Result of a suspension of traffic for one service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSuspension {
    /// Namespace of the service; empty if no namespace of a cluster suspension has such a service.
    pub namespace: String,
    pub service: String,
    /// Routing that suspends the traffic, or the reason why there is none.
    pub routing: Result<RoutingPlan, TrafficObstacle>,
}

/// Objects to write for one service.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutingPlan {
    /// DestinationRule, written first and removed last; none if a foreign one exists and ours is not needed.
    pub destination_rule: Option<Value>,
    pub virtual_service: Value,
    /// Sentences about callers that are not reached, and about other consequences.
    pub not_reached: Vec<String>,
}

/// Reason why the traffic of a service cannot be suspended, with a sentence that names the obstacle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrafficObstacle {
    /// Objects that matter are not read yet, or may not be read.
    Unknown(String),
    /// The mesh has no routing to use: it is not Istio.
    Unsupported(String),
    /// The service does not exist.
    NoService(String),
    /// The service lacks a requested version.
    NoVersion(String),
    /// The service speaks no protocol that an HTTP status can answer.
    NoHttp(String),
    /// Foreign routing, or another suspension, has the host already.
    Taken(String),
}

/// Way in which an obstacle, or another refusal, stops a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalSeverity {
    /// The request breaks a rule.
    Invalid,
    /// The request contradicts the present state.
    Conflict,
    /// The present state is not known.
    Unknown,
}

impl TrafficObstacle {
    /// Returns how the obstacle stops a new suspension.
    pub fn severity(&self) -> RefusalSeverity {
        match self {
            Self::Taken(_) => RefusalSeverity::Conflict,
            Self::Unknown(_) => RefusalSeverity::Unknown,
            Self::Unsupported(_) | Self::NoService(_) | Self::NoVersion(_) | Self::NoHttp(_) => {
                RefusalSeverity::Invalid
            }
        }
    }

    /// Returns one word, as reasons of conditions are written.
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

/// Service to suspend, with the facts about it.
pub(crate) struct ServiceTarget<'t> {
    pub(crate) inventory: &'t Inventory,
    pub(crate) suspension: &'t SuspensionObject,
    pub(crate) service: &'t MeshService,
    /// Versions to suspend; empty for the whole service.
    pub(crate) requested_versions: &'t [String],
    /// Workloads whose pods the service selects.
    pub(crate) workloads: Vec<Arc<Owner>>,
    /// Versions of these workloads.
    pub(crate) versions: BTreeSet<String>,
}

/// Plans the routing of a suspension of traffic, service by service, as if it were in force.
///
/// If two suspensions name one service, the one that has it keeps it; otherwise the older one gets it. `now` decides which other
/// suspensions count.
pub fn plan_routing(inventory: &Inventory, suspension: &SuspensionObject, now: Timestamp) -> Vec<ServiceSuspension> {
    let namespaces = target_namespaces(inventory, suspension);
    let mut planned = Vec::new();
    for suspension_fields::SuspensionService { name, versions } in &suspension.spec.services {
        let before = planned.len();
        for namespace in &namespaces {
            let known = mesh_obstacle(inventory).map_or(Ok(()), Err);
            let service = inventory.routing.service(namespace, name);
            let routing = match (known, service) {
                (Err(obstacle), _) => Err(obstacle),
                (Ok(()), Some(service)) => ServiceTarget::new(inventory, suspension, &service, versions).routing(now),
                // A cluster suspension applies only to the services that exist.
                (Ok(()), None) if suspension.namespace.is_none() => continue,
                (Ok(()), None) => Err(missing_service(inventory, namespace, name)),
            };
            planned.push(ServiceSuspension { namespace: namespace.clone(), service: name.clone(), routing });
        }
        if planned.len() == before && suspension.namespace.is_none() {
            let sentence =
                format!("no target namespace has a service {name}; the suspension takes effect once one has");
            let routing = Err(mesh_obstacle(inventory).unwrap_or(TrafficObstacle::NoService(sentence)));
            planned.push(ServiceSuspension { namespace: String::new(), service: name.clone(), routing });
        }
    }
    planned
}

/// Returns the namespaces to which a suspension of traffic applies, without the excluded ones.
pub fn target_namespaces(inventory: &Inventory, suspension: &SuspensionObject) -> Vec<String> {
    let is_touched = |name: &str| !inventory.settings.excluded_namespaces.iter().any(|excluded| excluded == name);
    if let Some(namespace) = &suspension.namespace {
        return vec![namespace.clone()];
    }
    // The maximum length does not matter for the namespaces.
    let Ok((_, compiled)) = suspension.compile(SignedDuration::MAX) else { return Vec::new() };
    let matching = compiled.matcher;
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

/// Returns whether a setting excludes this namespace.
pub(crate) fn is_excluded(inventory: &Inventory, namespace: &str) -> bool {
    inventory.settings.excluded_namespaces.iter().any(|excluded| excluded == namespace)
}

/// Returns the obstacle for every service: no Istio, or routing that is not read.
fn mesh_obstacle(inventory: &Inventory) -> Option<TrafficObstacle> {
    let mesh = inventory.settings.mesh;
    if !matches!(mesh.injector, InjectorKind::Istio { .. }) {
        let sentence =
            format!("suspending traffic needs the routing of Istio, and this installation serves {}", mesh.name);
        return Some(TrafficObstacle::Unsupported(sentence));
    }
    for kind in RoutingKind::ALL {
        let [_, _, plural, name] = kind.names();
        let needed = matches!(kind, RoutingKind::VirtualService | RoutingKind::DestinationRule);
        match inventory.routing.availability(kind) {
            KindAvailability::Filled => {}
            KindAvailability::Absent if needed => {
                let sentence =
                    format!("the cluster does not know {name}, which Istio installs; traffic cannot be suspended");
                return Some(TrafficObstacle::Unsupported(sentence));
            }
            KindAvailability::Absent => {}
            KindAvailability::Filling => {
                let sentence = format!("the {plural} of the cluster are not known yet, or may not be listed");
                return Some(TrafficObstacle::Unknown(sentence));
            }
        }
    }
    None
}

fn missing_service(inventory: &Inventory, namespace: &str, name: &str) -> TrafficObstacle {
    let services = inventory.routing.services();
    let of_namespace = services.iter().filter(|service| *service.namespace == *namespace);
    let scored = of_namespace.map(|service| (strsim::jaro_winkler(name, &service.name), service));
    let best = scored.max_by(|left, right| left.0.total_cmp(&right.0)).filter(|(score, _)| *score > 0.8);
    let hint = best.map(|(_, service)| format!("; did you mean {}?", service.name)).unwrap_or_default();
    TrafficObstacle::NoService(format!("namespace {namespace} has no service {name}{hint}"))
}

impl<'t> ServiceTarget<'t> {
    fn new(
        inventory: &'t Inventory,
        suspension: &'t SuspensionObject,
        service: &'t MeshService,
        requested_versions: &'t [String],
    ) -> Self {
        let workloads = workloads_behind(inventory, service);
        let versions = workloads.iter().filter_map(|workload| version_of(workload)).map(str::to_owned).collect();
        Self { inventory, suspension, service, requested_versions, workloads, versions }
    }

    fn routing(&self, now: Timestamp) -> Result<RoutingPlan, TrafficObstacle> {
        obstacle::check_obstacles(self, now)?;
        // An existing rule of ours is kept: a route may need its subsets.
        let is_free = obstacle::foreign_rules(self).is_empty() || self.has_own(RoutingKind::DestinationRule);
        let destination_rule = is_free.then(|| self.destination_rule());
        Ok(RoutingPlan {
            virtual_service: self.virtual_service(),
            destination_rule,
            not_reached: reach::describe_limits(self),
        })
    }

    /// Returns whether an object of this kind exists that was made for this suspension and service.
    pub(crate) fn has_own(&self, kind: RoutingKind) -> bool {
        let MeshService { namespace, name, .. } = self.service;
        let routing = &self.inventory.routing;
        let object = match kind {
            RoutingKind::VirtualService => routing.virtual_service(namespace, name).map(|route| route.object.clone()),
            RoutingKind::DestinationRule => routing.destination_rule(namespace, name).map(|rule| rule.object.clone()),
            RoutingKind::Service | RoutingKind::HttpRoute | RoutingKind::GrpcRoute => None,
        };
        object.is_some_and(|object| self.is_ours(&object))
    }

    /// Returns whether any object of this suspension and service exists.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_own(RoutingKind::VirtualService) || self.has_own(RoutingKind::DestinationRule)
    }

    /// Returns whether an object was made for this suspension and service; its own claim is not enough.
    pub(crate) fn is_ours(&self, object: &RoutingObject) -> bool {
        let (uid, MeshService { namespace, name, .. }) = (self.suspension.uid.as_deref(), self.service);
        let is_of_our_name = object.namespace == *namespace && object.name == *name;
        uid.is_some() && object.suspension_uid.as_deref() == uid && is_of_our_name
    }

    /// Returns whether the whole service is to be suspended, also if every existing version is a suspended one.
    pub(crate) fn is_whole_service(&self) -> bool {
        self.requested_versions.is_empty()
            || self.versions.iter().all(|version| self.requested_versions.contains(version))
    }

    /// Returns the fully qualified host name of the service.
    pub(crate) fn host(&self) -> String {
        let MeshService { namespace, name, .. } = self.service;
        format!("{name}.{namespace}.svc.{}", self.inventory.routing.domain)
    }

    pub(crate) fn describe(&self) -> String {
        let MeshService { namespace, name, .. } = self.service;
        format!("service {namespace}/{name}")
    }
}

/// Returns the workloads whose pods the service selects.
fn workloads_behind(inventory: &Inventory, service: &MeshService) -> Vec<Arc<Owner>> {
    let Some(selector) = &service.selector else { return Vec::new() };
    let is_behind = |workload: &Arc<Owner>| {
        let labels = workload.template.as_ref().and_then(|template| template.pod.labels.as_ref());
        *workload.namespace == *service.namespace
            && labels.is_some_and(|labels| selector.iter().all(|(key, value)| labels.get(key) == Some(value.as_str())))
    };
    inventory.workloads().into_iter().filter(is_behind).collect()
}

/// Returns the version label of a workload's new pods.
fn version_of(workload: &Owner) -> Option<&str> {
    workload.template.as_ref()?.pod.label(VERSION_LABEL).filter(|version| !version.is_empty())
}

/// Returns the valid suspensions of traffic, with their periods.
pub fn traffic_suspensions(inventory: &Inventory) -> Vec<(Arc<SuspensionObject>, suspension_fields::SuspensionPeriod)> {
    let all = inventory.rule_records.suspensions().into_iter();
    all.filter_map(|(object, period)| object.suspends_traffic().then_some((object, period?))).collect()
}
