//! Choice of the drifting pod that is evicted next, so that a correct one takes its place.
//!
//! Guarantees: a workload loses one pod at a time, and only while all its other pods are ready. A pod that would not come back is
//! never evicted, nor is one of a workload whose new pod just came back wrong. The only pod of a workload is evicted only while no
//! other repair is pending.
//! The first repair must succeed before another is tried, and a failure pauses all of them. So where pods do not reach us, or new
//! ones do not become ready, one eviction at a time is in vain.
//! Limits: a pod that takes long to become ready holds up all other repairs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::decision::facts::RunningPod;
use crate::features::drift::{Drift, DriftScan, DriftSubject};

/// Age of a drifting pod below which its workload still creates such pods.
const RECENT_AGE: SignedDuration = SignedDuration::from_secs(30);
/// Time in which a workload must become whole again; after it the repair has failed.
const REPAIR_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);
/// Time in which a new pod should become ready. Until a slower one is ready, no other is evicted.
const READY_SOON: SignedDuration = SignedDuration::from_mins(1);
/// Time for which a workload is left alone after a failed repair; it doubles with each failure.
const BACK_OFF: SignedDuration = SignedDuration::from_mins(10);
/// Upper limit of that time.
const LONGEST_BACK_OFF: SignedDuration = SignedDuration::from_hours(6);
/// Time after a refused eviction before the next attempt. It doubles up to [`BACK_OFF`].
const REFUSAL_BACK_OFF: SignedDuration = SignedDuration::from_secs(30);
/// Pause of all repairs after a pod that came back wrong. After a pod that did not become ready the pause is [`BACK_OFF`].
/// Either doubles with each failure in a row.
const DRIFT_PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// Upper limit of a pause of all repairs.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(1);

/// Pending and failed repairs of one leader.
#[derive(Debug)]
pub struct RepairPlanner {
    /// Time between two evictions.
    interval: SignedDuration,
    next_at: Option<Timestamp>,
    /// True where the last evicted pod was replaced by a correct and ready one.
    is_proven: bool,
    pending: HashMap<Box<str>, PendingRepair>,
    backing_off: HashMap<Box<str>, BackOff>,
    /// Pause of all repairs after a failure.
    global_back_off: Option<BackOff>,
}

#[derive(Debug)]
struct PendingRepair {
    subject: DriftSubject,
    /// UIDs of the pods before the eviction.
    before: HashSet<Box<str>>,
    since: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct BackOff {
    until: Timestamp,
    pause: SignedDuration,
}

/// Outcome of an eviction for the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairOutcome {
    /// The workload is whole again, with a correct new pod.
    Repaired,
    /// A new pod drifts as the old one did.
    StillDrifting,
    /// The workload did not become whole in time.
    NotReady,
}

impl RepairPlanner {
    /// Creates a planner that allows this many evictions in a minute.
    pub fn new(per_minute: u32) -> Self {
        let interval = SignedDuration::from_secs(60) / i32::try_from(per_minute).unwrap_or(i32::MAX).max(1);
        let (pending, backing_off) = (HashMap::new(), HashMap::new());
        Self { interval, next_at: None, is_proven: false, pending, backing_off, global_back_off: None }
    }

    /// Returns whether an evicted pod has not been replaced yet.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Removes the repairs that have an outcome by now, and returns the outcomes.
    pub fn take_outcomes(&mut self, scan: &DriftScan, now: Timestamp) -> Vec<(DriftSubject, RepairOutcome)> {
        let outcome = |pending: &PendingRepair| Some((pending.subject.clone(), pending.outcome(scan, now)?));
        let outcomes: Vec<_> = self.pending.values().filter_map(outcome).collect();
        for (subject, outcome) in &outcomes {
            self.pending.remove(&subject.uid);
            match outcome {
                RepairOutcome::Repaired => drop(self.backing_off.remove(&subject.uid)),
                RepairOutcome::StillDrifting | RepairOutcome::NotReady => self.back_off(subject, now),
            }
        }
        self.learn(outcomes.iter().map(|(_, outcome)| *outcome), now);
        self.backing_off.retain(|_, back_off| now < back_off.until + LONGEST_BACK_OFF);
        outcomes
    }

    /// Pauses or resumes all repairs by these outcomes: one failure makes others likely.
    fn learn(&mut self, outcomes: impl Iterator<Item = RepairOutcome>, now: Timestamp) {
        let pause = |outcome: RepairOutcome| match outcome {
            RepairOutcome::Repaired => SignedDuration::ZERO,
            RepairOutcome::StillDrifting => DRIFT_PAUSE,
            RepairOutcome::NotReady => BACK_OFF,
        };
        let Some(worst) = outcomes.map(pause).max() else { return };
        self.is_proven = worst.is_zero();
        let current = self.global_back_off.filter(|back_off| now < back_off.until);
        self.global_back_off = match (self.is_proven, current) {
            // Several repairs that were pending together count as one failure.
            (_, Some(current)) if worst <= current.pause => Some(current),
            (true, _) => None,
            (false, _) => Some(BackOff::after(self.global_back_off, [worst, LONGEST_PAUSE], now)),
        };
    }

