//! Observation of rolling workloads until they are up, and the immediate reaction.

use futures::FutureExt;

use super::tracked::{TrackedWorkload, WorkloadOutcome};
use super::{RestartExecution, StepError, StopReason};
use crate::features::restart::mark::mark_changed;
use crate::features::restart::pods::{PodSnapshot, explain_not_up};
use crate::features::restart::progress::{RolloutCounts, RolloutProgress, needs_pods, rollout_progress};
use crate::features::restart::report::RestartStep;
use crate::features::restart::strategy::RolloutStrategy;
use crate::features::restart::workload::{NamespacedWorkload, WorkloadSnapshot};
use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::parallel::join_bounded;
use crate::kubernetes::client::restarts::EvictionResult;

/// Result of an observation.
enum Observation {
    Finished(WorkloadOutcome),
    /// The roll-out goes on: the thing it waits for, and the pod counts if known.
    Waiting(String, Option<RolloutCounts>),
    Evicted(String),
}

impl RestartExecution<'_> {
    /// Waits until all rolling workloads are up, or have failed.
    pub(super) async fn wait_until_up(&mut self) -> Result<(), StopReason> {
        loop {
            let rolling = self.names_where(TrackedWorkload::is_rolling);
            if rolling.is_empty() {
                break;
            }
            let observe = |name: &NamespacedWorkload| self.observe(&self.workloads[name]).boxed();
            let observations = join_bounded(rolling.iter().map(observe)).await;
            let mut stop = None;
            for (name, observation) in rolling.iter().zip(observations) {
                match observation {
                    Ok(observation) => self.handle_observation(name, observation).await,
                    Err(why) => stop = Some(why),
                }
            }
            stop.map_or(Ok(()), Err)?;
            if self.workloads.values().any(TrackedWorkload::is_rolling) {
                self.caller.pause().await?;
            }
        }
        if self.workloads.values().any(TrackedWorkload::is_not_up) { Err(StopReason::Halted) } else { Ok(()) }
    }

    async fn handle_observation(&mut self, name: &NamespacedWorkload, observation: Observation) {
        let (now, deadline) = (self.caller.now_without_outages(), self.deadline());
        let tracked = self.tracked_mut(name);
        match observation {
            Observation::Finished(outcome) => self.finish(name, outcome),
            Observation::Evicted(what) => {
                tracked.extend(deadline);
                self.report_step(RestartStep::Waiting { workload: name.clone(), what });
            }
            Observation::Waiting(what, counts) if tracked.keeps_waiting(counts, now, deadline) => {
                self.report_step(RestartStep::Waiting { workload: name.clone(), what });
            }
            Observation::Waiting(what, _) => {
                let waits_for = format!("still waiting for {what}");
                let why = self.explain_not_up(&self.workloads[name].snapshot, &waits_for).await;
                self.finish(name, WorkloadOutcome::NotUp(why));
            }
        }
    }

    async fn observe(&self, tracked: &TrackedWorkload) -> Result<Observation, StopReason> {
        let waits_for_right =
            |what: &str, why: ApiError| Ok(Observation::Waiting(format!("the right to {what} ({why})"), None));
        let passed = |why: String| Ok(Observation::Finished(WorkloadOutcome::Passed(why)));
        let current = match self.caller.call(|| self.restarts.get_workload(&tracked.snapshot)).await {
            Ok(current) => current,
            Err(StepError::Stop(stop)) => return Err(stop),
            Err(StepError::Workload(ApiError::NotFound(_))) => return passed("gone".to_owned()),
            Err(StepError::Workload(why)) => return waits_for_right("read it", why),
        };
        if current.mark.as_ref().is_none_or(|mark| mark.run != self.run) {
            return passed(mark_changed(current.mark.as_ref()).to_string());
        }
        let pods = match needs_pods(&current) {
            true => self.caller.call(|| self.restarts.list_pods_of(&current)).await,
            false => Ok(Vec::new()),
        };
        match pods {
            Ok(pods) => self.react(tracked, current, &pods).await,
            Err(StepError::Stop(stop)) => Err(stop),
            Err(StepError::Workload(why)) => waits_for_right("list its pods", why),
        }
    }

    async fn react(
        &self,
        tracked: &TrackedWorkload,
        current: WorkloadSnapshot,
        pods: &[PodSnapshot],
    ) -> Result<Observation, StopReason> {
        let Some(since) = tracked.since() else { return Ok(Observation::Waiting("its roll-out".to_owned(), None)) };
        match rollout_progress(&current, pods, since) {
            RolloutProgress::Done => self.unmark(&current, WorkloadOutcome::Restarted).await,
            RolloutProgress::Obsolete(why) => self.unmark(&current, WorkloadOutcome::Passed(why)).await,
            RolloutProgress::Waiting(what) => Ok(Observation::Waiting(what, RolloutCounts::count(&current, pods))),
            RolloutProgress::GivenUp(why) => {
                let why = self.explain_not_up(&current, &format!("its controller has given up: {why}")).await;
                Ok(Observation::Finished(WorkloadOutcome::NotUp(why)))
            }
            RolloutProgress::TemplateReverted => {
                // The workload takes nothing down, and hinders nobody.
                let mark = self.pending_mark();
                match self.caller.call(|| self.restarts.release_claim(&current, &mark)).await {
                    Err(StepError::Stop(stop)) => return Err(stop),
                    Ok(_) | Err(StepError::Workload(_)) => {}
                }
                let why = "its pod template was put back, so it keeps its old pods; resume to restart it again";
                Ok(Observation::Finished(WorkloadOutcome::NotUp(why.to_owned())))
            }
            RolloutProgress::Evict { name, uid, old } => {
                let namespace = &current.name.namespace;
                let evicted = self.caller.call(|| self.restarts.evict(namespace, &name, &uid)).await;
                judge_eviction(evicted, &name, old - 1)
            }
        }
    }

    /// Removes the mark of a finished workload. A concurrent write by others does not matter.
    async fn unmark(&self, current: &WorkloadSnapshot, outcome: WorkloadOutcome) -> Result<Observation, StopReason> {
        match self.caller.call(|| self.restarts.remove_mark(current)).await {
            Err(StepError::Stop(stop)) => Err(stop),
            Err(StepError::Workload(why @ ApiError::Forbidden(_))) if matches!(outcome, WorkloadOutcome::Restarted) => {
                Ok(Observation::Waiting(format!("the right to remove its mark ({why})"), None))
            }
            Ok(_) | Err(StepError::Workload(_)) => Ok(Observation::Finished(outcome)),
        }
    }

    /// Explains why a workload does not come up, as far as pods, events and budgets show.
    async fn explain_not_up(&self, workload: &WorkloadSnapshot, waits_for: &str) -> String {
        let pods = self.restarts.list_pods_of(workload).await.unwrap_or_default();
        let warnings = self.restarts.list_warnings(workload).await;
        explain_not_up(&format!("{waits_for}{}", self.describe_blocking_budget(workload).await), &pods, &warnings)
    }

    /// Names the budget that stops the evictions of Argo Rollouts, which reports this nowhere.
    async fn describe_blocking_budget(&self, workload: &WorkloadSnapshot) -> String {
        if workload.strategy != RolloutStrategy::Rollout {
            return String::new();
        }
        let budgets = self.restarts.list_budgets(&workload.name.namespace).await.unwrap_or_default();
        let found = budgets.iter().find(|budget| budget.covers(workload) && budget.allowed_disruptions() < 1);
        found.map(|budget| format!("; {}", budget.refusal())).unwrap_or_default()
    }
}

fn judge_eviction(
    evicted: Result<EvictionResult, StepError>,
    pod: &str,
    left: usize,
) -> Result<Observation, StopReason> {
    match evicted {
        Ok(EvictionResult::Evicted) => {
            Ok(Observation::Evicted(format!("the successor of pod/{pod}; {left} more are old")))
        }
        Ok(EvictionResult::Held(why)) => Ok(Observation::Waiting(format!("the eviction of pod/{pod}: {why}"), None)),
        Err(StepError::Stop(stop)) => Err(stop),
        Err(StepError::Workload(why)) => {
            Ok(Observation::Finished(WorkloadOutcome::NotUp(format!("pod/{pod} cannot be evicted: {why}"))))
        }
    }
}
