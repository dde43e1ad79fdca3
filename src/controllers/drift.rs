//! Drift controller: finds drift continuously, reports it by metrics, events and the audit log, and repairs it on request.
//!
//! Guarantees: a scan runs only after a change, and no more often than the interval allows. Drift that is shorter than one
//! interval is not reported. Nothing is evicted while new pods do not reach us.
//! Limits: at most [`REPORTS_PER_SCAN`] events at once. An event that cannot be published is lost: the audit log has it, and
//! nothing else waits for it. A new leader reports existing drift again.
//! Cost: a scan makes one decision for each workload that has pods, on a thread that admission does not need.

mod events;
pub mod repair;
pub mod reports;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::runtime::events::EventType;
use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use crate::audit::AuditLog;
use crate::audit::act_entry::{ActEntry, ActKind, ActOutcome, AuditObject};
use crate::decision::effect::EffectOutcome;
use crate::decision::facts::RunningPod;
use crate::features::drift::{Drift, DriftScan, DriftSubject, is_still_drifting, scan_drift};
use crate::kernel::clock::Clock;
use crate::kubernetes::client::events::EventPublisher;
use crate::kubernetes::client::evictions::{EvictionClient, EvictionOutcome};
use crate::kubernetes::inventory::Inventory;
use crate::metrics::Metrics;
use events::DriftEventQueue;
use repair::{RepairOutcome, RepairPlanner, check_can_spare_pod};
use reports::{DriftChange, DriftLedger, DriftReport};

/// Time between two checks for changes.
const TICK: Duration = Duration::from_secs(1);
/// Time between two scans while a repair is pending.
const REPAIR_INTERVAL: Duration = Duration::from_secs(3);
/// Number of reports at once; the rest waits for the next tick.
pub const REPORTS_PER_SCAN: usize = 20;

/// Settings of the controller, and the receivers of its reports.
#[derive(Clone)]
pub struct DriftController {
    /// Time between two scans, at least.
    pub interval: Duration,
    pub metrics: Metrics,
    pub audit: AuditLog,
    /// Publisher of events on workloads; `None` without a cluster.
    pub events: Option<EventPublisher>,
    /// Repairs, if they are enabled.
    pub repairing: Option<RepairSettings>,
}

/// Settings of repairs.
#[derive(Clone)]
pub struct RepairSettings {
    /// Number of evictions in a minute, at most.
    pub per_minute: u32,
    pub evictions: EvictionClient,
}

/// Watches for drift for as long as it is polled. In a cluster only the leader runs it.
pub async fn run(inventory: Arc<Inventory>, clock: Clock, controller: DriftController) {
    let (queue, worker) = events::event_queue(controller.events.clone());
    tokio::select! {
        () = watch(inventory, clock, controller, queue) => {}
        () = worker.run() => {}
    }
}

async fn watch(inventory: Arc<Inventory>, clock: Clock, controller: DriftController, queue: DriftEventQueue) {
    let _demand = inventory.pods_demand.hold();
    let _reset = ResetOnDrop(&inventory, &controller.metrics);
    let grace = SignedDuration::try_from(controller.interval).unwrap_or(SignedDuration::MAX);
    let mut repairs = controller.repairing.as_ref().map(|repairing| RepairPlanner::new(repairing.per_minute));
    let mut obstacle_before = None;
    let (mut ledger, mut scans) = (DriftLedger::new(grace), ScanCache::default());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let is_repairing = repairs.as_ref().is_some_and(RepairPlanner::has_pending);
        let pause = if is_repairing { controller.interval.min(REPAIR_INTERVAL) } else { controller.interval };
        scans.refresh(&inventory, &clock, pause).await;
        let Some(scan) = &scans.newest else { continue };
        let now = clock.now();
        for report in ledger.due_reports(scan, now, REPORTS_PER_SCAN) {
            controller.report(&queue, &report, now);
        }
        controller.count_drift(&inventory, scan, &ledger, now);
        if let (Some(repairs), Some(repairing)) = (&mut repairs, &controller.repairing) {
            let obstacle = repair_obstacle(&inventory, controller.metrics.registered.get() == 1);
            if obstacle != obstacle_before {
                match &obstacle {
                    Some(why) => warn!("no pod is evicted to repair drift: {why}"),
                    None => info!("drift is repaired again"),
                }
                obstacle_before = obstacle;
            }
            let (inventory, controller, queue, clock) = (&inventory, &controller, &queue, &clock);
            let step = RepairStep { inventory, controller, queue, clock, evictions: &repairing.evictions, now };
            step.run(scan, &ledger, repairs, obstacle_before.is_none()).await;
        }
    }
}

