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

mod claims;
mod next_wave;
mod observe;
mod retry;

use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::RestartClient;
use crate::features::restart::mark::{MarkState, RestartMark};
use crate::features::restart::progress::RolloutCounts;
use crate::features::restart::remaining::RemainingWork;
use crate::features::restart::report::{RestartEnd, RestartReport, RestartStep, WorkloadReason};
use crate::features::restart::workload::{NamespacedWorkload, WorkloadSnapshot};
use crate::kernel::api_error::ApiError;
use crate::kernel::clock::Clock;
pub(super) use crate::kubernetes::client::restarts::parallel::{MAX_PARALLEL, join_bounded};
use crate::kubernetes::inventory::owner_kind::OwnerKinds;
use observe::Observation;
use retry::{CallResult, RetryingCaller};

/// Speed and patience of a restart.
#[derive(Debug, Clone, Copy)]
pub struct RestartPace {
    /// Number of workloads that replace their pods at once.
    pub at_once: usize,
    /// Time that a workload may take without progress, and that budgets may hold all workloads.
    pub timeout: Duration,
    /// Time that the API server may be unavailable.
    pub patience: Duration,
}

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

/// Workload that replaces its pods, with its progress and the deadline for more.
struct RollingWorkload {
    workload: WorkloadSnapshot,
    since: Timestamp,
    counts: Option<RolloutCounts>,
    deadline: Instant,
}

impl RollingWorkload {
    fn advance_to(&mut self, now: RolloutCounts) -> bool {
        match &mut self.counts {
            Some(counts) => counts.advance_to(now),
            None => self.counts.replace(now).is_none(),
        }
    }
}

impl RestartRunner<'_> {
    /// Restarts workloads without a mark, or with the mark of this run.
    pub async fn restart(self, remaining: RemainingWork) -> RestartReport {
        let RemainingWork { workloads, excepted } = remaining;
        let Self { restarts, run, kinds, pace, clock, cancel, on_step } = self;
        let marks = || workloads.iter().filter_map(|one| one.mark.as_ref());
        let total = marks().map(|mark| mark.of).max().unwrap_or_default().max(workloads.len());
        let mut state = RestartRun {
            caller: RetryingCaller::new(pace, cancel, on_step),
            restarts,
            kinds,
            clock,
            total,
            finished_before: if marks().next().is_some() { total - workloads.len() } else { 0 },
            pending: workloads,
            rolling: Vec::new(),
            report: RestartReport::new(run),
        };
        let end = state.execute(excepted).await;
        state.into_report(end)
    }
}

/// State of a restart.
struct RestartRun<'r> {
    caller: RetryingCaller<'r>,
    restarts: &'r RestartClient,
    kinds: &'r OwnerKinds,
    clock: &'r Clock,
    total: usize,
    finished_before: usize,
    pending: Vec<WorkloadSnapshot>,
    rolling: Vec<RollingWorkload>,
    report: RestartReport,
}

