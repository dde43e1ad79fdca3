//! Obstacles to suspending the traffic of a service.

use std::sync::Arc;

use jiff::Timestamp;

use super::{ServiceTarget, TrafficObstacle, is_excluded, traffic_suspensions};
use crate::kubernetes::inventory::routing::{
    DestinationRule, MeshService, RoutingKind, RoutingObject, ServicePort, ServiceRoute,
};
use crate::kubernetes::resources::suspension_fields::SuspensionPeriod;
use crate::kubernetes::resources::suspension_object::{SuspensionObject, SuspensionPhase};

/// Checks for obstacles; returns the first.
pub(super) fn check_obstacles(target: &ServiceTarget<'_>, now: Timestamp) -> Result<(), TrafficObstacle> {
    let ServiceTarget { inventory, service, .. } = target;
    if is_excluded(inventory, &service.namespace) {
        let sentence =
            format!("namespace {} is excluded by a setting, and nothing in it is touched", service.namespace);
        return Err(TrafficObstacle::Unsupported(sentence));
    }
    if !target.has_begun() {
        check_http(target)?;
        check_versions(target)?;
    }
    // A suspension that has the service keeps it; routing that comes later is only reported.
    if target.has_own(RoutingKind::VirtualService) {
        return Ok(());
    }
    check_routes(target)?;
    check_rules(target)?;
    check_suspensions(target, now)
}

/// Describes obstacles that would prevent a begin, but do not end a suspension that has begun. A suspended version may disappear
/// and come again; meanwhile the other suspended versions get no traffic back.
pub(super) fn tolerated_obstacles(target: &ServiceTarget<'_>) -> Vec<String> {
    let lacks = [check_http(target), check_versions(target)].into_iter().filter_map(Result::err);
    lacks.map(|obstacle| format!("the suspension stays in force, though {}", obstacle.sentence())).collect()
}

/// Checks that the service speaks HTTP.
fn check_http(target: &ServiceTarget<'_>) -> Result<(), TrafficObstacle> {
    let MeshService { ports, is_external, .. } = target.service;
    if *is_external {
        let sentence = format!("{} is only a name for a host outside of the cluster", target.describe());
        return Err(TrafficObstacle::NoHttp(sentence));
    }
    if ports.iter().any(may_speak_http) {
        return Ok(());
    }
    let ports: Vec<_> = ports.iter().map(describe_port).collect();
    let ports = if ports.is_empty() { "has no ports".to_owned() } else { format!("has only {}", ports.join(", ")) };
    Err(TrafficObstacle::NoHttp(format!("{} {ports}: no port speaks HTTP", target.describe())))
}

/// Returns whether a proxy looks for HTTP on a port. Istio takes the declared protocol; without one, it inspects the traffic.
pub(super) fn may_speak_http(port: &ServicePort) -> bool {
    let ServicePort { name, protocol, app_protocol, .. } = port;
    if protocol != "TCP" {
        return false;
    }
    let declared = app_protocol.as_deref().unwrap_or_else(|| name.split('-').next().unwrap_or_default());
    let declared = declared.to_lowercase();
    let http = ["http", "http2", "grpc", "kubernetes.io/h2c", "kubernetes.io/ws"];
    let other = ["tcp", "tls", "https", "mongo", "mysql", "redis", "udp", "kubernetes.io/wss"];
    // The port name of gRPC-Web has a prefix of two words.
    http.contains(&declared.as_str()) || declared == "grpc-web" || !other.contains(&declared.as_str())
}

pub(super) fn describe_port(port: &ServicePort) -> String {
    let ServicePort { name, port, protocol, .. } = port;
    let name = if name.is_empty() { String::new() } else { format!(", {}", crate::kernel::text::CleanText(name)) };
    format!("port {port} ({protocol}{name})")
}

/// Checks that the requested versions exist.
fn check_versions(target: &ServiceTarget<'_>) -> Result<(), TrafficObstacle> {
    let ServiceTarget { requested_versions, versions, .. } = target;
    let Some(missing) = requested_versions.iter().find(|version| !versions.contains(*version)) else { return Ok(()) };
    let known: Vec<_> = versions.iter().map(String::as_str).collect();
    let known = match &known[..] {
        [] => "none of its workloads has a pod template with the label version".to_owned(),
        known => format!("it has {}", known.join(", ")),
    };
    Err(TrafficObstacle::NoVersion(format!("{} has no version {missing}: {known}", target.describe())))
}

/// Returns foreign routes, in any namespace, that take the host for callers in the mesh.
pub(super) fn foreign_routes(target: &ServiceTarget<'_>) -> Vec<Arc<ServiceRoute>> {
    let mut routes = target.inventory.routing.routes();
    routes.retain(|route| {
        let ServiceRoute { object, hosts, on_mesh, .. } = &**route;
        let takes = *on_mesh && hosts.iter().any(|host| matches_host(host, &object.namespace, target));
        takes && !target.is_ours(object)
    });
    routes
}