/// Returns why a pod that is evicted now would come back unchanged, if it would.
pub fn repair_obstacle(inventory: &Inventory, is_registered: bool) -> Option<String> {
    if !is_registered {
        return Some("the API server is not told to call us, so that what comes back would be no better".to_owned());
    }
    let Some(injectors) = inventory.injectors.get() else {
        return Some("the webhook configurations are not known".to_owned());
    };
    let before_us = injectors.before_us();
    (!before_us.is_empty()).then(|| crate::kubernetes::client::webhook_order::describe_order(&before_us))
}

/// Newest scan, and when it was made.
#[derive(Default)]
struct ScanCache {
    newest: Option<DriftScan>,
    /// Change counts at the newest scan, and its time.
    scanned: Option<([u64; 2], Instant)>,
}

impl ScanCache {
    async fn refresh(&mut self, inventory: &Arc<Inventory>, clock: &Clock, pause: Duration) {
        let (changes, now) = ([inventory.change_count(), inventory.pods.change_count()], clock.now());
        let is_due = self.scanned.is_none_or(|(seen, at)| seen != changes && at.elapsed() >= pause);
        let changes_at = self.newest.as_ref().and_then(|scan| scan.changes_at);
        if !is_due && changes_at.is_none_or(|instant| now < instant) {
            return;
        }
        let (owned, began) = (Arc::clone(inventory), Instant::now());
        // Without an answer the previous scan stays valid.
        if let Ok(Some(scan)) = spawn_blocking(move || scan_drift(&owned, now)).await {
            debug!(workloads = scan.drifts.len(), took = ?began.elapsed(), "looked for drift");
            self.newest = Some(scan);
            self.scanned = Some((changes, Instant::now()));
        }
    }
}

/// Guard that resets the counts, because another replica counts from then on.
struct ResetOnDrop<'c>(&'c Inventory, &'c Metrics);

impl Drop for ResetOnDrop<'_> {
    fn drop(&mut self) {
        let Self(inventory, metrics) = self;
        inventory.drift_counts.set(None);
        metrics.drifting_workloads.set(0);
        for outcome in [EffectOutcome::Injected, EffectOutcome::NotInjected] {
            metrics.drifting_pods(outcome).set(0);
        }
    }
}

impl DriftController {
    fn count_drift(&self, inventory: &Inventory, scan: &DriftScan, ledger: &DriftLedger, now: Timestamp) {
        let counted: Vec<_> = scan.drifts.iter().filter(|drift| ledger.has_lasted(drift, now)).collect();
        self.metrics.drifting_workloads.set(to_i64(counted.len()));
        for outcome in [EffectOutcome::Injected, EffectOutcome::NotInjected] {
            let of_outcome = counted.iter().filter(|drift| drift.expected.outcome == outcome);
            self.metrics.drifting_pods(outcome).set(to_i64(of_outcome.map(|drift| drift.differing.len()).sum()));
        }
        let mut by_policy: BTreeMap<_, usize> = BTreeMap::new();
        for drift in counted {
            if let Some(policy) = &drift.expected.policy {
                *by_policy.entry(policy.clone()).or_default() += drift.differing.len();
            }
        }
        inventory.drift_counts.set(Some(by_policy));
    }

    fn report(
        &self,
        queue: &DriftEventQueue,
        DriftReport { change, subject, sentence, id }: &DriftReport,
        now: Timestamp,
    ) {
        let workload = subject.display_name();
        let (act, type_, reason) = match change {
            DriftChange::Begun | DriftChange::Changed => (ActKind::Drift, EventType::Warning, "SidecarDrift"),
            DriftChange::Ended => (ActKind::DriftOver, EventType::Normal, "SidecarDriftResolved"),
        };
        match change {
            DriftChange::Begun | DriftChange::Changed => warn!(workload, "{workload} drifts: {sentence}"),
            DriftChange::Ended => info!(workload, "{workload} drifts no more: {sentence}"),
        }
        self.record(id, act, audited_object(subject), ActOutcome::Allowed, sentence, now);
        queue.push(subject, type_, (reason, "Compare"), sentence);
    }