impl RestartRun<'_> {
    async fn execute(&mut self, excepted: Vec<WorkloadSnapshot>) -> Result<(), StopReason> {
        self.unmark_excepted(excepted).await?;
        self.mark_pending().await?;
        std::mem::take(&mut self.pending).into_iter().for_each(|workload| self.track(workload));
        self.wait_until_up().await?;
        while !self.pending.is_empty() {
            let wave = self.next_wave().await?;
            if !wave.is_empty() {
                self.start_wave(wave).await?;
                self.wait_until_up().await?;
            }
        }
        Ok(())
    }

    fn into_report(mut self, end: Result<(), StopReason>) -> RestartReport {
        let name = |workload: &WorkloadSnapshot| workload.name.clone();
        self.report.pending = self.pending.iter().map(name).collect();
        self.report.rolling = self.rolling.iter().map(|one| name(&one.workload)).collect();
        self.report.end = match end {
            Ok(()) => RestartEnd::Completed,
            Err(StopReason::Halted) => RestartEnd::Halted,
            Err(StopReason::Interrupted) => RestartEnd::Interrupted,
            Err(StopReason::Stopped(why)) => RestartEnd::Stopped(why),
        };
        self.report
    }

    fn report_step(&self, step: RestartStep) {
        self.caller.report_step(step);
    }

    /// Removes the marks of the excepted workloads.
    async fn unmark_excepted(&self, excepted: Vec<WorkloadSnapshot>) -> Result<(), StopReason> {
        let unmark = |one| self.caller.call(move || self.restarts.remove_mark(one)).boxed();
        let unmarked = join_bounded(excepted.iter().map(unmark)).await;
        for (one, unmarked) in excepted.iter().zip(unmarked) {
            match unmarked? {
                Ok(_) | Err(ApiError::NotFound(_) | ApiError::Changed(_)) => {}
                Err(why) => {
                    return Err(StopReason::Stopped(format!("the mark of {} cannot be taken off: {why}", one.name)));
                }
            }
        }
        Ok(())
    }

    /// Marks the workloads without a mark. No roll-out begins before all are marked, so an interrupt here leaves
    /// nothing behind.
    async fn mark_pending(&mut self) -> Result<(), StopReason> {
        let mark = self.pending_mark();
        let all = std::mem::take(&mut self.pending);
        let (marked, fresh): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.mark.is_some());
        // A claim from before the resume, without a roll-out, would keep other restarts waiting.
        let is_claim = |one: &WorkloadSnapshot| {
            one.mark.as_ref().is_some_and(|mark| mark.state != MarkState::Pending) && one.rolling_since().is_none()
        };
        let (claims, marked) = marked.into_iter().partition(is_claim);
        self.pending = marked;
        self.release_claims(claims).await;
        let written = join_bounded(fresh.into_iter().map(|workload| self.add_mark(workload, &mark).boxed())).await;
        let (mut stop, mut unmarked) = (None, Vec::new());
        for (workload, written) in written {
            match written {
                Ok(Ok(marked)) => self.pending.push(marked),
                Ok(Err(why)) => self.set_aside(&workload, &why).await,
                Err(why) => {
                    unmarked.push(workload.name);
                    stop = Some(why);
                }
            }
        }
        match stop {
            None => Ok(()),
            Some(why) => {
                if matches!(why, StopReason::Interrupted) {
                    self.unmark_pending().await;
                    return Err(why);
                }
                let never =
                    |workload| WorkloadReason { workload, why: "the restart stopped before it took it up".to_owned() };
                self.report.refused.extend(unmarked.into_iter().map(never));
                Err(why)
            }
        }
    }

    fn pending_mark(&self) -> RestartMark {
        RestartMark::pending(&self.report.run, self.total)
    }

    async fn add_mark(
        &self,
        workload: WorkloadSnapshot,
        mark: &RestartMark,
    ) -> (WorkloadSnapshot, CallResult<WorkloadSnapshot>) {
        let written = self.caller.call(|| self.restarts.add_mark(&workload, mark, false)).await;
        (workload, written)
    }

    async fn unmark_pending(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let unmarked = join_bounded(pending.iter().map(|workload| self.restarts.remove_mark(workload).boxed())).await;
        let remaining = pending.into_iter().zip(unmarked).filter(|(_, unmarked)| unmarked.is_err());
        self.pending = remaining.map(|(workload, _)| workload).collect();
    }

    /// Gives up a workload that could not be read or written. A missing or changed workload is passed over, any other
    /// is refused.
    async fn set_aside(&mut self, workload: &WorkloadSnapshot, why: &ApiError) {
        let reason = WorkloadReason { workload: workload.name.clone(), why: why.to_string() };
        match why {
            ApiError::NotFound(_) => self.pass_over(WorkloadReason { why: "it is gone".to_owned(), ..reason }),
            ApiError::Changed(_) => self.pass_over(reason),
            _ => {
                self.report_step(RestartStep::Refused { workload: reason.clone() });
                self.report.refused.push(reason);
            }
        }
        self.try_remove_mark(workload).await;
    }

    fn pass_over(&mut self, reason: WorkloadReason) {
        self.report_step(RestartStep::Passed { workload: reason.clone() });
        self.report.passed.push(reason);
    }

    /// Tells the workloads of a wave to replace their pods.
    async fn start_wave(&mut self, wave: Vec<WorkloadSnapshot>) -> Result<(), StopReason> {
        let workloads = wave.iter().map(|one| one.name.clone()).collect();
        self.report_step(RestartStep::Wave { workloads, over: self.finished_count(), of: self.total });
        let now = self.clock.now();
        let written = join_bounded(wave.into_iter().map(|workload| self.start_rollout(workload, now).boxed())).await;
        let mut kept = Vec::new();
        let stop = self.sort_answers(written, &mut kept).await;
        let (begun, remaining): (Vec<_>, Vec<_>) = kept.into_iter().partition(|one| one.rolling_since().is_some());
        begun.into_iter().for_each(|workload| self.track(workload));
        self.release_claims(remaining).await;
        stop
    }

    async fn start_rollout(
        &self,
        workload: WorkloadSnapshot,
        now: Timestamp,
    ) -> (WorkloadSnapshot, CallResult<WorkloadSnapshot>) {
        let written = self.caller.call(|| self.restarts.start_rollout(&workload, now)).await;
        (workload, written)
    }

    /// Removes the mark of an abandoned workload. If that is refused too, the mark stays.
    async fn try_remove_mark(&self, workload: &WorkloadSnapshot) {
        let _stays_and_harms_nobody = self.restarts.remove_mark(workload).await;
    }

    fn finished_count(&self) -> usize {
        let RestartReport { restarted, passed, refused, .. } = &self.report;
        self.finished_before + restarted.len() + passed.len() + refused.len()
    }

    /// Waits for the workload from now on if it is rolling. Otherwise returns it to the pending ones.
    fn track(&mut self, workload: WorkloadSnapshot) {
        let deadline = self.deadline();
        match workload.rolling_since() {
            Some(since) => self.rolling.push(RollingWorkload { workload, since, counts: None, deadline }),
            None => self.pending.push(workload),
        }
    }

    /// Waits until all rolling workloads are up, or have failed.
    async fn wait_until_up(&mut self) -> Result<(), StopReason> {
        while !self.rolling.is_empty() {
            let rolling = std::mem::take(&mut self.rolling);
            let observations =
                join_bounded(rolling.iter().map(|one| self.observe(&one.workload, one.since).boxed())).await;
            let mut stop = Ok(());
            for (one, observation) in rolling.into_iter().zip(observations) {
                match observation {
                    Ok(observation) => self.handle_observation(one, observation).await,
                    Err(why) => {
                        self.rolling.push(one);
                        stop = Err(why);
                    }
                }
            }
            stop?;
            if !self.rolling.is_empty() {
                self.caller.pause().await?;
            }
        }
        if self.report.not_up.is_empty() { Ok(()) } else { Err(StopReason::Halted) }
    }

    async fn handle_observation(&mut self, mut one: RollingWorkload, observation: Observation) {
        let name = one.workload.name.clone();
        match observation {
            Observation::Done => {
                self.report_step(RestartStep::Restarted { workload: name.clone() });
                self.report.restarted.push(name);
            }
            Observation::Passed(why) => self.pass_over(WorkloadReason { workload: name, why }),
            Observation::NotUp(why) => self.report_not_up(name, why),
            Observation::Evicted(what) => {
                one.deadline = self.deadline();
                self.keep_waiting(one, what);
            }
            Observation::Waiting(what, counts) => {
                if counts.is_some_and(|counts| one.advance_to(counts)) {
                    one.deadline = self.deadline();
                }
                if self.caller.now_without_outages() <= one.deadline {
                    return self.keep_waiting(one, what);
                }
                let why = self.explain_not_up(&one.workload, &format!("it still waits for {what}")).await;
                self.report_not_up(name, why);
            }
        }
    }

    fn deadline(&self) -> Instant {
        self.caller.now_without_outages() + self.caller.pace.timeout
    }

    fn keep_waiting(&mut self, one: RollingWorkload, what: String) {
        self.report_step(RestartStep::Waiting { workload: one.workload.name.clone(), what });
        self.rolling.push(one);
    }

    fn report_not_up(&mut self, workload: NamespacedWorkload, why: String) {
        let reason = WorkloadReason { workload, why };
        self.report_step(RestartStep::NotUp { workload: reason.clone() });
        self.report.not_up.push(reason);
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
