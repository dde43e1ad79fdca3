//! What every replica sees of suspensions: how many there are, and without a cluster also when they begin and end.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::audit::Log;
use crate::audit::act::Deed;
use crate::clock::Clock;
use crate::inventory::Inventory;
use crate::metrics::Metrics;
use crate::resources::suspension_object::State;
use crate::suspensions::turns::{Turn, Turns, entry};

/// How often it is looked.
const TICK: Duration = Duration::from_millis(500);

/// Keeps the gauges, and tells `audit`, if there is one, of every begin and end that comes while it looks.
pub async fn keep(inventory: Arc<Inventory>, clock: Clock, metrics: Metrics, audit: Option<Log>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turns = Turns::default();
    loop {
        ticks.tick().await;
        let now = clock.now();
        count(&inventory, &metrics, now);
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

fn count(inventory: &Inventory, metrics: &Metrics, now: jiff::Timestamp) {
    let all = inventory.standings.suspensions();
    let mut counts: BTreeMap<(bool, &'static str), i64> = BTreeMap::new();
    for traffic in [false, true] {
        counts.extend([State::Scheduled, State::InForce, State::Over].map(|state| ((traffic, state.as_str()), 0)));
    }
    let mut in_time: HashSet<&str> = HashSet::new();
    for (object, period) in &all {
        let Some(state) = period.map(|period| period.state(now)) else { continue };
        *counts.entry((object.suspends_traffic(), state.as_str())).or_default() += 1;
        in_time.extend(object.uid.as_deref().filter(|_| state != State::Over));
    }
    for ((traffic, state), count) in counts {
        metrics.suspensions(traffic, state).set(count);
    }
    let made = inventory.routing.made();
    let owners: HashSet<&str> = made.iter().filter_map(|(_, object)| object.owner.as_deref()).collect();
    let overdue = owners.difference(&in_time).count();
    metrics.suspensions_overdue.set(i64::try_from(overdue).unwrap_or(i64::MAX));
}
