//! Progress of a workload that was told to replace its pods.
//!
//! The workload's own status decides, as for `kubectl rollout status`. The pods decide where no controller counts
//! them.

use jiff::Timestamp;

use super::pods::PodSnapshot;
use super::strategy::{NoRolloutReason, RolloutStrategy};
use super::workload::{RolloutStatus, RolloutTrouble, WorkloadSnapshot};
use crate::kernel::text::CleanText;

/// State of a roll-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolloutProgress {
    /// All pods are new and ready.
    Done,
    /// The roll-out goes on. Holds what it waits for.
    Waiting(String),
    /// This pod is the next to evict.
    Evict {
        name: String,
        /// Tells the pod from its successor, which may have the same name.
        uid: String,
        /// Number of old pods, including this one.
        old: usize,
    },
    /// The controller has given up. Holds its message.
    GivenUp(String),
    /// Somebody restored the pod template, so the workload keeps its old pods.
    TemplateReverted,
    /// Nothing is left to wait for. Holds the reason.
    Obsolete(String),
}

/// Numbers of pods by which a roll-out is seen to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RolloutCounts {
    new: i64,
    old: i64,
    available: i64,
}

impl RolloutCounts {
    /// Counts by the status, or by the pods where [`needs_pods`] says so. Returns `None` while the status is
    /// outdated.
    pub fn count(workload: &WorkloadSnapshot, pods: &[PodSnapshot]) -> Option<Self> {
        let status = &workload.status;
        if needs_pods(workload) {
            let (new, old): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| pod.is_new_for(workload));
            let available = new.iter().filter(|pod| pod.is_ready).count() as i64;
            return Some(Self { new: new.len() as i64, old: old.len() as i64, available });
        }
        let RolloutStatus { replicas, updated, available, .. } = *status;
        status.is_current.then_some(Self { new: updated, old: replicas - updated, available })
    }

    /// Takes over newer counts. Returns whether the roll-out moved: more new pods or fewer old pods than ever before,
    /// or more available pods since then. A pod that comes and goes therefore does not count as movement for ever.
    pub fn advance_to(&mut self, now: Self) -> bool {
        let is_further = now.new > self.new || now.old < self.old;
        let rises = now.available > self.available;
        self.available = if is_further { now.available } else { self.available.max(now.available) };
        (self.new, self.old) = (self.new.max(now.new), self.old.min(now.old));
        is_further || rises
    }
}

/// Returns whether the pods are needed to judge the progress.
pub fn needs_pods(workload: &WorkloadSnapshot) -> bool {
    matches!(workload.strategy, RolloutStrategy::Rollout | RolloutStrategy::Eviction | RolloutStrategy::Other)
}

/// Returns the progress of a workload that was told at `since` to replace its pods. `pods` are its own pods, if they
/// are needed.
pub fn rollout_progress(workload: &WorkloadSnapshot, pods: &[PodSnapshot], since: Timestamp) -> RolloutProgress {
    let status = &workload.status;
    match workload.strategy {
        RolloutStrategy::Never(NoRolloutReason::Paused) => {
            let why = "paused in the middle: `kubectl rollout resume` replaces the rest of its pods";
            return RolloutProgress::Obsolete(why.to_owned());
        }
        RolloutStrategy::Never(reason) => return RolloutProgress::Obsolete(reason.to_string()),
        _ if !workload.is_restarted_since(since) => return RolloutProgress::TemplateReverted,
        RolloutStrategy::Other => {}
        _ if !status.is_current => return RolloutProgress::Waiting("its controller to see the change".to_owned()),
        _ => {}
    }
    match (workload.strategy, &status.trouble) {
        (RolloutStrategy::Deployment { .. } | RolloutStrategy::Rollout, Some(RolloutTrouble::GivenUp(why))) => {
            RolloutProgress::GivenUp(why.clone())
        }
        (RolloutStrategy::Deployment { .. }, _) => with_hindrance(deployment_progress(workload), &status.trouble),
        (RolloutStrategy::StatefulSet { partition, .. }, _) => stateful_set_progress(workload, partition),
        (RolloutStrategy::DaemonSet { .. }, _) => daemon_set_progress(workload),
        (RolloutStrategy::Rollout, _) => argo_rollout_progress(workload, pods),
        (RolloutStrategy::Eviction, _) => eviction_progress(workload, pods),
        (RolloutStrategy::Other | RolloutStrategy::Never(_), _) => progress_by_pods(workload, pods),
    }
}

fn waiting_for_pods(count: i64, of: i64, what: &str) -> RolloutProgress {
    RolloutProgress::Waiting(format!("{count} of {of} pods are {what}"))
}

fn with_hindrance(progress: RolloutProgress, trouble: &Option<RolloutTrouble>) -> RolloutProgress {
    match (progress, trouble) {
        (RolloutProgress::Waiting(what), Some(RolloutTrouble::Hindered(why))) => {
            RolloutProgress::Waiting(format!("{what} ({why})"))
        }
        (progress, _) => progress,
    }
}

