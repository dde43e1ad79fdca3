//! Observes suspensions on every replica: counts them for metrics, and without a cluster also records begins and ends.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};

use crate::audit::AuditLog;
use crate::audit::act_entry::ActKind;
use crate::features::suspension::traffic::END_GRACE;
use crate::features::suspension::transitions::{SuspensionTransition, TransitionTracker, audit_entry};
use crate::kernel::clock::Clock;
use crate::kernel::count::to_i64;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::resources::suspension_object::SuspensionPhase;
use crate::metrics::Metrics;

/// Interval of the observations.
const TICK: Duration = Duration::from_millis(500);

/// Updates the gauges, until dropped; records every observed begin and end in `audit`, if there is one.
pub async fn run(inventory: Arc<Inventory>, clock: Clock, metrics: Metrics, audit: Option<AuditLog>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut transitions, mut overdue) = (TransitionTracker::default(), OverdueTracker::default());
    loop {
        ticks.tick().await;
        let now = clock.now();
        update_gauges(&inventory, &metrics, now);
        metrics.suspensions_overdue.set(to_i64(overdue.count_overdue(&inventory, now)));
        let Some(audit) = &audit else { continue };
        for (transition, suspension) in transitions.observe(&inventory.rule_records.suspensions(), now) {
            let (kind, reason) = match transition {
                SuspensionTransition::Began => (ActKind::Begin, None),
                SuspensionTransition::Ended => (ActKind::Over, None),
                SuspensionTransition::Deleted(true) => {
                    (ActKind::Over, Some("the suspension was deleted while it was in force".to_owned()))
                }
                SuspensionTransition::Created
                | SuspensionTransition::Changed
                | SuspensionTransition::Deleted(false) => continue,
            };
            audit.record(&audit_entry(&suspension, kind, now, reason));
        }
    }
}

/// Suspensions that are not in force although their routing exists: by UID, with the time when that was first observed.
#[derive(Debug, Default)]
pub struct OverdueTracker(HashMap<String, Timestamp>);

impl OverdueTracker {
    /// Updates the tracker, and counts the suspensions that have been overdue for longer than an end takes.
    pub fn count_overdue(&mut self, inventory: &Inventory, now: Timestamp) -> usize {
        let Self(since) = self;
        let all = inventory.rule_records.suspensions();
        let (mut holding, mut namespaces) = (HashSet::new(), HashMap::new());
        for (object, period) in &all {
            let Some(uid) = object.uid.as_deref() else { continue };
            namespaces.insert(uid, object.namespace.as_deref());
            let in_force = period.is_some_and(|period| period.phase(now) == SuspensionPhase::InForce);
            holding.extend((in_force && !object.is_being_deleted).then_some(uid));
        }
        let made = inventory.routing.suspension_objects();
        let remaining = made.iter().filter_map(|(_, object)| {
            let uid = object.suspension_uid.as_deref()?;
            let is_its_own = object.is_within(namespaces.get(uid).copied().flatten());
            (is_its_own && !holding.contains(uid)).then_some(uid)
        });
        let remaining: HashSet<&str> = remaining.collect();
        since.retain(|uid, _| remaining.contains(&**uid));
        for uid in remaining {
            since.entry(uid.to_owned()).or_insert(now);
        }
        since.values().filter(|since| now.duration_since(**since) > END_GRACE).count()
    }
}

fn update_gauges(inventory: &Inventory, metrics: &Metrics, now: Timestamp) {
    let all = inventory.rule_records.suspensions();
    let mut counts: BTreeMap<(bool, &'static str), i64> = BTreeMap::new();
    for traffic in [false, true] {
        counts.extend(
            [SuspensionPhase::Scheduled, SuspensionPhase::InForce, SuspensionPhase::Over]
                .map(|state| ((traffic, state.as_str()), 0)),
        );
    }
    for (object, period) in &all {
        let Some(state) = period.map(|period| period.phase(now)) else { continue };
        *counts.entry((object.suspends_traffic(), state.as_str())).or_default() += 1;
    }
    for ((traffic, state), count) in counts {
        metrics.suspensions(traffic, state).set(count);
    }
}
