//! One step of repairing: the outcomes of earlier evictions, and at most one more eviction.

use jiff::Timestamp;
use kube::runtime::events::EventType;
use serde_json::Value;
use tracing::{info, warn};

use super::DriftController;
use super::events::DriftEventQueue;
use super::repair::{RepairOutcome, RepairPlanner, check_can_spare_pod};
use super::reports::DriftLedger;
use crate::audit::act_entry::{ActKind, ActOutcome, AuditObject};
use crate::decision::facts::RunningPod;
use crate::features::drift::{Drift, DriftScan, DriftSubject, is_still_drifting};
use crate::kernel::clock::Clock;
use crate::kubernetes::client::evictions::{EvictionClient, EvictionOutcome};
use crate::kubernetes::inventory::Inventory;

/// Everything that one step of repairing needs.
pub(super) struct RepairStep<'s> {
    pub(super) inventory: &'s Inventory,
    pub(super) controller: &'s DriftController,
    pub(super) queue: &'s DriftEventQueue,
    pub(super) clock: &'s Clock,
    pub(super) evictions: &'s EvictionClient,
    pub(super) now: Timestamp,
}

impl RepairStep<'_> {
    /// Reports the outcomes of earlier evictions, and evicts at most one more pod.
    pub(super) async fn run(
        &self,
        scan: &DriftScan,
        ledger: &DriftLedger,
        repairs: &mut RepairPlanner,
        reaches_us: bool,
    ) {
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
                "the new pod drifts as the evicted one did; no other pod of the workload is evicted for a while"
            }
            RepairOutcome::NotReady => {
                metrics.repairs("InVain").inc();
                "the pods have not become ready since an eviction; no pod of any workload is evicted for a while"
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
