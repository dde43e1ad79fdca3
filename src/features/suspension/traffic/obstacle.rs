//! What stands in the way of suspending a service's traffic.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Obstacle, Target, is_excluded, suspensions};
use crate::kubernetes::inventory::routing::{DestinationRule, Kind, Port, Route, Service, Standing};
use crate::kubernetes::resources::suspending::Period;
use crate::kubernetes::resources::suspension_object::{State, SuspensionObject};

/// The first thing that stands in the way.
pub(super) fn found(target: &Target<'_>, now: Timestamp) -> Result<(), Obstacle> {
    let Target { inventory, service, .. } = target;
    if is_excluded(inventory, &service.namespace) {
        let sentence =
            format!("namespace {} is excluded by a setting, and nothing in it is touched", service.namespace);
        return Err(Obstacle::Unsupported(sentence));
    }
    if !target.has_begun() {
        unspoken(target)?;
        unversioned(target)?;
    }
    // Whoever has it keeps it; what comes later is told of.
    if target.has(Kind::VirtualService) {
        return Ok(());
    }
    taken_by_route(target)?;
    taken_by_rule(target)?;
    taken_by_suspension(target, now)
}

/// What it would not begin with, and goes on with where it has begun: a suspended version that goes away, perhaps to come again,
/// gives no other its traffic back.
pub(super) fn lapsed(target: &Target<'_>) -> Vec<String> {
    let lacks = [unspoken(target), unversioned(target)].into_iter().filter_map(Result::err);
    lacks.map(|obstacle| format!("it goes on, though {}", obstacle.sentence())).collect()
}

/// It has to speak HTTP.
fn unspoken(target: &Target<'_>) -> Result<(), Obstacle> {
    let Service { ports, is_external, .. } = target.service;
    if *is_external {
        let sentence = format!("{} is only a name for something outside of the cluster", target.named());
        return Err(Obstacle::NoHttp(sentence));
    }
    if ports.iter().any(may_speak_http) {
        return Ok(());
    }
    let ports: Vec<_> = ports.iter().map(told).collect();
    let ports = if ports.is_empty() { "has no ports".to_owned() } else { format!("has only {}", ports.join(", ")) };
    Err(Obstacle::NoHttp(format!("{} {ports}: nothing that an HTTP status could answer", target.named())))
}

/// Whether a proxy looks for HTTP on a port: as Istio tells protocols, and where nothing tells, by looking at what is sent.
pub(super) fn may_speak_http(port: &Port) -> bool {
    let Port { name, protocol, app_protocol, .. } = port;
    if protocol != "TCP" {
        return false;
    }
    let declared = app_protocol.as_deref().unwrap_or_else(|| name.split('-').next().unwrap_or_default());
    let declared = declared.to_lowercase();
    let http = ["http", "http2", "grpc", "kubernetes.io/h2c", "kubernetes.io/ws"];
    let other = ["tcp", "tls", "https", "mongo", "mysql", "redis", "udp", "kubernetes.io/wss"];
    // Of gRPC for the web the port's name has a prefix of two words.
    http.contains(&declared.as_str()) || declared == "grpc-web" || !other.contains(&declared.as_str())
}

/// How sentences name a port.
pub(super) fn told(port: &Port) -> String {
    let Port { name, port, protocol, .. } = port;
    let name = if name.is_empty() { String::new() } else { format!(", {}", crate::kernel::text::Clean(name)) };
    format!("port {port} ({protocol}{name})")
}

/// Versions that are named have to exist.
fn unversioned(target: &Target<'_>) -> Result<(), Obstacle> {
    let Target { wanted, versions, .. } = target;
    let Some(missing) = wanted.iter().find(|version| !versions.contains(*version)) else { return Ok(()) };
    let known: Vec<_> = versions.iter().map(String::as_str).collect();
    let known = match &known[..] {
        [] => "none of its workloads has a pod template with the label version".to_owned(),
        known => format!("it has {}", known.join(", ")),
    };
    Err(Obstacle::NoVersion(format!("{} has no version {missing}: {known}", target.named())))
}

/// The routes of others that take the host for callers in the mesh, in whatever namespace.
pub(super) fn foreign_routes(target: &Target<'_>) -> Vec<Arc<Route>> {
    let mut routes = target.inventory.routing.routes();
    routes.retain(|route| {
        let Route { object, hosts, on_mesh, .. } = &**route;
        let takes = *on_mesh && hosts.iter().any(|host| means(host, &object.namespace, target));
        takes && !target.is_ours(object)
    });
    routes
}