    /// Returns the workloads whose repair is overdue although all their pods are ready: they may have been scaled down.
    pub fn stalled_but_ready(&self, scan: &DriftScan, now: Timestamp) -> Vec<DriftSubject> {
        let is_stalled = |pending: &&PendingRepair| {
            let all_are_ready = scan.running.pods_of_key(&pending.subject.key).iter().all(|pod| pod.is_ready);
            pending.is_overdue(now) && all_are_ready && !pending.has_new_pod(scan)
        };
        self.pending.values().filter(is_stalled).map(|pending| pending.subject.clone()).collect()
    }

    /// Drops a pending repair without an outcome: the workload no longer needs the pod.
    pub fn forget(&mut self, subject: &DriftSubject) {
        self.pending.remove(&subject.uid);
    }

    /// Chooses the pod that is evicted next, among the drifts that count.
    pub fn next_eviction<'f>(
        &self,
        scan: &'f DriftScan,
        counts: impl Fn(&Drift) -> bool,
        now: Timestamp,
    ) -> Option<(&'f Drift, &'f Arc<RunningPod>)> {
        if !self.may_evict(now) {
            return None;
        }
        let drifts = scan.drifts.iter().filter(|drift| drift.is_repairable && drift.excused == 0 && counts(drift));
        let mut free: Vec<_> = drifts.filter(|drift| self.is_free(drift, now)).collect();
        // Workloads that failed before come last, and workloads with several pods are tried first.
        free.sort_by_key(|drift| (self.backing_off.contains_key(&drift.subject.uid), drift.pods == 1));
        free.into_iter().find_map(|drift| Some((drift, pick_pod(scan, drift, now)?)))
    }

    fn may_evict(&self, now: Timestamp) -> bool {
        let is_time = self.next_at.is_none_or(|next| next <= now);
        let is_paused = self.global_back_off.is_some_and(|back_off| now < back_off.until);
        let all_come_soon = || self.is_proven && self.pending.values().all(|one| now < one.since + READY_SOON);
        is_time && !is_paused && (self.pending.is_empty() || all_come_soon())
    }

    fn is_free(&self, Drift { subject, pods, .. }: &Drift, now: Timestamp) -> bool {
        let is_backing_off = self.backing_off.get(&subject.uid).is_some_and(|back_off| now < back_off.until);
        !is_backing_off && !self.pending.contains_key(&subject.uid) && (*pods > 1 || self.pending.is_empty())
    }

    /// Records that a pod of this workload was evicted.
    pub fn record_eviction(&mut self, scan: &DriftScan, drift: &Drift, now: Timestamp) {
        let DriftSubject { key, uid, .. } = &drift.subject;
        let before = scan.running.pods_of_key(key).iter().map(|pod| pod.uid.clone()).collect();
        self.pending.insert(uid.clone(), PendingRepair { subject: drift.subject.clone(), before, since: now });
        self.next_at = Some(now + self.interval);
    }

    /// Makes the next eviction a trial again: new pods may come back wrong from now on.
    pub fn distrust(&mut self) {
        self.is_proven = false;
    }

    /// Records that the eviction was refused, or that the workload cannot spare a pod.
    pub fn record_refusal(&mut self, subject: &DriftSubject, now: Timestamp) {
        self.back_off_within(subject, [REFUSAL_BACK_OFF, BACK_OFF], now);
        self.next_at = Some(now + self.interval);
    }

    fn back_off(&mut self, subject: &DriftSubject, now: Timestamp) {
        self.back_off_within(subject, [BACK_OFF, LONGEST_BACK_OFF], now);
    }

    fn back_off_within(&mut self, subject: &DriftSubject, bounds: [SignedDuration; 2], now: Timestamp) {
        let back_off = BackOff::after(self.backing_off.get(&subject.uid).copied(), bounds, now);
        self.backing_off.insert(subject.uid.clone(), back_off);
    }
}

impl BackOff {
    /// Doubles the pause of the previous back-off, within these bounds.
    fn after(before: Option<Self>, [shortest, longest]: [SignedDuration; 2], now: Timestamp) -> Self {
        let before = before.map_or(SignedDuration::ZERO, |back_off| back_off.pause);
        let pause = (before * 2).clamp(shortest, longest);
        Self { until: now + pause, pause }
    }
}

impl PendingRepair {
    /// Returns whether a pod was created since the eviction.
    fn has_new_pod(&self, scan: &DriftScan) -> bool {
        scan.running.pods_of_key(&self.subject.key).iter().any(|pod| !self.before.contains(&pod.uid))
    }

