//! Carries out suspensions of traffic: writes their routing when they begin, repairs it, and removes it when they end.
//!
//! Guarantees: a suspension has our finalizer before its routing is written, and keeps it until all of that routing is gone. The
//! DestinationRule is written before the VirtualService that needs it, and removed after it. An obstacle or a failure of one
//! service does not affect other services: they are suspended, and get their traffic back. Plans are made from existing objects, so
//! that the next leader continues the work of the previous one.
//! Limits: an object that somebody changes again and again is repaired ever more rarely, up to once a minute. After a failure, the
//! whole suspension is retried at the same intervals.

mod execution;
mod failures;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::audit::AuditLog;
use crate::features::suspension::traffic::{RoutingPlan, ServiceSuspension, TrafficObstacle, plan_routing};
use crate::kernel::clock::Clock;
use crate::kubernetes::client::traffic::RouteWriter;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::KindAvailability;
use crate::kubernetes::inventory::routing::{RoutingKind, RoutingObject};
use crate::kubernetes::resources::suspension_object::{SuspensionObject, SuspensionPhase};
use execution::TrafficExecutor;

/// Interval of the checks for changes, and so the longest delay of a begin or an end.
const TICK: Duration = Duration::from_millis(250);
/// Delay until new versions of a service are noticed.
const WORKLOAD_INTERVAL: Duration = Duration::from_secs(5);
/// Wait after the first failure or repair; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest wait between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Time without attempts after which the wait starts again from the beginning.
const RESET_AFTER: Duration = Duration::from_secs(300);

/// Actions for one suspension, in order. A failed action stops the later actions for the same service.
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficPlan {
    /// Suspension; none if it is gone, and only its routing is left.
    pub suspension: Option<Arc<SuspensionObject>>,
    /// UID of the suspension.
    pub uid: String,
    pub actions: Vec<TrafficAction>,
}

/// Single write of a plan.
#[derive(Debug, Clone, PartialEq)]
pub enum TrafficAction {
    /// Adds our finalizer to the suspension.
    AddFinalizer,
    /// Creates an object.
    Create(RoutingKind, Value),
    /// Restores the object of this UID; the last field is the former content, for the audit log.
    Repair(RoutingKind, Value, String, Option<Value>),
    /// Removes an object.
    Remove(RoutingKind, RoutingObject),
    /// Removes our finalizer from the suspension.
    RemoveFinalizer,
}

/// Returns whether all caches are filled: an object that is not read yet is neither missing nor over.
fn is_complete(inventory: &Inventory) -> bool {
    let routing =
        [RoutingKind::VirtualService, RoutingKind::DestinationRule].map(|kind| inventory.routing.availability(kind));
    !routing.contains(&KindAvailability::Filling) && inventory.is_synced()
}

/// Plans the actions of all suspensions at this instant; none until all caches are filled.
pub fn plan_traffic(inventory: &Inventory, now: Timestamp) -> Vec<TrafficPlan> {
    if !is_complete(inventory) {
        return Vec::new();
    }
    let mut owned = owned_objects(inventory);
    let mut plans = Vec::new();
    for (kind, name, record) in inventory.rule_records.suspension_records() {
        let Some(uid) = record.uid.clone() else { continue };
        let mut existing_objects = owned.remove(&uid).unwrap_or_default();
        // An object outside the suspension's namespace only claims to belong to it.
        existing_objects.retain(|(_, object)| object.is_within(kind.is_namespaced().then_some(&*name.0)));
        let Some(suspension) = record.suspension else {
            // An invalid suspension suspends nothing: its routing and our finalizer are removed.
            let mut actions = plan_removals(inventory, &existing_objects);
            if existing_objects.is_empty() && record.has_finalizer {
                actions.push(TrafficAction::RemoveFinalizer);
            }
            let namespace = kind.is_namespaced().then(|| name.0.into());
            let suspension = SuspensionObject::unreadable(namespace, name.1.into(), Some(uid.clone()));
            plans.push(TrafficPlan { suspension: Some(Arc::new(suspension)), uid, actions });
            continue;
        };
        let in_force = record.period.is_some_and(|period| period.phase(now) == SuspensionPhase::InForce);
        let holds = in_force && suspension.suspends_traffic() && !suspension.is_being_deleted;
        let planned = if holds { plan_routing(inventory, &suspension, now) } else { Vec::new() };
        let actions = plan_actions(inventory, &suspension, &planned, &existing_objects);
        plans.push(TrafficPlan { suspension: Some(suspension), uid, actions });
    }
    let orphan = |(uid, existing_objects): (String, Vec<OwnedObject>)| TrafficPlan {
        suspension: None,
        uid,
        actions: plan_removals(inventory, &existing_objects),
    };
    plans.extend(owned.into_iter().map(orphan));
    plans.retain(|plan| !plan.actions.is_empty());
    plans
}

