//! Carries out suspensions of traffic: their routing is written when they begin, kept as it should be, and removed when they end.
//!
//! Guarantees: a suspension has our finalizer before anything is written for it, and keeps it until all of that is gone. The
//! DestinationRule comes before the VirtualService that needs it, and goes after it. What stands in the way of one service, or
//! fails for it, keeps no other from being suspended, nor from getting its traffic back. Everything is planned from what stands, so that the next leader goes on where the last one was.
//! Limits: an object that somebody changes again and again is repaired ever more rarely, up to once a minute; so is all of a
//! suspension of which something fails.

mod doing;
mod failures;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::audit::Log;
use crate::features::suspension::traffic::{Obstacle, OfService, Routing, routing_for};
use crate::kernel::clock::Clock;
use crate::kubernetes::client::traffic::Routes;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::Served;
use crate::kubernetes::inventory::routing::{Kind, Standing};
use crate::kubernetes::resources::suspension_object::{State, SuspensionObject};
use doing::Doing;

/// How often it is looked whether anything has changed; a suspension begins and ends so late at most.
const TICK: Duration = Duration::from_millis(250);
/// How soon new versions of a service are seen.
const WORKLOADS_EVERY: Duration = Duration::from_secs(5);
/// After a failure, or a repair, the next attempt waits so long, and each time twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// It never waits longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Where nothing was tried for so long, all is forgiven.
const FORGIVEN: Duration = Duration::from_secs(300);

/// What is to be done for one suspension, in this order; what fails ends it for now for the service that it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The suspension; none where that is gone, and only what was made for it is left.
    pub suspension: Option<Arc<SuspensionObject>>,
    /// The UID of it.
    pub uid: String,
    /// What is to be done.
    pub actions: Vec<Action>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The suspension gets our finalizer.
    Hold,
    /// An object is created.
    Create(Kind, Value),
    /// The object of this UID is made what it should be; what it was is kept for the record.
    Repair(Kind, Value, String, Option<Value>),
    /// An object is removed.
    Remove(Kind, Standing),
    /// The suspension loses our finalizer.
    LetGo,
}

/// Whether enough is known: what is not known yet is neither missing nor over.
fn is_known(inventory: &Inventory) -> bool {
    let routing = [Kind::VirtualService, Kind::DestinationRule].map(|kind| inventory.routing.served(kind));
    !routing.contains(&Served::NotYet) && inventory.synced().iter().all(|(_, synced)| *synced)
}

/// Plans for what is known at this instant; nothing, while that is not enough.
pub fn plan(inventory: &Inventory, now: Timestamp) -> Vec<Plan> {
    if !is_known(inventory) {
        return Vec::new();
    }
    let mut owned = owned(inventory);
    let mut plans = Vec::new();
    for (kind, name, standing) in inventory.standings.of_suspensions() {
        let Some(uid) = standing.uid.clone() else { continue };
        let mut held = owned.remove(&uid).unwrap_or_default();
        // What only says that it is of this one is somebody else's.
        held.retain(|(_, object)| object.is_within(kind.is_namespaced().then_some(&*name.0)));
        let Some(suspension) = standing.suspension else {
            // What cannot be read suspends nothing, what was made for it is taken away, and nothing of ours keeps it.
            let mut actions = removals(inventory, &held);
            if held.is_empty() && standing.is_held {
                actions.push(Action::LetGo);
            }
            let namespace = kind.is_namespaced().then(|| name.0.into());
            let suspension = SuspensionObject::unreadable(namespace, name.1.into(), Some(uid.clone()));
            plans.push(Plan { suspension: Some(Arc::new(suspension)), uid, actions });
            continue;
        };
        let in_force = standing.period.is_some_and(|period| period.state(now) == State::InForce);
        let holds = in_force && suspension.suspends_traffic() && !suspension.is_being_deleted;
        let wanted = if holds { routing_for(inventory, &suspension, now) } else { Vec::new() };
        let actions = actions(inventory, &suspension, &wanted, &held);
        plans.push(Plan { suspension: Some(suspension), uid, actions });
    }
    let orphan = |(uid, held): (String, Vec<Held>)| Plan { suspension: None, uid, actions: removals(inventory, &held) };
    plans.extend(owned.into_iter().map(orphan));
    plans.retain(|plan| !plan.actions.is_empty());
    plans
}

