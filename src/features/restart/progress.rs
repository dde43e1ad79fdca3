//! How far a workload has come that was told to replace its pods: by its own status, as `kubectl rollout status` reads it, or
//! by its pods where nobody counts them.

use jiff::Timestamp;

use super::pods::PodSeen;
use super::way::{Reason, Way};
use super::workload::{Status, Trouble, Workload};
use crate::kernel::text::Clean;

/// How far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// All of its pods are new and ready.
    Done,
    /// It is waited for, and for what.
    Waiting(String),
    /// This pod is to be evicted next.
    Evict {
        /// Its name.
        name: String,
        /// What tells it from its successor, which may have the same name.
        uid: String,
        /// How many old ones there are, with it.
        old: usize,
    },
    /// Its controller has given up, and why.
    GivenUp(String),
    /// Somebody has put its pod template back, so that it keeps its old pods.
    PutBack,
    /// There is nothing to wait for any more, and why.
    Moot(String),
}

/// How many pods of a workload have come so far, by which it is told whether it moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    new: i64,
    old: i64,
    available: i64,
}

impl Reached {
    /// As its status, or its pods where they are needed, say; nothing while its status is about the past.
    pub fn of(workload: &Workload, pods: &[PodSeen]) -> Option<Self> {
        let status = &workload.status;
        if needs_pods(workload) {
            let (new, old): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| pod.is_new_of(workload));
            let available = new.iter().filter(|pod| pod.is_ready).count() as i64;
            return Some(Self { new: new.len() as i64, old: old.len() as i64, available });
        }
        let Status { replicas, updated, available, .. } = *status;
        status.is_current.then_some(Self { new: updated, old: replicas - updated, available })
    }

    /// Goes on to what was found now, and tells whether it moved: more pods are new or fewer old than ever before, or more are
    /// available than since then. So one that comes and goes does not move for ever.
    pub fn moves_to(&mut self, now: Self) -> bool {
        let is_further = now.new > self.new || now.old < self.old;
        let rises = now.available > self.available;
        self.available = if is_further { now.available } else { self.available.max(now.available) };
        (self.new, self.old) = (self.new.max(now.new), self.old.min(now.old));
        is_further || rises
    }
}

/// Whether its pods are needed to say how far it is.
pub fn needs_pods(workload: &Workload) -> bool {
    matches!(workload.way, Way::Rollout | Way::Eviction | Way::Other)
}

/// How far it has come that was told to replace its pods at a time; `pods` are those that it made, if they are needed.
pub fn progress(workload: &Workload, pods: &[PodSeen], since: Timestamp) -> Progress {
    let status = &workload.status;
    match workload.way {
        Way::Never(Reason::Paused) => {
            let why = "it was paused in the middle; `kubectl rollout resume` replaces the rest of its pods";
            return Progress::Moot(why.to_owned());
        }
        Way::Never(reason) => return Progress::Moot(reason.to_string()),
        _ if !workload.is_restarted_since(since) => return Progress::PutBack,
        Way::Other => {}
        _ if !status.is_current => return Progress::Waiting("its controller to see the change".to_owned()),
        _ => {}
    }
    match (workload.way, &status.trouble) {
        (Way::Deployment { .. } | Way::Rollout, Some(Trouble::GivenUp(why))) => Progress::GivenUp(why.clone()),
        (Way::Deployment { .. }, _) => hindered(deployment(workload), &status.trouble),
        (Way::StatefulSet { partition, .. }, _) => stateful_set(workload, partition),
        (Way::DaemonSet { .. }, _) => daemon_set(workload),
        (Way::Rollout, _) => rollout(workload, pods),
        (Way::Eviction, _) => eviction(workload, pods),
        (Way::Other | Way::Never(_), _) => other(workload, pods),
    }
}

fn waiting(count: i64, of: i64, what: &str) -> Progress {
    Progress::Waiting(format!("{count} of {of} pods are {what}"))
}

fn hindered(progress: Progress, trouble: &Option<Trouble>) -> Progress {
    match (progress, trouble) {
        (Progress::Waiting(what), Some(Trouble::Hindered(why))) => Progress::Waiting(format!("{what} ({why})")),
        (progress, _) => progress,
    }
}

