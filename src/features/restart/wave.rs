//! Selection of the next wave, within the limits that PodDisruptionBudgets set, and the rules for several restarts under
//! one budget. A roll-out does not ask the budgets, so a restart has to.
//!
//! Limits: a budget is matched with the labels of the pod template. Labels that only a webhook adds are not seen.

use std::borrow::Borrow;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{Selector, SelectorExt};

use super::progress::{RolloutProgress, rollout_progress};
use super::workload::WorkloadSnapshot;
use crate::kernel::text::CleanText;

/// Next wave, as positions in the list of waiting workloads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestartWave {
    /// Workloads that start now.
    pub starting: Vec<usize>,
    /// Workloads held by a budget or another restart, with the reason.
    pub held: Vec<(usize, String)>,
}

/// Selects at most `at_once` of the waiting workloads, in their order. A held workload lets the next one pass.
/// `others` are the workloads that other restarts have marked as rolling.
pub fn next_wave<W: Borrow<WorkloadSnapshot>>(
    waiting: &[W],
    budgets: &[DisruptionBudget],
    others: &[WorkloadSnapshot],
    at_once: usize,
) -> RestartWave {
    let mut left: Vec<i64> = budgets.iter().map(DisruptionBudget::allowed_disruptions).collect();
    let mut wave = RestartWave::default();
    for (place, workload) in waiting.iter().map(Borrow::borrow).enumerate() {
        if wave.starting.len() == at_once {
            break;
        }
        if let Some((budget, other)) = conflicts(workload, budgets, others).next() {
            wave.held.push((place, budget.refusal_because_of(other)));
            continue;
        }
        let limiting: Vec<usize> = (0..budgets.len()).filter(|index| budgets[*index].limits(workload)).collect();
        match limiting.iter().find(|index| left[**index] < 1) {
            Some(index) if budgets[*index].allowed_disruptions() < 1 => {
                wave.held.push((place, budgets[*index].refusal()))
            }
            // Other workloads of this wave use up the budget.
            Some(_) => {}
            None => {
                limiting.iter().for_each(|index| left[*index] -= workload.strategy.pods_down());
                wave.starting.push(place);
            }
        }
    }
    wave
}

/// Verdict on a claim: a workload that is marked as rolling, before its pods are touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimVerdict {
    /// No conflict: the workload may start.
    Holds,
    /// The others have to give way. The claim is checked again.
    Waits(String),
    /// This workload gives way and waits for a later wave.
    Yields(String),
}

/// Judges a claim against the workloads of other restarts. Each restart claims first and reads the others afterwards,
/// so at least one of two sees the other. A roll-out that has begun always has precedence. Of two claims the lesser
/// run identifier wins.
pub fn judge_claim(
    workload: &WorkloadSnapshot,
    budgets: &[DisruptionBudget],
    others: &[WorkloadSnapshot],
) -> ClaimVerdict {
    fn run(one: &WorkloadSnapshot) -> Option<&str> {
        one.mark.as_ref().map(|mark| mark.run.as_str())
    }
    let goes_first = |other: &WorkloadSnapshot| other.rolling_since().is_some() || run(other) < run(workload);
    let mut found = conflicts(workload, budgets, others).peekable();
    let Some((budget, other)) = found.peek().copied() else { return ClaimVerdict::Holds };
    match found.find(|(_, other)| goes_first(other)) {
        Some((budget, other)) => ClaimVerdict::Yields(budget.refusal_because_of(other)),
        None => ClaimVerdict::Waits(budget.refusal_because_of(other)),
    }
}

/// Lists the workloads of others that take pods down under a budget that also limits `workload`. A workload that is
/// up again takes none down, even if it still bears a mark.
fn conflicts<'a>(
    workload: &'a WorkloadSnapshot,
    budgets: &'a [DisruptionBudget],
    others: &'a [WorkloadSnapshot],
) -> impl Iterator<Item = (&'a DisruptionBudget, &'a WorkloadSnapshot)> {
    let is_up = |other: &WorkloadSnapshot| {
        other.rolling_since().is_some_and(|since| rollout_progress(other, &[], since) == RolloutProgress::Done)
    };
    let others: Vec<_> = others.iter().filter(|other| !is_up(other)).collect();
    let limiting = budgets.iter().filter(|budget| budget.limits(workload));
    limiting.flat_map(move |budget| {
        let others: Vec<_> = others.iter().copied().filter(|other| budget.limits(other)).collect();
        others.into_iter().map(move |other| (budget, other))
    })
}

/// State and selector of one PodDisruptionBudget.
#[derive(Debug, Clone)]
pub struct DisruptionBudget {
    namespace: String,
    name: String,
    selector: Option<Selector>,
    allowed: i64,
    healthy: i64,
    desired: i64,
    is_current: bool,
}

impl From<&PodDisruptionBudget> for DisruptionBudget {
    fn from(budget: &PodDisruptionBudget) -> Self {
        let PodDisruptionBudget { metadata, spec, status } = budget;
        let selector = spec.as_ref().and_then(|spec| spec.selector.clone());
        let count = |number: Option<i32>| number.unwrap_or(0).into();
        let status = status.as_ref();
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            selector: selector.and_then(|selector| selector.try_into().ok()),
            allowed: count(status.and_then(|status| status.disruptions_allowed)),
            healthy: count(status.and_then(|status| status.current_healthy)),
            desired: count(status.and_then(|status| status.desired_healthy)),
            is_current: status.and_then(|status| status.observed_generation) >= metadata.generation,
        }
    }
}

impl DisruptionBudget {
    /// Returns whether the budget selects the pods of the workload.
    pub fn covers(&self, workload: &WorkloadSnapshot) -> bool {
        self.namespace == workload.name.namespace
            && self.selector.as_ref().is_some_and(|selector| selector.matches(&workload.pod_labels))
    }

    /// Returns whether a roll-out of the workload needs room in this budget. A roll-out needs none if its new pods
    /// are ready before its old pods end. An eviction asks the budget by itself.
    pub fn limits(&self, workload: &WorkloadSnapshot) -> bool {
        workload.strategy.pods_down() > 0 && self.covers(workload)
    }

    /// Returns the number of pods that may be taken down now. A status older than the budget's specification allows
    /// none.
    pub fn allowed_disruptions(&self) -> i64 {
        if self.is_current { self.allowed } else { 0 }
    }

    /// Explains in a sentence why the budget allows no disruption.
    pub fn refusal(&self) -> String {
        let Self { name, healthy, desired, is_current, .. } = self;
        let name = CleanText(name);
        if !is_current {
            return format!("PodDisruptionBudget {name} has just changed, and says nothing yet");
        }
        format!(
            "PodDisruptionBudget {name} allows no disruption: {healthy} pods are healthy, and it asks for {desired}"
        )
    }

    /// Explains in a sentence why the budget allows nothing while `other` takes down pods for another restart.
    pub fn refusal_because_of(&self, other: &WorkloadSnapshot) -> String {
        let run = other.mark.as_ref().map(|mark| mark.run.as_str()).unwrap_or_default();
        format!(
            "restart {run} replaces pods of {}, which PodDisruptionBudget {} covers too; if it has ended early, \
             resume it by `outrigger restart --resume {run} -n {namespace}`, or give it up by --forget",
            other.name,
            CleanText(&self.name),
            namespace = CleanText(&self.namespace)
        )
    }
}
