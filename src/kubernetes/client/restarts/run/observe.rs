//! Observation of a rolling workload, and the immediate reaction.

use jiff::Timestamp;

use super::{RestartRun, StopReason};
use crate::features::restart::pods::explain_not_up;
use crate::features::restart::progress::{RolloutCounts, RolloutProgress, needs_pods, rollout_progress};
use crate::features::restart::strategy::RolloutStrategy;
use crate::features::restart::workload::WorkloadSnapshot;
use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::restarts::EvictionResult;
use crate::kubernetes::client::restarts::write::mark_changed;

/// Result of an observation.
pub(super) enum Observation {
    Done,
    /// The roll-out goes on: the thing it waits for, and the pod counts if known.
    Waiting(String, Option<RolloutCounts>),
    Evicted(String),
    NotUp(String),
    Passed(String),
}

impl RestartRun<'_> {
    pub(super) async fn observe(
        &self,
        workload: &WorkloadSnapshot,
        since: Timestamp,
    ) -> Result<Observation, StopReason> {
        let restarts = self.restarts;
        let current = match self.caller.call(|| restarts.get_workload(workload)).await? {
            Ok(current) => current,
            Err(ApiError::NotFound(_)) => return Ok(Observation::Passed("it is gone".to_owned())),
            Err(why) => return Ok(Observation::Waiting(format!("the right to read it ({why})"), None)),
        };
        if current.mark.as_ref().is_none_or(|mark| mark.run != self.report.run) {
            return Ok(Observation::Passed(mark_changed(current.mark.as_ref()).to_string()));
        }
        let pods = match needs_pods(&current) {
            true => self.caller.call(|| restarts.list_pods_of(&current)).await?,
            false => Ok(Vec::new()),
        };
        let pods = match pods {
            Ok(pods) => pods,
            Err(why) => return Ok(Observation::Waiting(format!("the right to list its pods ({why})"), None)),
        };
        Ok(match rollout_progress(&current, &pods, since) {
            RolloutProgress::Done => self.finish(current).await?,
            RolloutProgress::Obsolete(why) => {
                self.finish(current).await?;
                Observation::Passed(why)
            }
            RolloutProgress::Waiting(what) => Observation::Waiting(what, RolloutCounts::count(&current, &pods)),
            RolloutProgress::GivenUp(why) => {
                Observation::NotUp(self.explain_not_up(&current, &format!("its controller gave up: {why}")).await)
            }
            RolloutProgress::TemplateReverted => {
                // The workload takes nothing down, and hinders nobody.
                let mark = self.pending_mark();
                let _it_is_only_less_true = self.caller.call(|| restarts.release_claim(&current, &mark)).await?;
                let why = "somebody else put its pod template back, so it keeps its old pods; going on tells it again";
                Observation::NotUp(why.to_owned())
            }
            RolloutProgress::Evict { name, uid, old } => {
                let namespace = &current.name.namespace;
                match self.caller.call(|| restarts.evict(namespace, &name, &uid)).await? {
                    Ok(EvictionResult::Evicted) => {
                        Observation::Evicted(format!("the successor of pod/{name}; {} more are old", old - 1))
                    }
                    Ok(EvictionResult::Held(why)) => {
                        Observation::Waiting(format!("pod/{name} to be let go: {why}"), None)
                    }
                    Err(why) => Observation::NotUp(format!("pod/{name} cannot be evicted: {why}")),
                }
            }
        })
    }

    /// Removes the mark of a finished workload. A concurrent write by others does not matter.
    async fn finish(&self, current: WorkloadSnapshot) -> Result<Observation, StopReason> {
        if current.mark.as_ref().is_some_and(|mark| mark.run == self.report.run) {
            let unmarked = self.caller.call(|| self.restarts.remove_mark(&current)).await?;
            if let Err(why @ ApiError::Forbidden(_)) = unmarked {
                return Ok(Observation::Waiting(format!("the right to take its mark off ({why})"), None));
            }
        }
        Ok(Observation::Done)
    }

    /// Explains why a workload does not come up, as far as pods, events and budgets show.
    pub(super) async fn explain_not_up(&self, workload: &WorkloadSnapshot, waits_for: &str) -> String {
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