    fn outcome(&self, scan: &DriftScan, now: Timestamp) -> Option<RepairOutcome> {
        let DriftSubject { key, uid, .. } = &self.subject;
        let pods = scan.running.pods_of_key(key);
        let is_new = |pod: &&Arc<RunningPod>| !self.before.contains(&pod.uid);
        let drift = scan.drifts.iter().find(|drift| drift.subject.uid == *uid);
        if drift.is_some_and(|drift| drift.differing.iter().any(|pod| is_new(&pod))) {
            return Some(RepairOutcome::StillDrifting);
        }
        // The number of pods proves nothing: somebody may scale the workload meanwhile.
        let is_whole =
            scan.running.count_terminating(key) == 0 && self.has_new_pod(scan) && pods.iter().all(|pod| pod.is_ready);
        if is_whole {
            return Some(RepairOutcome::Repaired);
        }
        self.is_overdue(now).then_some(RepairOutcome::NotReady)
    }

    fn is_overdue(&self, now: Timestamp) -> bool {
        now >= self.since + REPAIR_TIMEOUT
    }
}

/// Picks the pod that the workload can spare most easily, if all its others are ready.
fn pick_pod<'f>(scan: &DriftScan, drift: &'f Drift, now: Timestamp) -> Option<&'f Arc<RunningPod>> {
    let Drift { subject: DriftSubject { key, .. }, differing, .. } = drift;
    let is_recent = |pod: &Arc<RunningPod>| pod.created_at.is_none_or(|created| now < created + RECENT_AGE);
    if scan.running.count_terminating(key) > 0 || differing.iter().any(is_recent) {
        return None;
    }
    let picked = differing.iter().min_by_key(|pod| (pod.is_ready, pod.created_at, &pod.name))?;
    let others = scan.running.pods_of_key(key).iter().filter(|pod| pod.uid != picked.uid);
    others.into_iter().all(|pod| pod.is_ready).then_some(picked)
}

/// Checks that a workload, as it is stored now, can spare one of its pods. `is_ready` says whether that pod is ready.
///
/// # Errors
///
/// Returns why the workload cannot, in one sentence.
pub fn check_can_spare_pod(workload: &Value, is_ready: bool) -> Result<(), &'static str> {
    let Value::Object(_) = &workload["status"] else { return Err("it has no status") };
    let (spec, status) = (&workload["spec"], &workload["status"]);
    if workload["metadata"]["deletionTimestamp"].is_string() {
        return Err("it is being deleted");
    }
    // A Rollout writes the generation as a string.
    let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
    if number(&status["observedGeneration"]) < workload["metadata"]["generation"].as_i64() {
        return Err("its controller has not seen its last change");
    }
    let count = |names: [&str; 2]| names.into_iter().find_map(|name| status[name].as_i64());
    // The number of replicas of a DaemonSet is in its status; others have it in their specification.
    let desired = status["desiredNumberScheduled"].as_i64().or(spec["replicas"].as_i64()).unwrap_or(1);
    let ready = count(["readyReplicas", "numberReady"]).unwrap_or(0);
    let updated = count(["updatedReplicas", "updatedNumberScheduled"]).unwrap_or(0);
    // These kinds have no roll-outs, and do not count updated pods.
    let rolls = !["ReplicaSet", "ReplicationController"].map(Value::from).contains(&workload["kind"]);
    match (rolls && updated < desired, ready + i64::from(!is_ready) < desired) {
        (true, _) => Err("a roll-out is under way"),
        (false, true) => Err("not all of its pods are ready"),
        (false, false) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_workload_can_spare_a_pod_only_when_it_is_whole_and_does_not_roll_out() {
        let deployment =
            |spec: Value, status: Value| json!({"metadata": {"generation": 2}, "spec": spec, "status": status});
        let whole = json!({"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 3});
        let three = || json!({"replicas": 3});
        assert_eq!(check_can_spare_pod(&deployment(three(), whole.clone()), true), Ok(()));
        let daemons = json!({
            "observedGeneration": 2, "desiredNumberScheduled": 3, "numberReady": 3, "updatedNumberScheduled": 3,
        });
        assert_eq!(check_can_spare_pod(&deployment(json!({}), daemons), true), Ok(()));
        let with = |key: &str, value: Value| {
            let mut status = whole.clone();
            status[key] = value;
            deployment(three(), status)
        };
        assert_eq!(check_can_spare_pod(&with("readyReplicas", json!(2)), true), Err("not all of its pods are ready"));
        assert_eq!(check_can_spare_pod(&with("readyReplicas", json!(2)), false), Ok(()), "it is the one that is not");
        assert_eq!(check_can_spare_pod(&with("updatedReplicas", json!(1)), true), Err("a roll-out is under way"));
        assert_eq!(check_can_spare_pod(&with("observedGeneration", json!("2")), true), Ok(()));
        let mut set = with("updatedReplicas", Value::Null);
        set["kind"] = json!("ReplicaSet");
        assert_eq!(check_can_spare_pod(&set, true), Ok(()), "nobody counts which of its pods are new");
        let stale = "its controller has not seen its last change";
        assert_eq!(check_can_spare_pod(&with("observedGeneration", json!(1)), true), Err(stale));
        assert_eq!(check_can_spare_pod(&json!({"spec": {"replicas": 1}}), true), Err("it has no status"));
    }
}
