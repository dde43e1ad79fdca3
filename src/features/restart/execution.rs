//! Execution of a restart: marks, waves, waiting, and an end that leaves nothing half written.
//!
//! Guarantees: every workload that is not done bears the mark of the run, so anyone with the right can resume it. A
//! finished workload bears none. An interrupt, also of the process, stops no roll-out that has begun, and begins no
//! other. No two restarts take pods down under one budget at the same time: a rolling mark is a claim that others
//! respect. An API server that does not answer is asked again for as long as the pace allows. That time counts for no
//! timeout.
//!
//! Limits: a process that is killed while it marks has marked only some workloads. The mark holds the planned number,
//! so a resume can report it.

mod observe;
mod retry;
mod tracked;
mod waves;

use std::collections::BTreeMap;

use futures::FutureExt;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::mark::RestartMark;
use super::prepare::RemainingWork;
use super::report::{RestartEnd, RestartReport, RestartStep, WorkloadReason, describe_api_error};
use super::request::RestartPace;
use super::workload::{NamespacedWorkload, WorkloadSnapshot};
use crate::kernel::api_error::ApiError;
use crate::kernel::clock::Clock;
use crate::kubernetes::client::parallel::join_bounded;
use crate::kubernetes::client::restarts::RestartClient;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;
use retry::RetryingCaller;
use tracked::{TrackedWorkload, WorkloadOutcome, WorkloadPhase};

/// Inputs of a restart.
pub struct RestartRunner<'r> {
    /// Client with the rights of the person who restarts.
    pub restarts: &'r RestartClient,
    /// Identifier of the run.
    pub run: &'r str,
    /// Kinds of workloads that other restarts may have marked.
    pub kinds: &'r OwnerKinds,
    pub pace: RestartPace,
    /// Clock for the times in marks and templates.
    pub clock: &'r Clock,
    /// Cancellation stops the restart in order.
    pub cancel: &'r CancellationToken,
    /// Receives each step. It must not block.
    pub on_step: &'r (dyn Fn(RestartStep) + Sync),
}

/// Reason why a restart does not continue.
#[derive(Debug)]
enum StopReason {
    Halted,
    Interrupted,
    Stopped(String),
}

/// Failure of a call.
#[derive(Debug)]
enum StepError {
    /// The restart does not continue.
    Stop(StopReason),
    /// The restart continues without this workload.
    Workload(ApiError),
}

impl StepError {
    /// Stops the restart if the call is about no single workload. `what` begins a sentence.
    fn into_stop(self, what: &str) -> StopReason {
        match self {
            Self::Stop(stop) => stop,
            Self::Workload(why) => StopReason::Stopped(format!("{what}: {why}")),
        }
    }
}

/// Call about one workload, which returns the workload as it is afterwards.
#[derive(Debug, Clone, Copy)]
enum WorkloadCall<'c> {
    AddMark(&'c RestartMark),
    ReadCurrent,
    Claim(Timestamp),
    ReleaseClaim(&'c RestartMark),
    StartRollout(Timestamp),
}

/// Restart in progress: each workload with its phase.
struct RestartExecution<'r> {
    caller: RetryingCaller<'r>,
    restarts: &'r RestartClient,
    kinds: &'r OwnerKinds,
    clock: &'r Clock,
    run: &'r str,
    total: usize,
    finished_before: usize,
    workloads: BTreeMap<NamespacedWorkload, TrackedWorkload>,
    /// Workloads that budgets or other restarts held for too long.
    held: Vec<WorkloadReason>,
}

impl RestartRunner<'_> {
    /// Restarts workloads without a mark, or with the mark of this run.
    pub async fn restart(self, remaining: RemainingWork) -> RestartReport {
        let (total, is_new) = (remaining.total(), remaining.is_new());
        let RemainingWork { workloads, excepted } = remaining;
        let Self { restarts, run, kinds, pace, clock, cancel, on_step } = self;
        let mut execution = RestartExecution {
            caller: RetryingCaller::new(pace, cancel, on_step),
            restarts,
            kinds,
            clock,
            run,
            total,
            finished_before: if is_new { 0 } else { total - workloads.len() },
            workloads: workloads.into_iter().map(|one| (one.name.clone(), TrackedWorkload::new(one))).collect(),
            held: Vec::new(),
        };
        let end = execution.execute(excepted).await;
        execution.release_claims().await;
        execution.into_report(end)
    }
}