/// Checks that no foreign route has the host, or the name that our VirtualService needs.
fn check_routes(target: &ServiceTarget<'_>) -> Result<(), TrafficObstacle> {
    if let Some(route) = foreign_routes(target).first() {
        return Err(describe_conflict(target, route.kind.as_str(), &route.object, "routes it already"));
    }
    let of_our_name = target.inventory.routing.virtual_service(&target.service.namespace, &target.service.name);
    match of_our_name.filter(|route| !target.is_ours(&route.object)) {
        Some(route) => {
            Err(describe_conflict(target, "VirtualService", &route.object, "has the name that ours would have"))
        }
        None => Ok(()),
    }
}

/// Checks foreign DestinationRules: their subsets would hide ours, which are needed to suspend some versions only.
fn check_rules(target: &ServiceTarget<'_>) -> Result<(), TrafficObstacle> {
    match foreign_rules(target).first() {
        Some(rule) if !target.is_whole_service() => {
            Err(describe_conflict(target, "DestinationRule", &rule.object, "names its versions already"))
        }
        _ => Ok(()),
    }
}

/// Returns foreign DestinationRules of this host, or with the name that our rule needs.
pub(super) fn foreign_rules(target: &ServiceTarget<'_>) -> Vec<Arc<DestinationRule>> {
    let MeshService { namespace, name, .. } = target.service;
    let mut rules = target.inventory.routing.destination_rules();
    rules.retain(|rule| {
        let RoutingObject { namespace: theirs, name: their_name, .. } = &rule.object;
        let is_of_our_name = theirs == namespace && their_name == name;
        // Istio looks in the caller's namespace, then in the service's, then in its own, and takes the most specific rule of the
        // first namespace that has any. So a pattern hides our rule only from callers in the namespace of the pattern.
        let is_weaker = rule.host.starts_with('*') && (theirs == namespace || is_excluded(target.inventory, theirs));
        let concerns_service = is_of_our_name || (!is_weaker && matches_host(&rule.host, theirs, target));
        concerns_service && !target.is_ours(&rule.object)
    });
    rules
}

/// Checks other suspensions of the same service: the one that has it keeps it, otherwise the older one gets it.
fn check_suspensions(target: &ServiceTarget<'_>, now: Timestamp) -> Result<(), TrafficObstacle> {
    let ServiceTarget { inventory, suspension, .. } = target;
    let others = traffic_suspensions(inventory);
    let own = others.iter().find(|(other, _)| is_same_suspension(other, suspension)).map(|(_, period)| *period);
    let is_first = |(other, period): &&(Arc<SuspensionObject>, SuspensionPeriod)| {
        !is_same_suspension(other, suspension)
            && !other.is_being_deleted
            && names_service(target, other)
            && match own {
                // A draft conflicts with every suspension that is not over.
                None => period.phase(now) != SuspensionPhase::Over,
                Some(_) => period.phase(now) == SuspensionPhase::InForce && seniority(other) < seniority(suspension),
            }
    };
    let Some((other, period)) = others.iter().find(is_first) else { return Ok(()) };
    let until = period.ends_at.map_or_else(|| "until somebody ends it".to_owned(), |end| format!("until {end}"));
    let sentence =
        format!("{} is suspended by {} {until}; end or extend that one", target.describe(), other.describe());
    Err(TrafficObstacle::Taken(sentence))
}

fn names_service(target: &ServiceTarget<'_>, other: &SuspensionObject) -> bool {
    let MeshService { namespace, name, .. } = target.service;
    other.spec.services.iter().any(|service| *service.name == **name)
        && super::target_namespaces(target.inventory, other).iter().any(|one| **one == **namespace)
}

fn is_same_suspension(left: &SuspensionObject, right: &SuspensionObject) -> bool {
    left.namespace == right.namespace && left.name == right.name
}

fn seniority(suspension: &SuspensionObject) -> (Option<Timestamp>, &str, &str) {
    (suspension.created_at, suspension.namespace.as_deref().unwrap_or_default(), &suspension.name)
}

fn describe_conflict(target: &ServiceTarget<'_>, kind: &str, object: &RoutingObject, problem: &str) -> TrafficObstacle {
    let RoutingObject { namespace, name, suspension_uid: owner, .. } = object;
    // An object that wrongly claims to belong to this suspension has no owner that we know.
    let whose = match owner.as_ref().filter(|owner| Some(&***owner) != target.suspension.uid.as_deref()) {
        Some(uid) => {
            let by = traffic_suspensions(target.inventory)
                .into_iter()
                .find(|(other, _)| other.uid.as_deref() == Some(&**uid));
            let by = by.map_or_else(|| "a suspension that is gone".to_owned(), |(other, _)| other.describe());
            format!(", made for {by},")
        }
        None => String::new(),
    };
    TrafficObstacle::Taken(format!(
        "{kind} {namespace}/{name}{whose} {problem}: {} is not suspended; remove or change that object first",
        target.describe()
    ))
}

/// Returns whether a host, as written in an object of this namespace, matches the service; patterns may match more.
pub(super) fn matches_host(host: &str, namespace: &str, target: &ServiceTarget<'_>) -> bool {
    let MeshService { namespace: own, name, .. } = target.service;
    let full = target.host();
    let host = host.to_lowercase();
    if let Some(end) = host.strip_prefix('*') {
        return full.ends_with(end);
    }
    // A delegate has no host at all; other hosts may be written with fewer parts.
    let shorter = [format!("{name}.{own}"), format!("{name}.{own}.svc"), full];
    shorter.contains(&host) || (host == **name && namespace == &**own)
}
