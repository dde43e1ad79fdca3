//! Selection of the next wave, and the rules for several restarts under one budget.

use std::borrow::Borrow;

use super::budget::DisruptionBudget;
use super::progress::{RolloutProgress, rollout_progress};
use super::workload::WorkloadSnapshot;

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