impl RestartExecution<'_> {
    async fn execute(&mut self, excepted: Vec<WorkloadSnapshot>) -> Result<(), StopReason> {
        self.unmark_excepted(&excepted).await?;
        self.mark_new().await?;
        self.track_begun();
        // Claims from before a resume, without a roll-out, would keep other restarts waiting.
        self.release_claims().await;
        self.wait_until_up().await?;
        while self.pending().next().is_some() {
            let wave = self.next_wave().await?;
            if !wave.is_empty() {
                self.start_wave(&wave).await?;
                self.wait_until_up().await?;
            }
        }
        Ok(())
    }

    /// Removes the marks of the excepted workloads.
    async fn unmark_excepted(&self, excepted: &[WorkloadSnapshot]) -> Result<(), StopReason> {
        let unmark = |one| self.caller.call(move || self.restarts.remove_mark(one)).boxed();
        let unmarked = join_bounded(excepted.iter().map(unmark)).await;
        for (one, unmarked) in excepted.iter().zip(unmarked) {
            match unmarked {
                Ok(_) | Err(StepError::Workload(ApiError::NotFound(_) | ApiError::Changed(_))) => {}
                Err(why) => return Err(why.into_stop(&format!("cannot remove the mark of {}", one.name))),
            }
        }
        Ok(())
    }

    /// Marks the workloads without a mark. No roll-out begins before all are marked, so an interrupt here leaves
    /// nothing behind.
    async fn mark_new(&mut self) -> Result<(), StopReason> {
        let mark = self.pending_mark();
        let new = self.names_where(|one| one.snapshot.mark.is_none());
        let marked = self.call_each(&new, WorkloadCall::AddMark(&mark)).await;
        if matches!(marked, Err(StopReason::Interrupted)) {
            self.unmark_pending().await;
        }
        for name in self.names_where(|one| one.is_pending() && one.snapshot.mark.is_none()) {
            let why = "the restart stopped before it was marked".to_owned();
            match marked {
                Err(StopReason::Interrupted) => drop(self.workloads.remove(&name)),
                _ => self.set_phase(&name, WorkloadPhase::Finished(WorkloadOutcome::Refused(why))),
            }
        }
        marked.map(drop)
    }

    /// Removes the marks of the pending workloads, and no longer tracks those that have none.
    async fn unmark_pending(&mut self) {
        let marked = self.names_where(|one| one.is_pending() && one.snapshot.mark.is_some());
        let unmark = |name: &NamespacedWorkload| self.restarts.remove_mark(&self.workloads[name].snapshot).boxed();
        let unmarked = join_bounded(marked.iter().map(unmark)).await;
        for (name, unmarked) in marked.iter().zip(unmarked) {
            if unmarked.is_ok() {
                self.workloads.remove(name);
            }
        }
    }

    /// Makes a call for each of these workloads, keeps what it returns, and sets those aside that it fails for.
    /// Returns the others.
    async fn call_each(
        &mut self,
        names: &[NamespacedWorkload],
        call: WorkloadCall<'_>,
    ) -> Result<Vec<NamespacedWorkload>, StopReason> {
        let snapshots = names.iter().map(|name| &self.workloads[name].snapshot);
        let answers = join_bounded(snapshots.map(|one| self.call_one(one, call).boxed())).await;
        let (mut answered, mut stop) = (Vec::new(), None);
        for (name, answer) in names.iter().zip(answers) {
            match answer {
                Ok(current) => {
                    self.tracked_mut(name).snapshot = current;
                    answered.push(name.clone());
                }
                Err(StepError::Workload(why)) => self.set_aside(name, &why).await,
                Err(StepError::Stop(reason)) => stop = Some(reason),
            }
        }
        stop.map_or(Ok(answered), Err)
    }

    async fn call_one(
        &self,
        workload: &WorkloadSnapshot,
        call: WorkloadCall<'_>,
    ) -> Result<WorkloadSnapshot, StepError> {
        let restarts = self.restarts;
        match call {
            WorkloadCall::AddMark(mark) => self.caller.call(|| restarts.add_mark(workload, mark, false)).await,
            WorkloadCall::ReadCurrent => self.caller.call(|| restarts.get_workload_of_run(workload, self.run)).await,
            WorkloadCall::Claim(now) => self.caller.call(|| restarts.claim(workload, now)).await,
            WorkloadCall::ReleaseClaim(mark) => self.caller.call(|| restarts.release_claim(workload, mark)).await,
            WorkloadCall::StartRollout(now) => self.caller.call(|| restarts.start_rollout(workload, now)).await,
        }
    }

    /// Gives up a workload that could not be read or written. A missing or changed workload is passed over, any other
    /// is refused. If the removal of its mark is refused too, the mark stays.
    async fn set_aside(&mut self, name: &NamespacedWorkload, why: &ApiError) {
        self.finish(
            name,
            match why {
                ApiError::NotFound(_) => WorkloadOutcome::Passed("gone".to_owned()),
                ApiError::Changed(why) => WorkloadOutcome::Passed(why.clone()),
                _ => WorkloadOutcome::Refused(describe_api_error(why)),
            },
        );
        let _stays_and_harms_nobody = self.restarts.remove_mark(&self.workloads[name].snapshot).await;
    }

    /// Tells the workloads of a wave to replace their pods.
    async fn start_wave(&mut self, wave: &[NamespacedWorkload]) -> Result<(), StopReason> {
        let over = self.finished_before + self.workloads.values().filter(|one| one.is_over()).count();
        self.report_step(RestartStep::Wave { workloads: wave.to_vec(), over, of: self.total });
        let started = self.call_each(wave, WorkloadCall::StartRollout(self.clock.now())).await;
        self.track_begun();
        started.map(drop)
    }

    /// Reports how a workload ended.
    fn finish(&mut self, name: &NamespacedWorkload, outcome: WorkloadOutcome) {
        self.report_step(outcome.step(name));
        self.set_phase(name, WorkloadPhase::Finished(outcome));
    }

    fn into_report(self, end: Result<(), StopReason>) -> RestartReport {
        let mut report = RestartReport { held: self.held, ..RestartReport::new(self.run) };
        self.workloads.into_iter().for_each(|(name, tracked)| tracked.add_to(&mut report, name));
        report.end = match end {
            Ok(()) => RestartEnd::Completed,
            Err(StopReason::Halted) => RestartEnd::Halted,
            Err(StopReason::Interrupted) => RestartEnd::Interrupted,
            Err(StopReason::Stopped(why)) => RestartEnd::Stopped(why),
        };
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The server runs a restart as a task beside others.
    #[expect(dead_code, reason = "that it compiles is the test")]
    fn a_restart_can_run_as_a_task(runner: RestartRunner<'_>) -> impl Future<Output = RestartReport> + Send {
        runner.restart(RemainingWork::default())
    }
}