fn deployment_progress(workload: &WorkloadSnapshot) -> RolloutProgress {
    let (desired, status) = (workload.desired, &workload.status);
    if status.updated < desired {
        return waiting_for_pods(status.updated, desired, "new");
    }
    if status.replicas > status.updated {
        return RolloutProgress::Waiting(format!("{} old pods to end", status.replicas - status.updated));
    }
    if status.available < desired {
        return waiting_for_pods(status.available, desired, "available");
    }
    RolloutProgress::Done
}

fn stateful_set_progress(workload: &WorkloadSnapshot, partition: i64) -> RolloutProgress {
    let (desired, status) = (workload.desired, &workload.status);
    let to_replace = (desired - partition).max(0);
    if status.updated < to_replace && status.revisions.as_ref().is_none_or(|(from, to)| from != to) {
        return waiting_for_pods(status.updated, to_replace, "new");
    }
    if status.available < desired {
        return waiting_for_pods(status.available, desired, "available");
    }
    match &status.revisions {
        Some((from, to)) if partition == 0 && from != to => {
            RolloutProgress::Waiting("its controller to finish".to_owned())
        }
        _ => RolloutProgress::Done,
    }
}

fn daemon_set_progress(workload: &WorkloadSnapshot) -> RolloutProgress {
    let (desired, status) = (workload.desired, &workload.status);
    if status.updated < desired {
        return waiting_for_pods(status.updated, desired, "new");
    }
    if status.available < desired {
        return waiting_for_pods(status.available, desired, "available");
    }
    RolloutProgress::Done
}

/// The controller reports a restart as done when the last old pod begins to end, with the former number of available
/// pods. The pods are therefore checked too.
fn argo_rollout_progress(workload: &WorkloadSnapshot, pods: &[PodSnapshot]) -> RolloutProgress {
    let (desired, status) = (workload.desired, &workload.status);
    let restarted: Option<Timestamp> = status.restarted_at.as_deref().and_then(|at| at.parse().ok());
    match progress_by_pods(workload, pods) {
        RolloutProgress::Done if restarted != workload.last_restart() => {
            RolloutProgress::Waiting("its controller to finish".to_owned())
        }
        RolloutProgress::Done if status.available < desired => waiting_for_pods(status.available, desired, "available"),
        progress => progress,
    }
}

fn eviction_progress(workload: &WorkloadSnapshot, pods: &[PodSnapshot]) -> RolloutProgress {
    let desired = workload.desired.max(0) as usize;
    let staying: Vec<&PodSnapshot> = pods.iter().filter(|pod| !pod.is_terminating).collect();
    if let Some(leaving) = pods.iter().find(|pod| pod.is_terminating) {
        return RolloutProgress::Waiting(format!("pod/{} to end", CleanText(&leaving.name)));
    }
    let (old, new): (Vec<&PodSnapshot>, Vec<&PodSnapshot>) =
        staying.iter().copied().partition(|pod| !pod.is_new_for(workload));
    if let Some(unready) = new.iter().find(|pod| !pod.is_ready) {
        return RolloutProgress::Waiting(format!(
            "pod/{} to be ready{}",
            CleanText(&unready.name),
            reason_suffix(unready)
        ));
    }
    if staying.len() < desired {
        return waiting_for_pods(staying.len() as i64, desired as i64, "there");
    }
    // A pod that is not ready serves nobody. After those the last ordinal goes first, as in a StatefulSet.
    let next = old.iter().max_by_key(|pod| (!pod.is_ready, ordinal(&pod.name), &pod.name));
    match next {
        Some(pod) => RolloutProgress::Evict { name: pod.name.clone(), uid: pod.uid.clone(), old: old.len() },
        None => RolloutProgress::Done,
    }
}

fn progress_by_pods(workload: &WorkloadSnapshot, pods: &[PodSnapshot]) -> RolloutProgress {
    let desired = workload.desired.max(0) as usize;
    let (new, old): (Vec<&PodSnapshot>, Vec<&PodSnapshot>) = pods.iter().partition(|pod| pod.is_new_for(workload));
    let (old, ready) = (old.len(), new.iter().filter(|pod| pod.is_ready).count());
    if new.len() < desired {
        return waiting_for_pods(new.len() as i64, desired as i64, "new");
    }
    if old > 0 {
        return RolloutProgress::Waiting(format!("{old} old pods to end"));
    }
    match new.iter().find(|pod| !pod.is_ready) {
        Some(unready) => {
            RolloutProgress::Waiting(format!("{ready} of {} pods are ready{}", new.len(), reason_suffix(unready)))
        }
        None => RolloutProgress::Done,
    }
}

fn reason_suffix(pod: &PodSnapshot) -> String {
    pod.not_ready_reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default()
}

fn ordinal(name: &str) -> Option<u64> {
    name.rsplit_once('-')?.1.parse().ok()
}
