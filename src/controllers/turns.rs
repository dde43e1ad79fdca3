//! What every replica sees of suspensions: how many there are, and without a cluster also when they begin and end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};

use crate::audit::Log;
use crate::audit::act::Deed;
use crate::features::suspension::traffic::PROMPT;
use crate::features::suspension::turns::{Turn, Turns, entry};
use crate::kernel::clock::Clock;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::resources::suspension_object::State;
use crate::metrics::Metrics;

/// How often it is looked.
const TICK: Duration = Duration::from_millis(500);

/// Keeps the gauges, and tells `audit`, if there is one, of every begin and end that comes while it looks.
pub async fn keep(inventory: Arc<Inventory>, clock: Clock, metrics: Metrics, audit: Option<Log>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut turns, mut overdue) = (Turns::default(), Overdue::default());
    loop {
        ticks.tick().await;
        let now = clock.now();
        count(&inventory, &metrics, now);
        metrics.suspensions_overdue.set(i64::try_from(overdue.count(&inventory, now)).unwrap_or(i64::MAX));
        let Some(audit) = &audit else { continue };
        for (turn, suspension) in turns.look(&inventory.standings.suspensions(), now) {
            let told = match turn {
                Turn::Began => (Deed::Begin, None),
                Turn::Ended => (Deed::Over, None),
                Turn::Deleted(true) => (Deed::Over, Some("it was deleted while it held".to_owned())),
                Turn::Created | Turn::Changed | Turn::Deleted(false) => continue,
            };
            audit.record(&entry(&suspension, told.0, now, told.1));
        }
    }
}

/// The suspensions that do not hold and whose routing stands, by their UIDs, and since when that has been so.
#[derive(Debug, Default)]
pub struct Overdue(HashMap<String, Timestamp>);

impl Overdue {
    /// How many there are of which that has been so for longer than an end takes.
    pub fn count(&mut self, inventory: &Inventory, now: Timestamp) -> usize {
        let Self(since) = self;
        let all = inventory.standings.suspensions();
        let (mut holding, mut namespaces) = (HashSet::new(), HashMap::new());
        for (object, period) in &all {
            let Some(uid) = object.uid.as_deref() else { continue };
            namespaces.insert(uid, object.namespace.as_deref());
            let in_force = period.is_some_and(|period| period.state(now) == State::InForce);
            holding.extend((in_force && !object.is_being_deleted).then_some(uid));
        }
        let made = inventory.routing.made();
        let left = made.iter().filter_map(|(_, object)| {
            let uid = object.owner.as_deref()?;
            let is_its_own = object.is_within(namespaces.get(uid).copied().flatten());
            (is_its_own && !holding.contains(uid)).then_some(uid)
        });
        let left: HashSet<&str> = left.collect();
        since.retain(|uid, _| left.contains(&**uid));
        for uid in left {
            since.entry(uid.to_owned()).or_insert(now);
        }
        since.values().filter(|since| now.duration_since(**since) > PROMPT).count()
    }
}

fn count(inventory: &Inventory, metrics: &Metrics, now: Timestamp) {
    let all = inventory.standings.suspensions();
    let mut counts: BTreeMap<(bool, &'static str), i64> = BTreeMap::new();
    for traffic in [false, true] {
        counts.extend([State::Scheduled, State::InForce, State::Over].map(|state| ((traffic, state.as_str()), 0)));
    }
    for (object, period) in &all {
        let Some(state) = period.map(|period| period.state(now)) else { continue };
        *counts.entry((object.suspends_traffic(), state.as_str())).or_default() += 1;
    }
    for ((traffic, state), count) in counts {
        metrics.suspensions(traffic, state).set(count);
    }
}
