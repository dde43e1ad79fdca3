//! Workloads of a restart in progress, and their phases.

use jiff::Timestamp;
use tokio::time::Instant;

use super::RestartExecution;
use crate::features::restart::mark::RestartMark;
use crate::features::restart::progress::RolloutCounts;
use crate::features::restart::report::{RestartReport, RestartStep, WorkloadReason};
use crate::features::restart::workload::{NamespacedWorkload, WorkloadSnapshot};

/// Workload as it was last read or written, and its phase.
pub(super) struct TrackedWorkload {
    pub(super) snapshot: WorkloadSnapshot,
    pub(super) phase: WorkloadPhase,
}

/// Phase of a workload.
pub(super) enum WorkloadPhase {
    /// The workload waits for its wave.
    Pending,
    /// The workload is taken for the next wave. Its mark may claim a budget, and its pods are untouched.
    Claimed,
    /// The workload replaces its pods.
    Rolling {
        since: Timestamp,
        counts: Option<RolloutCounts>,
        /// End of the time without progress.
        deadline: Instant,
    },
    Finished(WorkloadOutcome),
}

/// End of a workload, with the reason.
#[derive(Debug, Clone)]
pub(super) enum WorkloadOutcome {
    Restarted,
    /// The workload does not belong to this restart any more.
    Passed(String),
    /// The workload could not be told to replace its pods.
    Refused(String),
    /// The workload does not come up. It keeps its mark.
    NotUp(String),
}

impl TrackedWorkload {
    pub(super) fn new(snapshot: WorkloadSnapshot) -> Self {
        let phase = if snapshot.is_claim() { WorkloadPhase::Claimed } else { WorkloadPhase::Pending };
        Self { snapshot, phase }
    }

    pub(super) fn is_pending(&self) -> bool {
        matches!(self.phase, WorkloadPhase::Pending)
    }

    pub(super) fn is_claimed(&self) -> bool {
        matches!(self.phase, WorkloadPhase::Claimed)
    }

    pub(super) fn is_rolling(&self) -> bool {
        matches!(self.phase, WorkloadPhase::Rolling { .. })
    }

    pub(super) fn is_not_up(&self) -> bool {
        matches!(self.phase, WorkloadPhase::Finished(WorkloadOutcome::NotUp(_)))
    }

    /// Returns whether nothing is left to do.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, WorkloadPhase::Finished(_)) && !self.is_not_up()
    }

    /// Returns the start of the roll-out.
    pub(super) fn since(&self) -> Option<Timestamp> {
        if let WorkloadPhase::Rolling { since, .. } = self.phase { Some(since) } else { None }
    }

    pub(super) fn extend(&mut self, new_deadline: Instant) {
        if let WorkloadPhase::Rolling { deadline, .. } = &mut self.phase {
            *deadline = new_deadline;
        }
    }

    /// Takes over newer counts, which extend the time if they show progress. Returns whether the time is not over.
    pub(super) fn keeps_waiting(&mut self, now_counts: Option<RolloutCounts>, now: Instant, extended: Instant) -> bool {
        let WorkloadPhase::Rolling { counts, deadline, .. } = &mut self.phase else { return false };
        let moved = now_counts.is_some_and(|now_counts| match counts {
            Some(counts) => counts.advance_to(now_counts),
            None => counts.replace(now_counts).is_none(),
        });
        if moved {
            *deadline = extended;
        }
        now <= *deadline
    }

    /// Adds the workload to the list of a report that its phase belongs to.
    pub(super) fn add_to(self, report: &mut RestartReport, workload: NamespacedWorkload) {
        match self.phase {
            WorkloadPhase::Pending | WorkloadPhase::Claimed => report.pending.push(workload),
            WorkloadPhase::Rolling { .. } => report.rolling.push(workload),
            WorkloadPhase::Finished(WorkloadOutcome::Restarted) => report.restarted.push(workload),
            WorkloadPhase::Finished(WorkloadOutcome::Passed(why)) => {
                report.passed.push(WorkloadReason { workload, why })
            }
            WorkloadPhase::Finished(WorkloadOutcome::Refused(why)) => {
                report.refused.push(WorkloadReason { workload, why })
            }
            WorkloadPhase::Finished(WorkloadOutcome::NotUp(why)) => {
                report.not_up.push(WorkloadReason { workload, why })
            }
        }
    }
}

impl WorkloadOutcome {
    pub(super) fn step(&self, name: &NamespacedWorkload) -> RestartStep {
        let reason = |why: &str| WorkloadReason { workload: name.clone(), why: why.to_owned() };
        match self {
            Self::Restarted => RestartStep::Restarted { workload: name.clone() },
            Self::Passed(why) => RestartStep::Passed { workload: reason(why) },
            Self::Refused(why) => RestartStep::Refused { workload: reason(why) },
            Self::NotUp(why) => RestartStep::NotUp { workload: reason(why) },
        }
    }
}

impl RestartExecution<'_> {
    pub(super) fn tracked_mut(&mut self, name: &NamespacedWorkload) -> &mut TrackedWorkload {
        self.workloads.get_mut(name).expect("names come from the map, which loses only unmarked workloads")
    }

    pub(super) fn set_phase(&mut self, name: &NamespacedWorkload, phase: WorkloadPhase) {
        self.tracked_mut(name).phase = phase;
    }

    pub(super) fn names_where(&self, is_meant: impl Fn(&TrackedWorkload) -> bool) -> Vec<NamespacedWorkload> {
        self.workloads.iter().filter(|(_, one)| is_meant(one)).map(|(name, _)| name.clone()).collect()
    }

    /// Returns the workloads that wait for their wave, in the order of the plan.
    pub(super) fn pending(&self) -> impl Iterator<Item = &WorkloadSnapshot> {
        self.workloads.values().filter(|one| one.is_pending()).map(|one| &one.snapshot)
    }

    /// Moves the pending and claimed workloads whose roll-out has begun to the rolling phase.
    pub(super) fn track_begun(&mut self) {
        let deadline = self.deadline();
        for TrackedWorkload { snapshot, phase } in self.workloads.values_mut() {
            if let (WorkloadPhase::Pending | WorkloadPhase::Claimed, Some(since)) = (&phase, snapshot.rolling_since()) {
                *phase = WorkloadPhase::Rolling { since, counts: None, deadline };
            }
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.caller.now_without_outages() + self.caller.pace.timeout
    }

    pub(super) fn pending_mark(&self) -> RestartMark {
        RestartMark::pending(self.run, self.total)
    }

    pub(super) fn report_step(&self, step: RestartStep) {
        self.caller.report_step(step);
    }
}
