//! Selection of the next wave. Its workloads are read again just before, because others change workloads during a
//! restart.

use std::collections::BTreeSet;

use futures::FutureExt;

use super::retry::CallResult;
use super::{RestartRun, StopReason};
use crate::features::restart::budget::DisruptionBudget;
use crate::features::restart::report::{RestartStep, WorkloadReason};
use crate::features::restart::strategy::RolloutStrategy;
use crate::features::restart::wave::{RestartWave, next_wave};
use crate::features::restart::workload::WorkloadSnapshot;
use crate::kubernetes::client::restarts::parallel::join_bounded;
use crate::kubernetes::client::restarts::write::mark_changed;

impl RestartRun<'_> {
    /// Returns the next wave, freshly read and claimed. Waits while budgets or other restarts hold all workloads.
    /// Returns an empty wave if none is left.
    pub(super) async fn next_wave(&mut self) -> Result<Vec<WorkloadSnapshot>, StopReason> {
        let started = self.caller.now_without_outages();
        let mut last = Vec::new();
        loop {
            let (wave, budgets) = self.plan_wave().await?;
            let mut held: Vec<WorkloadReason> =
                wave.held.iter().map(|(place, why)| self.reason_for(*place, why)).collect();
            let wave_workloads = self.take_pending(&wave.starting);
            let (wave_workloads, yielding) = self.claim_wave(wave_workloads, &budgets).await?;
            if !wave_workloads.is_empty() || self.pending.is_empty() {
                return Ok(wave_workloads);
            }
            held.extend(yielding);
            if held != last {
                self.report_step(RestartStep::Held { workloads: held.clone(), more: 0 });
                last.clone_from(&held);
            }
            if self.caller.now_without_outages() > started + self.caller.pace.timeout {
                self.report.held = held;
                return Err(StopReason::Halted);
            }
            self.caller.pause().await?;
        }
    }

    /// Plans a wave of freshly read workloads, and returns it with the budgets. Of the held workloads at most
    /// `at_once` are read again.
    async fn plan_wave(&mut self) -> Result<(RestartWave, Vec<DisruptionBudget>), StopReason> {
        let at_once = self.caller.pace.at_once;
        let budgets = self.read_budgets().await?;
        let (mut read, mut others) = (BTreeSet::new(), None);
        loop {
            let beside: &[WorkloadSnapshot] = others.as_deref().unwrap_or_default();
            let wave = next_wave(&self.pending, &budgets, beside, at_once);
            let held = wave.held.iter().map(|(place, _)| place).take(at_once);
            let uids = wave.starting.iter().chain(held).map(|place| &self.pending[*place].uid);
            let stale: BTreeSet<String> = uids.filter(|uid| !read.contains(*uid)).cloned().collect();
            let is_limited = |place: &usize| budgets.iter().any(|budget| budget.limits(&self.pending[*place]));
            if !stale.is_empty() {
                self.refresh(&stale).await?;
                read.extend(stale);
            } else if others.is_none() && wave.starting.iter().any(is_limited) {
                // The claim checks the starting workloads once more.
                others = Some(self.read_other_restarts(wave.starting.iter().map(|place| &self.pending[*place])).await?);
            } else {
                return Ok((wave, budgets));
            }
        }
    }

    /// Reads some pending workloads again, and passes over those with nothing to replace any more.
    async fn refresh(&mut self, uids: &BTreeSet<String>) -> Result<(), StopReason> {
        let is_stale = |one: &WorkloadSnapshot| uids.contains(&one.uid);
        let (stale, others) = std::mem::take(&mut self.pending).into_iter().partition(is_stale);
        self.pending = others;
        let answers = join_bounded(Vec::into_iter(stale).map(|workload| self.read_current(workload).boxed())).await;
        let mut current = Vec::new();
        let kept = self.sort_answers(answers, &mut current).await;
        for workload in current {
            if let RolloutStrategy::Never(reason) = workload.strategy {
                self.try_remove_mark(&workload).await;
                self.pass_over(WorkloadReason { workload: workload.name, why: reason.to_string() });
            } else {
                self.pending.push(workload);
            }
        }
        self.pending.sort_by(|one, other| one.name.cmp(&other.name));
        kept
    }

    /// Reads a workload again. Fails if it no longer bears the mark of this run.
    async fn read_current(&self, workload: WorkloadSnapshot) -> (WorkloadSnapshot, CallResult<WorkloadSnapshot>) {
        let read = async || {
            let current = self.restarts.get_workload(&workload).await?;
            let is_ours = current.mark.as_ref().is_some_and(|mark| mark.run == self.report.run);
            if is_ours { Ok(current) } else { Err(mark_changed(current.mark.as_ref())) }
        };
        let answers = self.caller.call(|| read().boxed()).await;
        (workload, answers)
    }

    fn reason_for(&self, place: usize, why: &str) -> WorkloadReason {
        WorkloadReason { workload: self.pending[place].name.clone(), why: why.to_owned() }
    }

    /// Removes the workloads at these positions from the pending ones and returns them.
    fn take_pending(&mut self, places: &[usize]) -> Vec<WorkloadSnapshot> {
        let pending = std::mem::take(&mut self.pending).into_iter().enumerate();
        let (taken, left): (Vec<_>, Vec<_>) = pending.partition(|(place, _)| places.contains(place));
        self.pending = left.into_iter().map(|(_, workload)| workload).collect();
        taken.into_iter().map(|(_, workload)| workload).collect()
    }

    async fn read_budgets(&self) -> Result<Vec<DisruptionBudget>, StopReason> {
        let namespaces: BTreeSet<&str> = self.pending.iter().map(|one| one.name.namespace.as_str()).collect();
        let mut budgets = Vec::new();
        for namespace in namespaces {
            let listed = self.caller.call(|| self.restarts.list_budgets(namespace)).await?;
            let cannot_tell =
                |why| StopReason::Stopped(format!("what PodDisruptionBudgets allow cannot be told: {why}"));
            budgets.extend(listed.map_err(cannot_tell)?);
        }
        Ok(budgets)
    }
}
