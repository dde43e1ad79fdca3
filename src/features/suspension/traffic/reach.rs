//! Describes callers that a suspension of traffic does not reach, and its other consequences; shown before and while it is in force.

use super::obstacle::{
    describe_port, foreign_routes, foreign_rules, matches_host, may_speak_http, tolerated_obstacles,
};
use super::{ServiceTarget, version_of};
use crate::kernel::names::{DATAPLANE_MODE, USE_WAYPOINT};
use crate::kubernetes::inventory::routing::{MeshService, RoutingKind};

/// Limit of the names in one sentence.
const MOST_NAMED: usize = 5;

/// Returns all these sentences, the most general first.
pub(super) fn describe_limits(target: &ServiceTarget<'_>) -> Vec<String> {
    let mut sentences = vec!["callers without a sidecar are not affected: no proxy answers their requests".to_owned()];
    sentences.extend(describe_gateways(target));
    sentences.extend(describe_other_protocols(target));
    sentences.extend(describe_ambient(target));
    sentences.extend(describe_unversioned_pods(target));
    sentences.extend(describe_foreign_rule(target));
    sentences.extend(describe_rival_routes(target));
    sentences.extend(tolerated_obstacles(target));
    sentences.push("open requests and connections are not cut".to_owned());
    sentences
}

/// Gateways route by the objects bound to them alone, so they bypass ours.
fn describe_gateways(target: &ServiceTarget<'_>) -> Option<String> {
    let routes = target.inventory.routing.routes();
    let leads_here =
        |hosts: &[Box<str>], namespace: &str| hosts.iter().any(|host| matches_host(host, namespace, target));
    let through: Vec<_> = routes
        .iter()
        .filter(|route| !route.on_mesh && leads_here(&route.destinations, &route.object.namespace))
        .map(|route| format!("{} {}/{}", route.kind.as_str(), route.object.namespace, route.object.name))
        .collect();
    Some(match &through[..] {
        [] => {
            "traffic from an ingress gateway continues if the gateway has a route of its own to the service".to_owned()
        }
        through => format!("traffic from gateways continues through {}", join_names(through)),
    })
}

fn describe_other_protocols(target: &ServiceTarget<'_>) -> Option<String> {
    let MeshService { ports, .. } = target.service;
    let others: Vec<_> = ports.iter().filter(|port| !may_speak_http(port)).map(describe_port).collect();
    let unnamed = ports.iter().any(|port| may_speak_http(port) && port.app_protocol.is_none() && port.name.is_empty());
    match (&others[..], unnamed) {
        ([], false) => None,
        ([], true) => Some("traffic other than HTTP continues: the ports do not name their protocol".to_owned()),
        (others, _) => Some(format!("traffic other than HTTP continues: {}", join_names(others))),
    }
}

/// Ambient callers are not reached without a waypoint: only a waypoint inspects HTTP.
fn describe_ambient(target: &ServiceTarget<'_>) -> Option<String> {
    let MeshService { namespace, waypoint, .. } = target.service;
    let entry = target.inventory.namespaces.get(namespace)?;
    let label = |key: &str| entry.namespace().labels.get(key);
    let is_ambient = label(DATAPLANE_MODE) == Some("ambient");
    let waypoint = waypoint.as_deref().or(label(USE_WAYPOINT)).filter(|waypoint| *waypoint != "none");
    (is_ambient && waypoint.is_none()).then(|| {
        format!("namespace {namespace} is ambient and has no waypoint: callers without a sidecar of their own are not affected, which is most of them")
    })
}

/// Pods without a version get no requests, since these are distributed among versions only.
fn describe_unversioned_pods(target: &ServiceTarget<'_>) -> Option<String> {
    if target.is_whole_service() {
        return None;
    }
    let without = target.workloads.iter().filter(|workload| version_of(workload).is_none());
    let without: Vec<_> = without.map(|workload| format!("{} {}", workload.kind, workload.name)).collect();
    (!without.is_empty()).then(|| {
        format!(
            "pods without the label version get no requests during the suspension: those of {}",
            join_names(&without)
        )
    })
}

/// Routes that came after ours take the host too, for callers to which Istio announces them first.
fn describe_rival_routes(target: &ServiceTarget<'_>) -> Option<String> {
    let rivals = foreign_routes(target);
    let named = rivals.iter().map(|route| {
        let (kind, object) = (route.kind.as_str(), &route.object);
        format!("{kind} {}/{}", object.namespace, object.name)
    });
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then(|| format!("newer routes take the host too, and may win: {}", join_names(&named)))
}

fn describe_foreign_rule(target: &ServiceTarget<'_>) -> Option<String> {
    let rules = foreign_rules(target);
    let rule = rules.first().filter(|_| !target.has_own(RoutingKind::DestinationRule))?;
    let (namespace, name) = (&rule.object.namespace, &rule.object.name);
    Some(format!("DestinationRule {namespace}/{name} stays as it is, and none is written beside it"))
}

fn join_names(all: &[String]) -> String {
    let named = all.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(MOST_NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