    fn record(&self, id: &str, act: ActKind, object: AuditObject, outcome: ActOutcome, why: &str, now: Timestamp) {
        self.audit.record(&ActEntry {
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

fn audited_object(DriftSubject { key: (namespace, kind, name), uid, .. }: &DriftSubject) -> AuditObject {
    AuditObject {
        kind: kind.to_string(),
        namespace: Some(namespace.to_string()),
        name: Some(name.to_string()),
        uid: Some(uid.to_string()),
    }
}

fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Everything that one step of repairing needs.
struct RepairStep<'s> {
    inventory: &'s Inventory,
    controller: &'s DriftController,
    queue: &'s DriftEventQueue,
    clock: &'s Clock,
    evictions: &'s EvictionClient,
    now: Timestamp,
}

impl RepairStep<'_> {
    /// Reports the outcomes of earlier evictions, and evicts at most one more pod.
    async fn run(&self, scan: &DriftScan, ledger: &DriftLedger, repairs: &mut RepairPlanner, reaches_us: bool) {
        for subject in repairs.stalled_but_ready(scan, self.now) {
            if self.needs_no_pod(&subject).await {
                repairs.forget(&subject);
            }
        }
        for (subject, outcome) in repairs.take_outcomes(scan, self.now) {
            self.report_outcome(&subject, outcome);
        }
        if !reaches_us {
            return repairs.distrust();
        }
        let Some((drift, pod)) = repairs.next_eviction(scan, |drift| ledger.has_lasted(drift, self.now), self.now)
        else {
            return;
        };
        let id = ledger.report_id(&drift.subject).unwrap_or_default();
        match self.try_evict(drift, pod).await {
            EvictionOutcome::Evicted => {
                repairs.record_eviction(scan, drift, self.clock.now());
                let note = format!("evicted Pod {}, so that a new one takes its place: {}", pod.name, drift.describe());
                info!(workload = drift.subject.display_name(), "{note}");
                self.record(id, drift, pod, ActOutcome::Allowed, &note, "Evicted");
                self.queue.push(&drift.subject, EventType::Normal, ("SidecarDriftRepair", "Evict"), &note);
            }
            EvictionOutcome::Gone => {}
            EvictionOutcome::Held(why) => {
                repairs.record_refusal(&drift.subject, self.clock.now());
                info!(workload = drift.subject.display_name(), "Pod {} is not evicted at present: {why}", pod.name);
                self.controller.metrics.repairs("Held").inc();
            }
            EvictionOutcome::Failed(why) => {
                repairs.record_refusal(&drift.subject, self.clock.now());
                warn!(workload = drift.subject.display_name(), "cannot evict Pod {}: {why}", pod.name);
                self.record(id, drift, pod, ActOutcome::Failed, &why, "Failed");
            }
        }
    }

    /// Evicts a pod, after checking it and its stored workload again: the scan may be outdated.
    async fn try_evict(&self, drift: &Drift, pod: &RunningPod) -> EvictionOutcome {
        let is_drifting = || is_still_drifting(self.inventory, &drift.subject.uid, &pod.uid, self.clock.now());
        if !is_drifting() {
            return EvictionOutcome::Gone;
        }
        let workload = match self.read_workload(&drift.subject).await {
            Ok(workload) => workload,
            Err(why) => return EvictionOutcome::Failed(format!("cannot read {}: {why}", drift.subject.display_name())),
        };
        match check_can_spare_pod(&workload, pod.is_ready) {
            // A suspension may have begun while the workload was read.
            Ok(()) if is_drifting() => self.evictions.evict(pod).await,
            Ok(()) => EvictionOutcome::Gone,
            Err(why) => EvictionOutcome::Held(format!("of {}, {why}", drift.subject.display_name())),
        }
    }

    /// Returns whether a workload is gone, or has all the pods that it needs.
    async fn needs_no_pod(&self, subject: &DriftSubject) -> bool {
        self.inventory.owners.get(&subject.uid).is_none()
            || self.read_workload(subject).await.is_ok_and(|workload| check_can_spare_pod(&workload, true).is_ok())
    }

    async fn read_workload(
        &self,
        DriftSubject { key: (namespace, kind, name), api_version, .. }: &DriftSubject,
    ) -> Result<Value, String> {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let known = self.inventory.owner_kinds.find(group, kind);
        let kind = known.ok_or_else(|| format!("nothing is known of the kind {kind}"))?;
        self.evictions.get_workload(kind, namespace, name).await
    }

    fn report_outcome(&self, subject: &DriftSubject, outcome: RepairOutcome) {
        let (workload, metrics) = (subject.display_name(), &self.controller.metrics);
        let note = match outcome {
            RepairOutcome::Repaired => {
                metrics.repairs("Repaired").inc();
                return info!(workload, "a pod of {workload} was repaired");
            }
            RepairOutcome::StillDrifting => {
                metrics.repairs("InVain").inc();
                "the pod that came in place of an evicted one is no better; none of its pods is evicted for a while"
            }
            RepairOutcome::NotReady => {
                metrics.repairs("InVain").inc();
                "its pods have not become ready since one was evicted; none is evicted anywhere for a while"
            }
        };
        warn!(workload, "{workload}: {note}");
        self.queue.push(subject, EventType::Warning, ("SidecarDriftRepairFailed", "Evict"), note);
    }

    fn record(&self, id: &str, drift: &Drift, pod: &RunningPod, act: ActOutcome, why: &str, outcome: &'static str) {
        self.controller.metrics.repairs(outcome).inc();
        let (namespace, _, _) = &drift.subject.key;
        let object = AuditObject {
            kind: "Pod".to_owned(),
            namespace: Some(namespace.to_string()),
            name: Some(pod.name.to_string()),
            uid: Some(pod.uid.to_string()),
        };
        self.controller.record(id, ActKind::Evict, object, act, why, self.now);
    }
}