/// Somebody routes it already.
fn taken_by_route(target: &Target<'_>) -> Result<(), Obstacle> {
    if let Some(route) = foreign_routes(target).first() {
        return Err(taken(target, route.kind.as_str(), &route.object, "routes it already"));
    }
    let of_our_name = target.inventory.routing.virtual_service(&target.service.namespace, &target.service.name);
    match of_our_name.filter(|route| !target.is_ours(&route.object)) {
        Some(route) => Err(taken(target, "VirtualService", &route.object, "has the name that ours would have")),
        None => Ok(()),
    }
}

/// Subsets of another rule would hide ours, which some versions need.
fn taken_by_rule(target: &Target<'_>) -> Result<(), Obstacle> {
    match foreign_rules(target).first() {
        Some(rule) if !target.is_whole() => {
            Err(taken(target, "DestinationRule", &rule.object, "tells its versions already"))
        }
        _ => Ok(()),
    }
}

/// The DestinationRules of others that are about this host, or have the name that ours would have.
pub(super) fn foreign_rules(target: &Target<'_>) -> Vec<Arc<DestinationRule>> {
    let Service { namespace, name, .. } = target.service;
    let mut rules = target.inventory.routing.destination_rules();
    rules.retain(|rule| {
        let Standing { namespace: theirs, name: their_name, .. } = &rule.object;
        let is_of_our_name = theirs == namespace && their_name == name;
        // Istio looks in the caller's namespace, the service's and its own, and takes the most specific of the first that has
        // any: a pattern hides ours only from callers in its namespace.
        let is_weaker = rule.host.starts_with('*') && (theirs == namespace || is_excluded(target.inventory, theirs));
        let is_about_it = is_of_our_name || (!is_weaker && means(&rule.host, theirs, target));
        is_about_it && !target.is_ours(&rule.object)
    });
    rules
}

/// Of two suspensions that name one service, the one that has it keeps it, and else the older one gets it.
fn taken_by_suspension(target: &Target<'_>, now: Timestamp) -> Result<(), Obstacle> {
    let Target { inventory, suspension, .. } = target;
    let others = suspensions(inventory);
    let own = others.iter().find(|(other, _)| is_same(other, suspension)).map(|(_, period)| *period);
    let is_first = |(other, period): &&(Arc<SuspensionObject>, Period)| {
        !is_same(other, suspension)
            && !other.is_being_deleted
            && names(target, other)
            && match own {
                // One that is only asked about meets each that is still to come or to end.
                None => period.state(now) != State::Over,
                Some(_) => period.state(now) == State::InForce && age(other) < age(suspension),
            }
    };
    let Some((other, period)) = others.iter().find(is_first) else { return Ok(()) };
    let until = period.ends_at.map_or_else(|| "until somebody ends it".to_owned(), |end| format!("until {end}"));
    let sentence = format!("{} is suspended by {} {until}; end or extend that one", target.named(), other.named());
    Err(Obstacle::Taken(sentence))
}

fn names(target: &Target<'_>, other: &SuspensionObject) -> bool {
    let Service { namespace, name, .. } = target.service;
    other.spec.services.iter().any(|service| *service.name == **name)
        && super::namespaces_of(target.inventory, other).iter().any(|one| **one == **namespace)
}

fn is_same(left: &SuspensionObject, right: &SuspensionObject) -> bool {
    left.namespace == right.namespace && left.name == right.name
}

fn age(suspension: &SuspensionObject) -> (Option<Timestamp>, &str, &str) {
    (suspension.created_at, suspension.namespace.as_deref().unwrap_or_default(), &suspension.name)
}

fn taken(target: &Target<'_>, kind: &str, object: &Standing, does: &str) -> Obstacle {
    let Standing { namespace, name, owner, .. } = object;
    // One that says it is of this suspension, and cannot be, is nobody's that we know.
    let whose = match owner.as_ref().filter(|owner| Some(&***owner) != target.suspension.uid.as_deref()) {
        Some(uid) => {
            let by = suspensions(target.inventory).into_iter().find(|(other, _)| other.uid.as_deref() == Some(&**uid));
            let by = by.map_or_else(|| "a suspension that is gone".to_owned(), |(other, _)| other.named());
            format!(", made for {by},")
        }
        None => String::new(),
    };
    Obstacle::Taken(format!(
        "{kind} {namespace}/{name}{whose} {does}: {} is left as it is; take that away, or change it by hand",
        target.named()
    ))
}

/// Whether a host, as written in an object of this namespace, means the service, or more than it.
pub(super) fn means(host: &str, namespace: &str, target: &Target<'_>) -> bool {
    let Service { namespace: own, name, .. } = target.service;
    let full = target.host();
    let host = host.to_lowercase();
    if let Some(end) = host.strip_prefix('*') {
        return full.ends_with(end);
    }
    // A delegate has no host at all, and others may be written with fewer parts.
    let shorter = [format!("{name}.{own}"), format!("{name}.{own}.svc"), full];
    shorter.contains(&host) || (host == **name && namespace == &**own)
}
