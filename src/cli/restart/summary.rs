//! Summary of a restart before it begins.

use crate::features::restart::plan::RestartPlan;
use crate::features::restart::remaining::RemainingWork;
use crate::features::restart::report::WorkloadReason;
use crate::features::restart::strategy::RolloutStrategy;
use crate::features::restart::workload::WorkloadSnapshot;

/// Number of names in each list.
const MAX_NAMED: usize = 10;

/// Summarizes a plan as lines of text.
pub(super) fn summarize_plan(plan: &RestartPlan, namespace: &str, at_once: usize) -> Vec<String> {
    let RestartPlan { workloads, skipped, bare_pods } = plan;
    let mut lines = Vec::new();
    match workloads.len() {
        0 => lines.push(format!("Nothing in namespace {namespace} is to be restarted.")),
        1 => lines.push(format!(
            "{} in namespace {namespace} is restarted: all of its pods are replaced.",
            workloads[0].name
        )),
        count => {
            lines.push(format!("{count} workloads in namespace {namespace} are restarted, {at_once} at once:"));
            lines.extend(list_lines(workloads.iter().map(|one| one.name.to_string())));
        }
    }
    lines.extend(describe_strategies(workloads));
    lines.extend(summarize_skipped(skipped));
    if !bare_pods.is_empty() {
        lines.push(format!("{} pods that nobody would make again are left alone:", bare_pods.len()));
        lines.extend(list_lines(bare_pods.iter().map(|name| format!("pod/{name}"))));
    }
    lines
}

/// Lists the workloads that are passed over, with the reasons.
pub(super) fn summarize_skipped(skipped: &[WorkloadReason]) -> Vec<String> {
    if skipped.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("{} are passed over:", skipped.len())];
    lines.extend(list_lines(skipped.iter().map(|WorkloadReason { workload, why }| format!("{workload}: {why}"))));
    lines
}

/// Summarizes a resumed restart as lines of text.
pub(super) fn summarize_resume(run: &str, namespace: &str, remaining: &RemainingWork) -> Vec<String> {
    let RemainingWork { workloads, excepted } = remaining;
    let mark = |one: &WorkloadSnapshot| one.mark.clone();
    let total = workloads.iter().chain(excepted).filter_map(mark).map(|mark| mark.of).max().unwrap_or_default();
    let rolling = workloads.iter().filter(|one| one.rolling_since().is_some()).count();
    let mut lines = vec![format!(
        "Restart {run} in namespace {namespace} goes on with {} of its {total} workloads, of which {rolling} have begun:",
        workloads.len()
    )];
    lines.extend(list_lines(workloads.iter().map(|one| one.name.to_string())));
    if !excepted.is_empty() {
        lines.push("It goes on without these, and leaves them as they are:".to_owned());
        lines.extend(list_lines(excepted.iter().map(|one| one.name.to_string())));
    }
    lines
}

/// Lists the workloads without an ordinary roll-out.
fn describe_strategies(workloads: &[WorkloadSnapshot]) -> Vec<String> {
    let evicted = workloads.iter().filter(|one| one.strategy == RolloutStrategy::Eviction);
    let evicted: Vec<_> = evicted.map(|one| one.name.to_string()).collect();
    let down = workloads.iter().filter(|one| one.strategy.pods_down() > 1 && one.strategy.pods_down() == one.desired);
    let down: Vec<_> = down.map(|one| one.name.to_string()).collect();
    let mut lines = Vec::new();
    if !evicted.is_empty() {
        lines.push("Of these nobody replaces the pods by itself; they are evicted, one after another:".to_owned());
        lines.extend(list_lines(evicted.into_iter()));
    }
    if !down.is_empty() {
        lines.push("Of these all pods go down at once, as their strategy has it:".to_owned());
        lines.extend(list_lines(down.into_iter()));
    }
    lines
}

fn list_lines(all: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let more = all.len().saturating_sub(MAX_NAMED);
    let mut lines: Vec<String> = all.take(MAX_NAMED).map(|one| format!("  {one}")).collect();
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines
}
