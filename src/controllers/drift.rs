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
mod scan_cache;
mod step;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::runtime::events::EventType;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::audit::AuditLog;
use crate::audit::act_entry::{ActEntry, ActKind, ActOutcome, AuditObject};
use crate::decision::effect::EffectOutcome;
use crate::features::drift::{DriftScan, DriftSubject};
use crate::kernel::clock::Clock;
use crate::kernel::count::to_i64;
use crate::kubernetes::client::events::EventPublisher;
use crate::kubernetes::client::evictions::EvictionClient;
use crate::kubernetes::inventory::Inventory;
use crate::metrics::Metrics;
use events::DriftEventQueue;
use repair::RepairPlanner;
use reports::{DriftChange, DriftLedger, DriftReport};
use scan_cache::ScanCache;
use step::RepairStep;

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
        return Some("the API server does not call us yet, so a new pod would be no better".to_owned());
    }
    let Some(injectors) = inventory.injectors.get() else {
        return Some("the webhook configurations are not known".to_owned());
    };
    let before_us = injectors.before_us();
    (!before_us.is_empty()).then(|| crate::kubernetes::client::webhook_order::order_problem(&before_us))
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
