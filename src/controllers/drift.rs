//! Drift, found continuously: told by metrics, events and the audit log, and repaired where that is wanted.
//!
//! Guarantees: everything is looked at only where something has changed, and no more often than the interval says; what
//! lasts for less than one interval is not spoken of. Nothing is evicted while pods do not reach us.
//! Limits: at most [`SAYINGS_PER_LOOK`] events at once; an event that cannot be published is lost, the audit log has it, and
//! nothing else waits for it. A new leader tells anew of what it finds.
//! Cost: a look decides once about each workload that has pods, on a thread that admission does not need.

mod events;
pub mod repair;
pub mod telling;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::runtime::events::EventType;
use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use crate::audit::Log;
use crate::audit::act::{Act, Deed, Object, Outcome as Became};
use crate::decision::effect::Outcome;
use crate::decision::facts::RunningPod;
use crate::features::drift::{Drift, Found, Subject, drifting, still_drifts};
use crate::kernel::clock::Clock;
use crate::kubernetes::client::events::Events;
use crate::kubernetes::client::evictions::{Attempt, Evictions};
use crate::kubernetes::inventory::Inventory;
use crate::metrics::Metrics;
use events::Teller;
use repair::{Came, Repairs, can_do_without};
use telling::{Ledger, News, Saying};

/// How often it is looked whether anything has changed.
const TICK: Duration = Duration::from_secs(1);
/// While something is being repaired it is looked at so often.
const REPAIRING: Duration = Duration::from_secs(3);
/// How much is said at once; the rest waits for the next tick.
pub const SAYINGS_PER_LOOK: usize = 20;

/// How to look for drift, and whom to tell.
#[derive(Clone)]
pub struct Watching {
    /// Looks keep this distance.
    pub interval: Duration,
    /// What is counted.
    pub metrics: Metrics,
    /// Entries in the audit log.
    pub audit: Log,
    /// Events on workloads, in a cluster.
    pub events: Option<Events>,
    /// How to repair, if that is wanted.
    pub repairing: Option<Repairing>,
}

/// How to repair.
#[derive(Clone)]
pub struct Repairing {
    /// So many pods at most.
    pub per_minute: u32,
    /// What evicts them.
    pub evictions: Evictions,
}

/// Looks for drift as long as it is polled: in a cluster by the leader.
pub async fn keep(inventory: Arc<Inventory>, clock: Clock, watching: Watching) {
    let (teller, publisher) = events::queue(watching.events.clone());
    tokio::select! {
        () = look(inventory, clock, watching, teller) => {}
        () = publisher.run() => {}
    }
}

async fn look(inventory: Arc<Inventory>, clock: Clock, watching: Watching, teller: Teller) {
    let _wanted = inventory.pods_wanted.hold();
    let _at_the_end = Counted(&inventory, &watching.metrics);
    let grace = SignedDuration::try_from(watching.interval).unwrap_or(SignedDuration::MAX);
    let mut repairs = watching.repairing.as_ref().map(|repairing| Repairs::new(repairing.per_minute));
    let mut why_not = None;
    let (mut ledger, mut looks) = (Ledger::new(grace), Looks::default());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let is_repairing = repairs.as_ref().is_some_and(Repairs::are_under_way);
        let pause = if is_repairing { watching.interval.min(REPAIRING) } else { watching.interval };
        looks.look(&inventory, &clock, pause).await;
        let Some(found) = &looks.found else { continue };
        let now = clock.now();
        for saying in ledger.settle(found, now, SAYINGS_PER_LOOK) {
            watching.say(&teller, &saying, now);
        }
        watching.count(&inventory, found, &ledger, now);
        if let (Some(repairs), Some(repairing)) = (&mut repairs, &watching.repairing) {
            let obstacle = keeps_from_repairing(&inventory, watching.metrics.registered.get() == 1);
            if obstacle != why_not {
                match &obstacle {
                    Some(why) => warn!("no pod is evicted to repair drift: {why}"),
                    None => info!("drift is repaired again"),
                }
                why_not = obstacle;
            }
            let (inventory, watching, teller, clock) = (&inventory, &watching, &teller, &clock);
            let step = Step { inventory, watching, teller, clock, evictions: &repairing.evictions, now };
            step.take(found, &ledger, repairs, why_not.is_none()).await;
        }
    }
}

