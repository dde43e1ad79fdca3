//! Whom a suspension of traffic does not reach, and what else follows from it: said before, and while it holds.

use super::obstacle::{foreign_routes, foreign_rules, lapsed, may_speak_http, means, told};
use super::{Target, version_of};
use crate::kubernetes::inventory::routing::{Kind, Service};

/// How many are named in a sentence.
const MOST_NAMED: usize = 5;

/// A sentence each.
pub(super) fn not_reached(target: &Target<'_>) -> Vec<String> {
    let mut sentences =
        vec!["callers without a sidecar go on as before: their requests pass no proxy that could answer".to_owned()];
    sentences.extend(ingress(target));
    sentences.extend(tcp(target));
    sentences.extend(ambient(target));
    sentences.extend(unversioned(target));
    sentences.extend(foreign(target));
    sentences.extend(rivals(target));
    sentences.extend(lapsed(target));
    sentences.push("requests and connections that are under way are not cut".to_owned());
    sentences
}

/// A gateway routes by what is bound to it, and asks nobody else.
fn ingress(target: &Target<'_>) -> Option<String> {
    let routes = target.inventory.routing.routes();
    let leads_here = |hosts: &[Box<str>], namespace: &str| hosts.iter().any(|host| means(host, namespace, target));
    let through: Vec<_> = routes
        .iter()
        .filter(|route| !route.on_mesh && leads_here(&route.leads_to, &route.object.namespace))
        .map(|route| format!("{} {}/{}", route.kind.as_str(), route.object.namespace, route.object.name))
        .collect();
    Some(match &through[..] {
        [] => "traffic from an ingress gateway goes on, where one routes to it by rules of its own".to_owned(),
        through => format!("traffic from gateways goes on, which comes by {}", listed(through)),
    })
}

fn tcp(target: &Target<'_>) -> Option<String> {
    let Service { ports, .. } = target.service;
    let others: Vec<_> = ports.iter().filter(|port| !may_speak_http(port)).map(told).collect();
    let unnamed = ports.iter().any(|port| may_speak_http(port) && port.app_protocol.is_none() && port.name.is_empty());
    match (&others[..], unnamed) {
        ([], false) => None,
        ([], true) => Some("what is not HTTP goes on: its ports do not tell what is spoken on them".to_owned()),
        (others, _) => Some(format!("what is not HTTP goes on: {}", listed(others))),
    }
}

/// In ambient mode only a waypoint looks at HTTP.
fn ambient(target: &Target<'_>) -> Option<String> {
    let Service { namespace, waypoint, .. } = target.service;
    let entry = target.inventory.namespaces.get(namespace)?;
    let label = |key: &str| entry.namespace().labels.get(key);
    let is_ambient = label("istio.io/dataplane-mode") == Some("ambient");
    let waypoint = waypoint.as_deref().or(label("istio.io/use-waypoint")).filter(|waypoint| *waypoint != "none");
    (is_ambient && waypoint.is_none()).then(|| {
        format!("namespace {namespace} is ambient and has no waypoint: callers without a sidecar of their own, which is most of them, go on")
    })
}

/// Requests are shared out among versions only.
fn unversioned(target: &Target<'_>) -> Option<String> {
    if target.is_whole() {
        return None;
    }
    let without = target.workloads.iter().filter(|workload| version_of(workload).is_none());
    let without: Vec<_> = without.map(|workload| format!("{} {}", workload.kind, workload.name)).collect();
    (!without.is_empty()).then(|| {
        format!("pods without a label version get no requests at all while it holds: those of {}", listed(&without))
    })
}

/// What came after ours takes the host too, for those callers to whom Istio tells of it first.
fn rivals(target: &Target<'_>) -> Option<String> {
    let rivals = foreign_routes(target);
    let named = rivals.iter().map(|route| {
        let (kind, object) = (route.kind.as_str(), &route.object);
        format!("{kind} {}/{}", object.namespace, object.name)
    });
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then(|| format!("what came since takes the host too, and may go before: {}", listed(&named)))
}

fn foreign(target: &Target<'_>) -> Option<String> {
    let rules = foreign_rules(target);
    let rule = rules.first().filter(|_| !target.has(Kind::DestinationRule))?;
    let (namespace, name) = (&rule.object.namespace, &rule.object.name);
    Some(format!("DestinationRule {namespace}/{name} stays as it is, and none is written beside it"))
}

fn listed(all: &[String]) -> String {
    let named = all.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(MOST_NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