impl TrafficPlan {
    /// Returns whether the plan only removes.
    fn is_end(&self) -> bool {
        self.actions.iter().all(|action| matches!(action, TrafficAction::Remove(..) | TrafficAction::RemoveFinalizer))
    }

    /// Returns whether the plan writes routing again that was written before.
    fn is_repair(&self) -> bool {
        let begins = self.actions.contains(&TrafficAction::AddFinalizer);
        !begins
            && self.actions.iter().any(|action| matches!(action, TrafficAction::Repair(..) | TrafficAction::Create(..)))
    }
}

/// Object that was made for a suspension.
type OwnedObject = (RoutingKind, RoutingObject);

/// Returns our existing objects, by the UID of the suspension.
fn owned_objects(inventory: &Inventory) -> BTreeMap<String, Vec<OwnedObject>> {
    let mut owned: BTreeMap<String, Vec<OwnedObject>> = BTreeMap::new();
    for (kind, object) in inventory.routing.suspension_objects() {
        owned.entry(object.suspension_uid.as_deref().unwrap_or_default().to_owned()).or_default().push((kind, object));
    }
    owned
}

fn plan_actions(
    inventory: &Inventory,
    suspension: &SuspensionObject,
    planned: &[ServiceSuspension],
    existing_objects: &[OwnedObject],
) -> Vec<TrafficAction> {
    let mut kept = Vec::new();
    let mut actions = Vec::new();
    for ServiceSuspension { namespace, service, routing } in planned {
        let RoutingPlan { destination_rule, virtual_service, not_reached: _ } = match routing {
            Ok(routing) => routing,
            // Routing of an unknown state is left as it is.
            Err(TrafficObstacle::Unknown(_)) => {
                kept.extend(
                    existing_objects.iter().filter(|(_, one)| *one.namespace == **namespace && *one.name == **service),
                );
                continue;
            }
            Err(_) => continue,
        };
        let objects = destination_rule.iter().map(|rule| (RoutingKind::DestinationRule, rule));
        for (kind, object) in objects.chain([(RoutingKind::VirtualService, virtual_service)]) {
            let existing =
                existing_objects.iter().find(|(other, candidate)| *other == kind && is_object(candidate, object));
            kept.extend(existing);
            actions.extend(write_action(kind, object, existing.map(|(_, object)| object)));
        }
    }
    if !actions.is_empty() && !suspension.has_finalizer() {
        actions.insert(0, TrafficAction::AddFinalizer);
    }
    let gone: Vec<OwnedObject> =
        existing_objects.iter().filter(|one| !kept.iter().any(|other| other == one)).cloned().collect();
    actions.extend(plan_removals(inventory, &gone));
    // Objects that are being deleted, or cannot be removed yet, still exist.
    if actions.is_empty() && existing_objects.is_empty() && suspension.has_finalizer() {
        actions.push(TrafficAction::RemoveFinalizer);
    }
    actions
}

/// Returns the action that creates or repairs an object, if it needs one.
fn write_action(kind: RoutingKind, object: &Value, existing: Option<&RoutingObject>) -> Option<TrafficAction> {
    let Some(existing) = existing else { return Some(TrafficAction::Create(kind, object.clone())) };
    // An object that is being deleted is created again when it is gone.
    if existing.is_being_deleted || is_up_to_date(existing, object) {
        return None;
    }
    let uid = existing.uid.as_deref().unwrap_or_default().to_owned();
    Some(TrafficAction::Repair(kind, object.clone(), uid, existing.content.as_deref().cloned()))
}

/// Returns whether an object has all that we write; additional labels and annotations of others are ignored.
fn is_up_to_date(existing: &RoutingObject, object: &Value) -> bool {
    let Some(content) = &existing.content else { return false };
    let metadata = &object["metadata"];
    let has_all = |key: &str| {
        let required = metadata[key].as_object().into_iter().flatten();
        required.into_iter().all(|(name, value)| content[key][name] == *value)
    };
    let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
    let has_owner = |owner: &Value| content["ownerReferences"].as_array().is_some_and(|all| all.contains(owner));
    content["spec"] == object["spec"]
        && has_all("labels")
        && has_all("annotations")
        && owners.into_iter().all(has_owner)
}