/// Why a pod that is evicted at present would come back as it is, if that is so.
pub fn keeps_from_repairing(inventory: &Inventory, is_registered: bool) -> Option<String> {
    if !is_registered {
        return Some("the API server is not told to call us, so that what comes back would be no better".to_owned());
    }
    let Some(injectors) = inventory.injectors.get() else {
        return Some("the webhook configurations are not known".to_owned());
    };
    let before_us = injectors.before_us();
    (!before_us.is_empty()).then(|| crate::kubernetes::client::order::sentence(&before_us))
}

/// The looks so far.
#[derive(Default)]
struct Looks {
    found: Option<Found>,
    /// The changes there had been at the last one, and when that was.
    last: Option<([u64; 2], Instant)>,
}

impl Looks {
    async fn look(&mut self, inventory: &Arc<Inventory>, clock: &Clock, pause: Duration) {
        let (changes, now) = ([inventory.changes(), inventory.pods.changes()], clock.now());
        let is_due = self.last.is_none_or(|(seen, at)| seen != changes && at.elapsed() >= pause);
        let changes_at = self.found.as_ref().and_then(|found| found.changes_at);
        if !is_due && changes_at.is_none_or(|instant| now < instant) {
            return;
        }
        let (looked_at, began) = (Arc::clone(inventory), Instant::now());
        // What cannot be told at present is as it was.
        if let Ok(Some(found)) = spawn_blocking(move || drifting(&looked_at, now)).await {
            debug!(workloads = found.drifts.len(), took = ?began.elapsed(), "looked for drift");
            self.found = Some(found);
            self.last = Some((changes, Instant::now()));
        }
    }
}

/// Takes back what was counted, when somebody else counts from now on.
struct Counted<'c>(&'c Inventory, &'c Metrics);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let Self(inventory, metrics) = self;
        inventory.drifting.set(None);
        metrics.drifting_workloads.set(0);
        for outcome in [Outcome::Injected, Outcome::NotInjected] {
            metrics.drifting_pods(outcome).set(0);
        }
    }
}

impl Watching {
    fn count(&self, inventory: &Inventory, found: &Found, ledger: &Ledger, now: Timestamp) {
        let counted: Vec<_> = found.drifts.iter().filter(|drift| ledger.counts(drift, now)).collect();
        self.metrics.drifting_workloads.set(number(counted.len()));
        for outcome in [Outcome::Injected, Outcome::NotInjected] {
            let of_outcome = counted.iter().filter(|drift| drift.expected.outcome == outcome);
            self.metrics.drifting_pods(outcome).set(number(of_outcome.map(|drift| drift.differing.len()).sum()));
        }
        let mut by_policy: BTreeMap<_, usize> = BTreeMap::new();
        for drift in counted {
            if let Some(policy) = &drift.expected.policy {
                *by_policy.entry(policy.clone()).or_default() += drift.differing.len();
            }
        }
        inventory.drifting.set(Some(by_policy));
    }

    fn say(&self, teller: &Teller, Saying { news, subject, sentence, id }: &Saying, now: Timestamp) {
        let named = subject.named();
        let (deed, type_, reason) = match news {
            News::Begun | News::Changed => (Deed::Drift, EventType::Warning, "SidecarDrift"),
            News::Ended => (Deed::DriftOver, EventType::Normal, "SidecarDriftResolved"),
        };
        match news {
            News::Begun | News::Changed => warn!(workload = named, "{named} drifts: {sentence}"),
            News::Ended => info!(workload = named, "{named} drifts no more: {sentence}"),
        }
        self.record(id, deed, object_of(subject), Became::Allowed, sentence, now);
        teller.tell(subject, type_, (reason, "Compare"), sentence);
    }

    fn record(&self, id: &str, act: Deed, object: Object, outcome: Became, why: &str, now: Timestamp) {
        self.audit.record(&Act {
            time: now,
            id: id.to_owned(),
            act,
            outcome,
            actor: None,
            object: Some(object),
            before: None,
            after: None,
            reason: None,
            ticket: None,
            until: None,
            why: Some(why.to_owned()),
            dry_run: false,
        });
    }
}