impl Plan {
    /// Whether nothing is written any more.
    fn is_end(&self) -> bool {
        self.actions.iter().all(|action| matches!(action, Action::Remove(..) | Action::LetGo))
    }

    /// Whether something is written anew that was written before.
    fn is_repair(&self) -> bool {
        let begins = self.actions.contains(&Action::Hold);
        !begins && self.actions.iter().any(|action| matches!(action, Action::Repair(..) | Action::Create(..)))
    }
}

/// An object that was made for a suspension.
type Held = (Kind, Standing);

/// What stands of ours, by the UID of the suspension.
fn owned(inventory: &Inventory) -> BTreeMap<String, Vec<Held>> {
    let mut owned: BTreeMap<String, Vec<Held>> = BTreeMap::new();
    for (kind, object) in inventory.routing.made() {
        owned.entry(object.owner.as_deref().unwrap_or_default().to_owned()).or_default().push((kind, object));
    }
    owned
}

fn actions(inventory: &Inventory, suspension: &SuspensionObject, wanted: &[OfService], held: &[Held]) -> Vec<Action> {
    let mut kept = Vec::new();
    let mut actions = Vec::new();
    for OfService { namespace, service, routing } in wanted {
        let Routing { destination_rule, virtual_service, not_reached: _ } = match routing {
            Ok(routing) => routing,
            // What cannot be told at present stays as it is.
            Err(Obstacle::Unknown(_)) => {
                kept.extend(held.iter().filter(|(_, one)| *one.namespace == **namespace && *one.name == **service));
                continue;
            }
            Err(_) => continue,
        };
        let objects = destination_rule.iter().map(|rule| (Kind::DestinationRule, rule));
        for (kind, object) in objects.chain([(Kind::VirtualService, virtual_service)]) {
            let stands = held.iter().find(|(other, standing)| *other == kind && is_named(standing, object));
            kept.extend(stands);
            actions.extend(written(kind, object, stands.map(|(_, standing)| standing)));
        }
    }
    if !actions.is_empty() && !suspension.is_held() {
        actions.insert(0, Action::Hold);
    }
    let gone: Vec<Held> = held.iter().filter(|one| !kept.iter().any(|other| other == one)).cloned().collect();
    actions.extend(removals(inventory, &gone));
    // Also what is being deleted, or cannot be removed yet, stands.
    if actions.is_empty() && held.is_empty() && suspension.is_held() {
        actions.push(Action::LetGo);
    }
    actions
}

/// What makes an object what it should be, if it is not.
fn written(kind: Kind, object: &Value, stands: Option<&Standing>) -> Option<Action> {
    let Some(stands) = stands else { return Some(Action::Create(kind, object.clone())) };
    // One that is being deleted comes again when it is gone.
    if stands.is_being_deleted || is_as_wanted(stands, object) {
        return None;
    }
    let uid = stands.uid.as_deref().unwrap_or_default().to_owned();
    Some(Action::Repair(kind, object.clone(), uid, stands.content.as_deref().cloned()))
}

/// Whether everything that we write stands there; labels and annotations that others add are theirs.
fn is_as_wanted(stands: &Standing, object: &Value) -> bool {
    let Some(content) = &stands.content else { return false };
    let metadata = &object["metadata"];
    let has_all = |key: &str| {
        let wanted = metadata[key].as_object().into_iter().flatten();
        wanted.into_iter().all(|(name, value)| content[key][name] == *value)
    };
    let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
    let stands = |owner: &Value| content["ownerReferences"].as_array().is_some_and(|all| all.contains(owner));
    content["spec"] == object["spec"] && has_all("labels") && has_all("annotations") && owners.into_iter().all(stands)
}

