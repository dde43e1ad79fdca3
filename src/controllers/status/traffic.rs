//! Conditions of a suspension of traffic: its routing, its obstacles, and callers that are not reached.

use jiff::Timestamp;

use super::condition::PlannedCondition;
use crate::controllers::status::period::describe_period;
use crate::features::suspension::traffic::{END_GRACE, ServiceSuspension, TrafficObstacle, plan_routing};
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::routing::{RoutingKind, RoutingObject, ServiceRoute};
use crate::kubernetes::resources::status::{RoutingObjectRef, SuspensionStatus};
use crate::kubernetes::resources::suspension_fields::SuspensionPeriod;
use crate::kubernetes::resources::suspension_object::{SuspensionObject, SuspensionPhase};

/// Builds the conditions at this instant; adds routing objects and sentences to the status.
pub(super) fn traffic_conditions(
    inventory: &Inventory,
    suspension: &SuspensionObject,
    period: &SuspensionPeriod,
    now: Timestamp,
    status: &mut SuspensionStatus,
) -> Vec<PlannedCondition> {
    let uid = suspension.uid.as_deref().unwrap_or_default();
    let existing_objects = inventory.routing.objects_of_suspension(uid, suspension.namespace.as_deref());
    status.routing = existing_objects.iter().map(|(kind, object)| to_routed_object(*kind, object)).collect();
    status.routing.sort_by(|left, right| (&left.kind, &left.namespace).cmp(&(&right.kind, &right.namespace)));
    let trouble = inventory.routing.failures.get(uid);
    let services: Vec<&str> = suspension.spec.services.iter().map(|service| service.name.as_str()).collect();
    let sentence = describe_period(period, &format!("traffic to {} is suspended", services.join(", ")), now);
    match period.phase(now) {
        SuspensionPhase::Scheduled => {
            let planned = plan_routing(inventory, suspension, now);
            status.not_reached = collect_not_reached(&planned);
            let obstacles = obstacles(&planned);
            let ready = match &obstacles[..] {
                [] => "no obstacle is known at present".to_owned(),
                obstacles => join_sentences(obstacles),
            };
            build_conditions(("Scheduled", false, sentence), false, None, ready)
        }
        SuspensionPhase::Over => {
            let needing =
                existing_objects.iter().find_map(|(kind, rule)| inventory.routing.foreign_route_needing(*kind, rule));
            ended_conditions(
                existing_objects.is_empty(),
                trouble.or(needing.map(|route| describe_kept_route(&route))),
                sentence,
                period,
                now,
            )
        }
        SuspensionPhase::InForce => {
            let planned = plan_routing(inventory, suspension, now);
            status.not_reached = collect_not_reached(&planned);
            in_force_conditions(&planned, &existing_objects, trouble, sentence)
        }
    }
}

fn in_force_conditions(
    planned: &[ServiceSuspension],
    existing_objects: &[(RoutingKind, RoutingObject)],
    trouble: Option<String>,
    sentence: String,
) -> Vec<PlannedCondition> {
    let obstacles = obstacles(planned);
    let carried = planned.iter().filter(|one| one.routing.is_ok());
    let exists = |one: &&ServiceSuspension| {
        existing_objects.iter().any(|(kind, object)| {
            *kind == RoutingKind::VirtualService && *object.namespace == *one.namespace && *object.name == *one.service
        })
    };
    let (expected, existing) = (carried.clone().count(), carried.filter(exists).count());
    let ready = format!("{existing} of {} services are suspended", planned.len());
    let failed = match (&obstacles[..], &trouble) {
        ([], None) => None,
        ([], Some(trouble)) => Some(("Unwritten", trouble.clone())),
        (obstacles, None) => Some((obstacles[0].reason(), join_sentences(obstacles))),
        (obstacles, Some(trouble)) => {
            Some((obstacles[0].reason(), format!("{}; {trouble}", join_sentences(obstacles))))
        }
    };
    let active = match (expected, existing) {
        (0, _) => {
            (obstacles.first().map_or("Unknown", |one| one.reason()), false, "no traffic is suspended".to_owned())
        }
        (expected, existing) if existing < expected => ("Applying", existing > 0, format!("{ready} so far")),
        _ => ("InForce", true, sentence),
    };
    build_conditions(active, false, failed, ready)
}

fn ended_conditions(
    is_gone: bool,
    trouble: Option<String>,
    sentence: String,
    period: &SuspensionPeriod,
    now: Timestamp,
) -> Vec<PlannedCondition> {
    if is_gone {
        return build_conditions(("Over", false, sentence.clone()), true, None, sentence);
    }
    let is_late = period.ends_at.is_some_and(|end| now.duration_since(end) > END_GRACE);
    let reason = if is_late || trouble.is_some() { "Overdue" } else { "Ending" };
    let message = format!("{sentence}, and its routing still exists");
    let why = trouble.map_or_else(|| message.clone(), |trouble| format!("{message}: {trouble}"));
    let advice = "; `outrigger resume` removes it with your own rights";
    let failed = (reason == "Overdue").then(|| (reason, format!("{why}{advice}")));
    build_conditions((reason, true, message.clone()), true, failed, message)
}

fn describe_kept_route(route: &ServiceRoute) -> String {
    let RoutingObject { namespace, name, .. } = &route.object;
    format!(
        "VirtualService {namespace}/{name}, which somebody has taken over, needs the subsets of its DestinationRule"
    )
}

fn build_conditions(
    (reason, is_active, sentence): (&'static str, bool, String),
    is_over: bool,
    failed: Option<(&'static str, String)>,
    ready: String,
) -> Vec<PlannedCondition> {
    let (failure, why) = match failed {
        Some((reason, why)) => (Some(reason), why),
        None => (None, "the leader writes the routing".to_owned()),
    };
    vec![
        PlannedCondition::new("Ready", true, "Understood", ready),
        PlannedCondition::new("Active", is_active, reason, sentence.clone()),
        PlannedCondition::new("Expired", is_over, reason, sentence),
        PlannedCondition::new("Failed", failure.is_some(), failure.unwrap_or("CarriedOut"), why),
    ]
}

fn to_routed_object(kind: RoutingKind, object: &RoutingObject) -> RoutingObjectRef {
    let (namespace, name) = (object.namespace.to_string(), object.name.to_string());
    RoutingObjectRef { kind: kind.as_str().to_owned(), namespace, name }
}

/// Collects the sentences about callers that are not reached, each once.
fn collect_not_reached(planned: &[ServiceSuspension]) -> Vec<String> {
    let mut sentences = Vec::new();
    for ServiceSuspension { service, routing, .. } in planned {
        for sentence in routing.iter().flat_map(|routing| &routing.not_reached) {
            let sentence = if planned.len() == 1 { sentence.clone() } else { format!("{service}: {sentence}") };
            if !sentences.contains(&sentence) {
                sentences.push(sentence);
            }
        }
    }
    sentences
}

fn obstacles(planned: &[ServiceSuspension]) -> Vec<&TrafficObstacle> {
    planned.iter().filter_map(|one| one.routing.as_ref().err()).collect()
}

fn join_sentences(obstacles: &[&TrafficObstacle]) -> String {
    obstacles.iter().map(|one| one.sentence()).collect::<Vec<_>>().join("; ")
}