fn object_of(Subject { key: (namespace, kind, name), uid, .. }: &Subject) -> Object {
    Object {
        kind: kind.to_string(),
        namespace: Some(namespace.to_string()),
        name: Some(name.to_string()),
        uid: Some(uid.to_string()),
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// One step of repairing.
struct Step<'s> {
    inventory: &'s Inventory,
    watching: &'s Watching,
    teller: &'s Teller,
    clock: &'s Clock,
    evictions: &'s Evictions,
    now: Timestamp,
}

impl Step<'_> {
    /// Says what has come of earlier evictions, and evicts at most one more.
    async fn take(&self, found: &Found, ledger: &Ledger, repairs: &mut Repairs, reaches_us: bool) {
        for subject in repairs.doubtful(found, self.now) {
            if self.wants_no_more(&subject).await {
                repairs.dismiss(&subject);
            }
        }
        for (subject, came) in repairs.settle(found, self.now) {
            self.say(&subject, came);
        }
        if !reaches_us {
            return repairs.distrust();
        }
        let Some((drift, pod)) = repairs.next(found, |drift| ledger.counts(drift, self.now), self.now) else { return };
        let id = ledger.id(&drift.subject).unwrap_or_default();
        match self.attempt(drift, pod).await {
            Attempt::Evicted => {
                repairs.began(found, drift, self.clock.now());
                let note = format!("evicted Pod {}, so that a new one takes its place: {}", pod.name, drift.sentence());
                info!(workload = drift.subject.named(), "{note}");
                self.record(id, drift, pod, Became::Allowed, &note, "Evicted");
                self.teller.tell(&drift.subject, EventType::Normal, ("SidecarDriftRepair", "Evict"), &note);
            }
            Attempt::Gone => {}
            Attempt::Held(why) => {
                repairs.refused(&drift.subject, self.clock.now());
                info!(workload = drift.subject.named(), "Pod {} is not evicted at present: {why}", pod.name);
                self.watching.metrics.repairs("Held").inc();
            }
            Attempt::Failed(why) => {
                repairs.refused(&drift.subject, self.clock.now());
                warn!(workload = drift.subject.named(), "cannot evict Pod {}: {why}", pod.name);
                self.record(id, drift, pod, Became::Failed, &why, "Failed");
            }
        }
    }

    /// Looks again at both and asks for the workload first, since what was found may be too old for this.
    async fn attempt(&self, drift: &Drift, pod: &RunningPod) -> Attempt {
        let drifts_still = || still_drifts(self.inventory, &drift.subject.uid, &pod.uid, self.clock.now());
        if !drifts_still() {
            return Attempt::Gone;
        }
        let workload = match self.stored(&drift.subject).await {
            Ok(workload) => workload,
            Err(why) => return Attempt::Failed(format!("cannot read {}: {why}", drift.subject.named())),
        };
        match can_do_without(&workload, pod.is_ready) {
            // While it was read a suspension may have begun.
            Ok(()) if drifts_still() => self.evictions.evict(pod).await,
            Ok(()) => Attempt::Gone,
            Err(why) => Attempt::Held(format!("of {}, {why}", drift.subject.named())),
        }
    }

    /// Whether a workload is gone, or has all the pods that it wants.
    async fn wants_no_more(&self, subject: &Subject) -> bool {
        self.inventory.owners.get(&subject.uid).is_none()
            || self.stored(subject).await.is_ok_and(|workload| can_do_without(&workload, true).is_ok())
    }

    async fn stored(
        &self,
        Subject { key: (namespace, kind, name), api_version, .. }: &Subject,
    ) -> Result<Value, String> {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let known = self.inventory.owner_kinds.named(group, kind);
        let kind = known.ok_or_else(|| format!("nothing is known of the kind {kind}"))?;
        self.evictions.workload(kind, namespace, name).await
    }

    fn say(&self, subject: &Subject, came: Came) {
        let (named, metrics) = (subject.named(), &self.watching.metrics);
        let note = match came {
            Came::Right => {
                metrics.repairs("Repaired").inc();
                return info!(workload = named, "a pod of {named} was repaired");
            }
            Came::Wrong => {
                metrics.repairs("InVain").inc();
                "the pod that came in place of an evicted one is no better; none of its pods is evicted for a while"
            }
            Came::Nothing => {
                metrics.repairs("InVain").inc();
                "its pods have not become ready since one was evicted; none is evicted anywhere for a while"
            }
        };
        warn!(workload = named, "{named}: {note}");
        self.teller.tell(subject, EventType::Warning, ("SidecarDriftRepairFailed", "Evict"), note);
    }

    fn record(&self, id: &str, drift: &Drift, pod: &RunningPod, became: Became, why: &str, outcome: &'static str) {
        self.watching.metrics.repairs(outcome).inc();
        let (namespace, _, _) = &drift.subject.key;
        let object = Object {
            kind: "Pod".to_owned(),
            namespace: Some(namespace.to_string()),
            name: Some(pod.name.to_string()),
            uid: Some(pod.uid.to_string()),
        };
        self.watching.record(id, Deed::Evict, object, became, why, self.now);
    }
}