/// In the order in which they are held, VirtualServices first: without its rule's subsets a route would answer errors of its
/// own. Where somebody has made the route theirs, the rule waits for them.
fn removals(inventory: &Inventory, held: &[Held]) -> Vec<Action> {
    let is_needed = |(kind, object): &&Held| inventory.routing.needing(*kind, object).is_some();
    let gone = held.iter().filter(|one| !one.1.is_being_deleted && !is_needed(one));
    gone.map(|(kind, object)| Action::Remove(*kind, object.clone())).collect()
}

fn is_named(standing: &Standing, object: &Value) -> bool {
    let metadata = &object["metadata"];
    metadata["name"] == *standing.name && metadata["namespace"] == *standing.namespace
}

/// Carries everything out, as long as it is polled: by the leader.
pub async fn keep(inventory: Arc<Inventory>, clock: Clock, routes: Routes, audit: Log) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut patience: HashMap<String, Patience> = HashMap::new();
    let doing = Doing { clock: &clock, routes: &routes, audit: &audit };
    let (mut seen, mut looked) = (None, None);
    loop {
        ticks.tick().await;
        let at = Instant::now();
        patience.retain(|_, patience| at < patience.until + FORGIVEN);
        let is_due = patience.values().any(|patience| patience.waits && patience.until <= at);
        let now =
            Some((inventory.routing.changes(), inventory.standings.changes(), boundaries(&inventory, clock.now())));
        // What else changes is workloads, all the time in a large cluster, which bring new versions now and then.
        let is_stale =
            looked.is_none_or(|(changes, when)| inventory.changes() != changes && at > when + WORKLOADS_EVERY);
        if now == seen && !is_due && !is_stale {
            continue;
        }
        (seen, looked) = (now, Some((inventory.changes(), at)));
        if !is_known(&inventory) {
            continue;
        }
        let plans = plan(&inventory, clock.now());
        // What failed may have been done all the same, or by somebody else.
        let is_open = |uid: &str| plans.iter().any(|plan| plan.uid == uid);
        inventory.routing.troubles.retain(is_open);
        patience.iter_mut().for_each(|(uid, own)| own.waits &= is_open(uid));
        for plan in plans {
            let own = patience.entry(plan.uid.clone()).or_insert_with(|| Patience::at(at));
            // An end does not wait for what was in vain while it held.
            own.waits = at < own.until && own.of_end == plan.is_end();
            if own.waits {
                continue;
            }
            let failed = doing.carry_out(&plan).await;
            own.next(failed.is_some() || plan.is_repair(), plan.is_end());
            own.waits = failed.is_some();
            inventory.routing.troubles.note(&plan.uid, failed);
        }
    }
}

/// How many suspensions of traffic have begun, and how many are over: what changes with nothing but the time.
fn boundaries(inventory: &Inventory, now: Timestamp) -> [usize; 2] {
    let traffic = crate::features::suspension::traffic::suspensions(inventory);
    let count = |state: State| traffic.iter().filter(|(_, period)| period.state(now) == state).count();
    [count(State::InForce), count(State::Over)]
}

/// When one that failed, or had to be repaired, is tried again.
#[derive(Debug)]
struct Patience {
    pause: Duration,
    until: Instant,
    waits: bool,
    /// Whether it was an end that is tried again.
    of_end: bool,
}

impl Patience {
    fn at(now: Instant) -> Self {
        Self { pause: Duration::ZERO, until: now, waits: false, of_end: false }
    }

    fn next(&mut self, in_vain: bool, of_end: bool) {
        if of_end != self.of_end {
            *self = Self { of_end, ..Self::at(Instant::now()) };
        }
        if in_vain {
            self.pause = (self.pause * 2).clamp(PAUSE, LONGEST_PAUSE);
            self.until = Instant::now() + self.pause;
        } else if Instant::now() > self.until + FORGIVEN {
            self.pause = Duration::ZERO;
        }
    }
}
