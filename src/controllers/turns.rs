//! What every replica sees of suspensions: how many there are, and without a cluster also when they begin and end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::audit::Log;
use crate::audit::act::Deed;
use crate::clock::Clock;
use crate::inventory::Inventory;
use crate::inventory::routing::Kind;
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
    for traffic in [false, true] {
        for state in [State::Scheduled, State::InForce, State::Over] {
            let is_one = |(object, period): &&(Arc<_>, Option<crate::resources::suspending::Period>)| {
                let object: &crate::resources::suspension_object::SuspensionObject = object;
                object.suspends_traffic() == traffic && period.is_some_and(|period| period.state(now) == state)
            };
            let number = all.iter().filter(is_one).count();
            metrics.suspensions(traffic, state.as_str()).set(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }
    let owners: std::collections::BTreeSet<Box<str>> = owners(inventory);
    let is_over = |uid: &str| {
        let of = all.iter().find(|(object, _)| object.uid.as_deref() == Some(uid));
        of.is_none_or(|(_, period)| period.is_none_or(|period| period.state(now) == State::Over))
    };
    let overdue = owners.iter().filter(|uid| is_over(uid)).count();
    metrics.suspensions_overdue.set(i64::try_from(overdue).unwrap_or(i64::MAX));
}

/// The suspensions, by UID, of which routing stands.
fn owners(inventory: &Inventory) -> std::collections::BTreeSet<Box<str>> {
    let routes = inventory.routing.routes().into_iter().filter(|route| route.kind == Kind::VirtualService);
    let routes = routes.filter_map(|route| route.object.owner.clone());
    let rules = inventory.routing.destination_rules().into_iter().filter_map(|rule| rule.object.owner.clone());
    routes.chain(rules).collect()
}
