//! What is said of a suspension of traffic: what carries it out, what stands in its way, whom it does not reach.

use jiff::Timestamp;

use super::condition::Saying;
use super::suspension::told;
use crate::features::suspension::traffic::{Obstacle, OfService, PROMPT, routing_for};
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::routing::{Kind, Route, Standing};
use crate::kubernetes::resources::status::{Routed, SuspensionStatus};
use crate::kubernetes::resources::suspending::Period;
use crate::kubernetes::resources::suspension_object::{State, SuspensionObject};

/// What is said at this instant; objects and sentences are put into the status.
pub(super) fn sayings(
    inventory: &Inventory,
    suspension: &SuspensionObject,
    period: &Period,
    now: Timestamp,
    status: &mut SuspensionStatus,
) -> Vec<Saying> {
    let uid = suspension.uid.as_deref().unwrap_or_default();
    let held = inventory.routing.made_for(uid, suspension.namespace.as_deref());
    status.routing = held.iter().map(|(kind, object)| routed(*kind, object)).collect();
    status.routing.sort_by(|left, right| (&left.kind, &left.namespace).cmp(&(&right.kind, &right.namespace)));
    let trouble = inventory.routing.troubles.of(uid);
    let services: Vec<&str> = suspension.spec.services.iter().map(|service| service.name.as_str()).collect();
    let sentence = told(period, &format!("traffic to {} is suspended", services.join(", ")), now);
    match period.state(now) {
        State::Scheduled => {
            let planned = routing_for(inventory, suspension, now);
            status.not_reached = not_reached(&planned);
            let obstacles = obstacles(&planned);
            let ready = match &obstacles[..] {
                [] => "nothing stands in its way at present".to_owned(),
                obstacles => told_of(obstacles),
            };
            said(("Scheduled", false, sentence), false, None, ready)
        }
        State::Over => {
            let needing = held.iter().find_map(|(kind, rule)| inventory.routing.needing(*kind, rule));
            over(held.is_empty(), trouble.or(needing.map(|route| kept_for(&route))), sentence, period, now)
        }
        State::InForce => {
            let planned = routing_for(inventory, suspension, now);
            status.not_reached = not_reached(&planned);
            in_force(&planned, &held, trouble, sentence)
        }
    }
}

fn in_force(
    planned: &[OfService],
    held: &[(Kind, Standing)],
    trouble: Option<String>,
    sentence: String,
) -> Vec<Saying> {
    let obstacles = obstacles(planned);
    let carried = planned.iter().filter(|one| one.routing.is_ok());
    let stands = |one: &&OfService| {
        held.iter().any(|(kind, object)| {
            *kind == Kind::VirtualService && *object.namespace == *one.namespace && *object.name == *one.service
        })
    };
    let (wanted, standing) = (carried.clone().count(), carried.filter(stands).count());
    let ready = format!("{standing} of {} services are suspended", planned.len());
    let failed = match (&obstacles[..], &trouble) {
        ([], None) => None,
        ([], Some(trouble)) => Some(("Unwritten", trouble.clone())),
        (obstacles, None) => Some((obstacles[0].reason(), told_of(obstacles))),
        (obstacles, Some(trouble)) => Some((obstacles[0].reason(), format!("{}; {trouble}", told_of(obstacles)))),
    };
    let active = match (wanted, standing) {
        (0, _) => {
            (obstacles.first().map_or("Unknown", |one| one.reason()), false, "no traffic is suspended".to_owned())
        }
        (wanted, standing) if standing < wanted => ("Applying", standing > 0, format!("{ready} so far")),
        _ => ("InForce", true, sentence),
    };
    said(active, false, failed, ready)
}

fn over(is_gone: bool, trouble: Option<String>, sentence: String, period: &Period, now: Timestamp) -> Vec<Saying> {
    if is_gone {
        return said(("Over", false, sentence.clone()), true, None, sentence);
    }
    let is_late = period.ends_at.is_some_and(|end| now.duration_since(end) > PROMPT);
    let reason = if is_late || trouble.is_some() { "Overdue" } else { "Ending" };
    let stands = format!("{sentence}, and its routing still stands");
    let why = trouble.map_or_else(|| stands.clone(), |trouble| format!("{stands}: {trouble}"));
    let advice = "; `outrigger resume` removes it with your own rights";
    let failed = (reason == "Overdue").then(|| (reason, format!("{why}{advice}")));
    said((reason, true, stands.clone()), true, failed, stands)
}

fn kept_for(route: &Route) -> String {
    let Standing { namespace, name, .. } = &route.object;
    format!(
        "VirtualService {namespace}/{name}, which somebody has made theirs, needs the subsets of its DestinationRule"
    )
}

fn said(
    (reason, is_active, sentence): (&'static str, bool, String),
    is_over: bool,
    failed: Option<(&'static str, String)>,
    ready: String,
) -> Vec<Saying> {
    let (failure, why) = match failed {
        Some((reason, why)) => (Some(reason), why),
        None => (None, "its routing is written by the replica that leads".to_owned()),
    };
    vec![
        Saying::new("Ready", true, "Understood", ready),
        Saying::new("Active", is_active, reason, sentence.clone()),
        Saying::new("Expired", is_over, reason, sentence),
        Saying::new("Failed", failure.is_some(), failure.unwrap_or("CarriedOut"), why),
    ]
}

fn routed(kind: Kind, object: &Standing) -> Routed {
    let (namespace, name) = (object.namespace.to_string(), object.name.to_string());
    Routed { kind: kind.as_str().to_owned(), namespace, name }
}

/// Of several services each sentence once.
fn not_reached(planned: &[OfService]) -> Vec<String> {
    let mut sentences = Vec::new();
    for OfService { service, routing, .. } in planned {
        for sentence in routing.iter().flat_map(|routing| &routing.not_reached) {
            let sentence = if planned.len() == 1 { sentence.clone() } else { format!("{service}: {sentence}") };
            if !sentences.contains(&sentence) {
                sentences.push(sentence);
            }
        }
    }
    sentences
}

fn obstacles(planned: &[OfService]) -> Vec<&Obstacle> {
    planned.iter().filter_map(|one| one.routing.as_ref().err()).collect()
}

fn told_of(obstacles: &[&Obstacle]) -> String {
    obstacles.iter().map(|one| one.sentence()).collect::<Vec<_>>().join("; ")
}