fn deployment(workload: &Workload) -> Progress {
    let (wanted, status) = (workload.wanted, &workload.status);
    if status.updated < wanted {
        return waiting(status.updated, wanted, "new");
    }
    if status.replicas > status.updated {
        return Progress::Waiting(format!("{} old pods to end", status.replicas - status.updated));
    }
    if status.available < wanted {
        return waiting(status.available, wanted, "available");
    }
    Progress::Done
}

fn stateful_set(workload: &Workload, partition: i64) -> Progress {
    let (wanted, status) = (workload.wanted, &workload.status);
    let to_replace = (wanted - partition).max(0);
    if status.updated < to_replace && status.revisions.as_ref().is_none_or(|(from, to)| from != to) {
        return waiting(status.updated, to_replace, "new");
    }
    if status.available < wanted {
        return waiting(status.available, wanted, "available");
    }
    match &status.revisions {
        Some((from, to)) if partition == 0 && from != to => Progress::Waiting("its controller to finish".to_owned()),
        _ => Progress::Done,
    }
}

fn daemon_set(workload: &Workload) -> Progress {
    let (wanted, status) = (workload.wanted, &workload.status);
    if status.updated < wanted {
        return waiting(status.updated, wanted, "new");
    }
    if status.available < wanted {
        return waiting(status.available, wanted, "available");
    }
    Progress::Done
}

/// Its controller says that it is restarted as soon as its last old pod is on its way out, and with the number of available
/// ones of before.
fn rollout(workload: &Workload, pods: &[PodSeen]) -> Progress {
    let (wanted, status) = (workload.wanted, &workload.status);
    let restarted: Option<Timestamp> = status.restarted_at.as_deref().and_then(|at| at.parse().ok());
    match other(workload, pods) {
        Progress::Done if restarted != workload.last_restart() => {
            Progress::Waiting("its controller to finish".to_owned())
        }
        Progress::Done if status.available < wanted => waiting(status.available, wanted, "available"),
        progress => progress,
    }
}

fn eviction(workload: &Workload, pods: &[PodSeen]) -> Progress {
    let wanted = workload.wanted.max(0) as usize;
    let staying: Vec<&PodSeen> = pods.iter().filter(|pod| !pod.is_leaving).collect();
    if let Some(leaving) = pods.iter().find(|pod| pod.is_leaving) {
        return Progress::Waiting(format!("pod/{} to end", Clean(&leaving.name)));
    }
    let (old, new): (Vec<&PodSeen>, Vec<&PodSeen>) = staying.iter().copied().partition(|pod| !pod.is_new_of(workload));
    if let Some(unready) = new.iter().find(|pod| !pod.is_ready) {
        return Progress::Waiting(format!("pod/{} to be ready{}", Clean(&unready.name), because(unready)));
    }
    if staying.len() < wanted {
        return waiting(staying.len() as i64, wanted as i64, "there");
    }
    // One that is not ready serves nobody; then the last, as a StatefulSet itself would.
    let next = old.iter().max_by_key(|pod| (!pod.is_ready, ordinal(&pod.name), &pod.name));
    match next {
        Some(pod) => Progress::Evict { name: pod.name.clone(), uid: pod.uid.clone(), old: old.len() },
        None => Progress::Done,
    }
}

fn other(workload: &Workload, pods: &[PodSeen]) -> Progress {
    let wanted = workload.wanted.max(0) as usize;
    let (new, old): (Vec<&PodSeen>, Vec<&PodSeen>) = pods.iter().partition(|pod| pod.is_new_of(workload));
    let (old, ready) = (old.len(), new.iter().filter(|pod| pod.is_ready).count());
    if new.len() < wanted {
        return waiting(new.len() as i64, wanted as i64, "new");
    }
    if old > 0 {
        return Progress::Waiting(format!("{old} old pods to end"));
    }
    match new.iter().find(|pod| !pod.is_ready) {
        Some(unready) => Progress::Waiting(format!("{ready} of {} pods are ready{}", new.len(), because(unready))),
        None => Progress::Done,
    }
}

fn because(pod: &PodSeen) -> String {
    pod.hindrance.as_ref().map(|why| format!(" ({why})")).unwrap_or_default()
}

fn ordinal(name: &str) -> Option<u64> {
    name.rsplit_once('-')?.1.parse().ok()
}
