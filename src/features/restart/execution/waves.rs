//! Selection of the next wave. Its workloads are read again just before, because others change workloads during a
//! restart.
//!
//! Of several restarts under one budget only one proceeds at a time: a restart claims a workload before it looks at the
//! others.

use std::collections::BTreeSet;

use futures::FutureExt;

use super::tracked::{TrackedWorkload, WorkloadOutcome, WorkloadPhase};
use super::{RestartExecution, StopReason, WorkloadCall};
use crate::features::restart::report::{RestartStep, WorkloadReason};
use crate::features::restart::strategy::RolloutStrategy;
use crate::features::restart::wave::{ClaimVerdict, DisruptionBudget, judge_claim, next_wave};
use crate::features::restart::workload::{NamespacedWorkload, WorkloadSnapshot};
use crate::kubernetes::client::parallel::join_bounded;

/// Next wave, freshly read.
struct PlannedWave {
    starting: Vec<NamespacedWorkload>,
    held: Vec<WorkloadReason>,
    budgets: Vec<DisruptionBudget>,
}

/// Workloads of a wave that may start, and those that gave way to other restarts.
type SettledClaims = (Vec<NamespacedWorkload>, Vec<WorkloadReason>);

impl RestartExecution<'_> {
    /// Returns the next wave, freshly read and claimed. Waits while budgets or other restarts hold all workloads.
    /// Returns an empty wave if none is left.
    pub(super) async fn next_wave(&mut self) -> Result<Vec<NamespacedWorkload>, StopReason> {
        let over = self.deadline();
        let mut last = Vec::new();
        loop {
            let PlannedWave { starting, mut held, budgets } = self.plan_wave().await?;
            let (wave, yielded) = self.claim_wave(&starting, &budgets).await?;
            if !wave.is_empty() || self.pending().next().is_none() {
                return Ok(wave);
            }
            held.extend(yielded);
            if held != last {
                self.report_step(RestartStep::Held { workloads: held.clone(), more: 0 });
                last.clone_from(&held);
            }
            if self.caller.now_without_outages() > over {
                self.held = held;
                return Err(StopReason::Halted);
            }
            self.caller.pause().await?;
        }
    }

    /// Plans a wave of freshly read workloads. Of the held workloads at most `at_once` are read again.
    async fn plan_wave(&mut self) -> Result<PlannedWave, StopReason> {
        let at_once = self.caller.pace.at_once;
        let budgets = self.read_budgets().await?;
        let (mut read, mut others) = (BTreeSet::new(), None);
        loop {
            let pending: Vec<&WorkloadSnapshot> = self.pending().collect();
            let beside: &[WorkloadSnapshot] = others.as_deref().unwrap_or_default();
            let wave = next_wave(&pending, &budgets, beside, at_once);
            let name = |place: &usize| pending[*place].name.clone();
            let held = wave.held.iter().map(|(place, _)| place).take(at_once);
            let stale: Vec<_> = wave.starting.iter().chain(held).map(name).filter(|one| !read.contains(one)).collect();
            let is_limited = |place: &usize| budgets.iter().any(|budget| budget.limits(pending[*place]));
            if !stale.is_empty() {
                self.refresh(&stale).await?;
                read.extend(stale);
            } else if others.is_none() && wave.starting.iter().any(is_limited) {
                // The claim checks the starting workloads once more.
                let starting: Vec<_> = wave.starting.iter().map(name).collect();
                others = Some(self.read_other_restarts(&starting).await?);
            } else {
                let starting = wave.starting.iter().map(name).collect();
                let reason = |(place, why)| WorkloadReason { workload: name(&place), why };
                let held = wave.held.into_iter().map(reason).collect();
                return Ok(PlannedWave { starting, held, budgets });
            }
        }
    }

    /// Reads pending workloads again, and passes over those with nothing to replace any more.
    async fn refresh(&mut self, names: &[NamespacedWorkload]) -> Result<(), StopReason> {
        for name in self.call_each(names, WorkloadCall::ReadCurrent).await? {
            let snapshot = &self.workloads[&name].snapshot;
            if let RolloutStrategy::Never(reason) = snapshot.strategy {
                let _stays_and_harms_nobody = self.restarts.remove_mark(snapshot).await;
                self.finish(&name, WorkloadOutcome::Passed(reason.to_string()));
            }
        }
        Ok(())
    }

    async fn read_budgets(&self) -> Result<Vec<DisruptionBudget>, StopReason> {
        let namespaces: BTreeSet<&str> = self.pending().map(|one| one.name.namespace.as_str()).collect();
        let mut budgets = Vec::new();
        for namespace in namespaces {
            let listed = self.caller.call(|| self.restarts.list_budgets(namespace)).await;
            let cannot_tell = "cannot tell what PodDisruptionBudgets allow";
            budgets.extend(listed.map_err(|why| why.into_stop(cannot_tell))?);
        }
        Ok(budgets)
    }

    /// Claims a wave. After an error, the claims are still to be released.
    async fn claim_wave(
        &mut self,
        wave: &[NamespacedWorkload],
        budgets: &[DisruptionBudget],
    ) -> Result<SettledClaims, StopReason> {
        wave.iter().for_each(|name| self.set_phase(name, WorkloadPhase::Claimed));
        let is_limited =
            |name: &NamespacedWorkload| budgets.iter().any(|budget| budget.limits(&self.workloads[name].snapshot));
        let (limited, mut free): (Vec<_>, Vec<_>) = wave.iter().cloned().partition(is_limited);
        let (over, now) = (self.deadline(), self.clock.now());
        let mut open = self.call_each(&limited, WorkloadCall::Claim(now)).await?;
        let (mark, mut held) = (self.pending_mark(), Vec::new());
        while !open.is_empty() {
            let others = self.read_other_restarts(&open).await?;
            let is_over = self.caller.now_without_outages() > over;
            let (mut still_open, mut yielding) = (Vec::new(), Vec::new());
            for name in open {
                match judge_claim(&self.workloads[&name].snapshot, budgets, &others) {
                    ClaimVerdict::Holds => free.push(name),
                    ClaimVerdict::Waits(_) if !is_over => still_open.push(name),
                    ClaimVerdict::Waits(why) | ClaimVerdict::Yields(why) => {
                        held.push(WorkloadReason { workload: name.clone(), why });
                        yielding.push(name);
                    }
                }
            }
            let yielded = self.call_each(&yielding, WorkloadCall::ReleaseClaim(&mark)).await?;
            yielded.iter().for_each(|name| self.set_phase(name, WorkloadPhase::Pending));
            open = still_open;
            if !open.is_empty() {
                self.caller.pause().await?;
            }
        }
        Ok((free, held))
    }

    /// Returns the claimed workloads to the pending phase, because the restart stops before they begin.
    pub(super) async fn release_claims(&mut self) {
        let (claimed, mark) = (self.names_where(TrackedWorkload::is_claimed), self.pending_mark());
        let release =
            |name: &NamespacedWorkload| self.restarts.release_claim(&self.workloads[name].snapshot, &mark).boxed();
        let released = join_bounded(claimed.iter().map(release)).await;
        for (name, released) in claimed.iter().zip(released) {
            let tracked = self.tracked_mut(name);
            tracked.phase = WorkloadPhase::Pending;
            if let Ok(released) = released {
                tracked.snapshot = released;
            }
        }
    }

    /// Lists the workloads that other restarts have marked as rolling, in the namespaces of `names`.
    async fn read_other_restarts(&self, names: &[NamespacedWorkload]) -> Result<Vec<WorkloadSnapshot>, StopReason> {
        let namespaces: BTreeSet<&str> = names.iter().map(|name| name.namespace.as_str()).collect();
        let mut others = Vec::new();
        for namespace in namespaces {
            let listed = self.caller.call(|| self.restarts.list_other_rolling(self.run, self.kinds, namespace)).await;
            others.extend(listed.map_err(|why| why.into_stop("cannot tell what other restarts do"))?);
        }
        Ok(others)
    }
}