/// Plans removals, in the order of `existing_objects`, which has VirtualServices first: without the subsets of its rule, a route would answer
/// with errors. A rule stays as long as a route that somebody has taken over needs it.
fn plan_removals(inventory: &Inventory, existing_objects: &[OwnedObject]) -> Vec<TrafficAction> {
    let is_needed = |(kind, object): &&OwnedObject| inventory.routing.foreign_route_needing(*kind, object).is_some();
    let gone = existing_objects.iter().filter(|one| !one.1.is_being_deleted && !is_needed(one));
    gone.map(|(kind, object)| TrafficAction::Remove(*kind, object.clone())).collect()
}

fn is_object(existing: &RoutingObject, object: &Value) -> bool {
    let metadata = &object["metadata"];
    metadata["name"] == *existing.name && metadata["namespace"] == *existing.namespace
}

/// Plans and carries out suspensions of traffic, until dropped. Runs on the leader.
pub async fn run(inventory: Arc<Inventory>, clock: Clock, routes: RouteWriter, audit: AuditLog) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut retries: HashMap<String, RetryState> = HashMap::new();
    let executor = TrafficExecutor { clock: &clock, routes: &routes, audit: &audit };
    let (mut seen, mut last_plan) = (None, None);
    loop {
        ticks.tick().await;
        let at = Instant::now();
        retries.retain(|_, retry| at < retry.until + RESET_AFTER);
        let is_due = retries.values().any(|retry| retry.waits && retry.until <= at);
        let now = Some((
            inventory.routing.change_count(),
            inventory.rule_records.change_count(),
            count_boundaries(&inventory, clock.now()),
        ));
        // Other changes are those of workloads: frequent in a large cluster, but they seldom bring new versions.
        let is_stale = last_plan
            .is_none_or(|(changes, when)| inventory.change_count() != changes && at > when + WORKLOAD_INTERVAL);
        if now == seen && !is_due && !is_stale {
            continue;
        }
        (seen, last_plan) = (now, Some((inventory.change_count(), at)));
        if !is_complete(&inventory) {
            continue;
        }
        let plans = plan_traffic(&inventory, clock.now());
        // A failed action may have been carried out nevertheless, or by somebody else.
        let is_open = |uid: &str| plans.iter().any(|plan| plan.uid == uid);
        inventory.routing.failures.retain(is_open);
        retries.iter_mut().for_each(|(uid, retry)| retry.waits &= is_open(uid));
        for plan in plans {
            let retry = retries.entry(plan.uid.clone()).or_insert_with(|| RetryState::due_at(at));
            // An end does not wait because of failures while the suspension was in force.
            retry.waits = at < retry.until && retry.of_end == plan.is_end();
            if retry.waits {
                continue;
            }
            let failed = executor.carry_out(&plan).await;
            retry.schedule(failed.is_some() || plan.is_repair(), plan.is_end());
            retry.waits = failed.is_some();
            inventory.routing.failures.record(&plan.uid, failed);
        }
    }
}

/// Counts the suspensions of traffic that are in force and that are over, which change by time alone.
fn count_boundaries(inventory: &Inventory, now: Timestamp) -> [usize; 2] {
    let traffic = crate::features::suspension::traffic::traffic_suspensions(inventory);
    let count = |state: SuspensionPhase| traffic.iter().filter(|(_, period)| period.phase(now) == state).count();
    [count(SuspensionPhase::InForce), count(SuspensionPhase::Over)]
}

/// Retry times of a suspension that failed or was repaired.
#[derive(Debug)]
struct RetryState {
    pause: Duration,
    until: Instant,
    waits: bool,
    /// Whether the last plan was an end.
    of_end: bool,
}

impl RetryState {
    fn due_at(now: Instant) -> Self {
        Self { pause: Duration::ZERO, until: now, waits: false, of_end: false }
    }

    fn schedule(&mut self, unsuccessful: bool, of_end: bool) {
        if of_end != self.of_end {
            *self = Self { of_end, ..Self::due_at(Instant::now()) };
        }
        if unsuccessful {
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            self.until = Instant::now() + self.pause;
        } else if Instant::now() > self.until + RESET_AFTER {
            self.pause = Duration::ZERO;
        }
    }
}
