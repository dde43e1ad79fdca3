//! Claims: of several restarts under one budget only one proceeds at a time. A restart claims a workload before it
//! looks at the others.

use std::collections::BTreeSet;

use futures::FutureExt;
use jiff::Timestamp;

use super::retry::CallResult;
use super::{RestartRun, StopReason};
use crate::features::restart::budget::DisruptionBudget;
use crate::features::restart::report::WorkloadReason;
use crate::features::restart::wave::{ClaimVerdict, judge_claim};
use crate::features::restart::workload::WorkloadSnapshot;
use crate::kubernetes::client::restarts::parallel::join_bounded;

/// Wave in the process of being claimed.
struct WaveClaims {
    /// Workloads that may start.
    free: Vec<WorkloadSnapshot>,
    /// Workloads whose claim is not decided.
    open: Vec<WorkloadSnapshot>,
    /// Workloads that gave way, with the reason.
    held: Vec<WorkloadReason>,
}

impl RestartRun<'_> {
    /// Claims a wave. Returns the workloads that may start, and those that gave way to other restarts.
    pub(super) async fn claim_wave(
        &mut self,
        wave: Vec<WorkloadSnapshot>,
        budgets: &[DisruptionBudget],
    ) -> Result<(Vec<WorkloadSnapshot>, Vec<WorkloadReason>), StopReason> {
        let is_limited = |one: &WorkloadSnapshot| budgets.iter().any(|budget| budget.limits(one));
        let (open, free) = wave.into_iter().partition(is_limited);
        let mut claims = WaveClaims { free, open, held: Vec::new() };
        let settled = self.settle_claims(&mut claims, budgets).await;
        let WaveClaims { free, open, held } = claims;
        if let Err(stop) = settled {
            self.release_claims([free, open].concat()).await;
            return Err(stop);
        }
        Ok((free, held))
    }

    /// Returns claimed workloads to the pending ones when the restart stops before they begin.
    pub(super) async fn release_claims(&mut self, workloads: Vec<WorkloadSnapshot>) {
        let mark = self.pending_mark();
        let released = join_bounded(workloads.iter().map(|one| self.restarts.release_claim(one, &mark).boxed())).await;
        let pending = workloads.into_iter().zip(released).map(|(workload, released)| released.unwrap_or(workload));
        self.pending.extend(pending);
    }

    async fn settle_claims(&mut self, claims: &mut WaveClaims, budgets: &[DisruptionBudget]) -> Result<(), StopReason> {
        let (started, now) = (self.caller.now_without_outages(), self.clock.now());
        let open = std::mem::take(&mut claims.open);
        let written = join_bounded(open.into_iter().map(|workload| self.claim(workload, now).boxed())).await;
        self.sort_answers(written, &mut claims.open).await?;
        while !claims.open.is_empty() {
            let others = self.read_other_restarts(claims.open.iter()).await?;
            let is_over = self.caller.now_without_outages() > started + self.caller.pace.timeout;
            let mut yielding = Vec::new();
            for workload in std::mem::take(&mut claims.open) {
                match judge_claim(&workload, budgets, &others) {
                    ClaimVerdict::Holds => claims.free.push(workload),
                    ClaimVerdict::Waits(_) if !is_over => claims.open.push(workload),
                    ClaimVerdict::Waits(why) | ClaimVerdict::Yields(why) => {
                        claims.held.push(WorkloadReason { workload: workload.name.clone(), why });
                        yielding.push(workload);
                    }
                }
            }
            let yielded = join_bounded(yielding.into_iter().map(|workload| self.yield_claim(workload).boxed())).await;
            let mut pending = Vec::new();
            let kept = self.sort_answers(yielded, &mut pending).await;
            self.pending.extend(pending);
            kept?;
            if !claims.open.is_empty() {
                self.caller.pause().await?;
            }
        }
        Ok(())
    }

    /// Collects the workloads that were read or written in `kept`, and sets the failed ones aside.
    pub(super) async fn sort_answers(
        &mut self,
        answers: Vec<(WorkloadSnapshot, CallResult<WorkloadSnapshot>)>,
        kept: &mut Vec<WorkloadSnapshot>,
    ) -> Result<(), StopReason> {
        let mut stop = Ok(());
        for (workload, answer) in answers {
            match answer {
                Ok(Ok(current)) => kept.push(current),
                Ok(Err(why)) => self.set_aside(&workload, &why).await,
                Err(why) => {
                    kept.push(workload);
                    stop = Err(why);
                }
            }
        }
        stop
    }

    async fn claim(
        &self,
        workload: WorkloadSnapshot,
        now: Timestamp,
    ) -> (WorkloadSnapshot, CallResult<WorkloadSnapshot>) {
        let claimed = self.caller.call(|| self.restarts.claim(&workload, now)).await;
        (workload, claimed)
    }

    async fn yield_claim(&self, workload: WorkloadSnapshot) -> (WorkloadSnapshot, CallResult<WorkloadSnapshot>) {
        let mark = self.pending_mark();
        let yielded = self.caller.call(|| self.restarts.release_claim(&workload, &mark)).await;
        (workload, yielded)
    }

    /// Lists the workloads that other restarts have marked as rolling, in the namespaces of `workloads`.
    pub(super) async fn read_other_restarts(
        &self,
        workloads: impl Iterator<Item = &WorkloadSnapshot>,
    ) -> Result<Vec<WorkloadSnapshot>, StopReason> {
        let namespaces: BTreeSet<&str> = workloads.map(|one| one.name.namespace.as_str()).collect();
        let mut others = Vec::new();
        for namespace in namespaces {
            let found =
                self.caller.call(|| self.restarts.list_other_rolling(&self.report.run, self.kinds, namespace)).await?;
            let cannot_tell = |why| StopReason::Stopped(format!("what other restarts do cannot be told: {why}"));
            others.extend(found.map_err(cannot_tell)?);
        }
        Ok(others)
    }
}
