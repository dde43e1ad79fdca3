//! Summary of a restart before it begins.

use crate::features::restart::prepare::PreparedRestart;
use crate::features::restart::remaining::RemainingWork;
use crate::features::restart::report::WorkloadReason;
use crate::features::restart::strategy::RolloutStrategy;
use crate::features::restart::workload::WorkloadSnapshot;

/// Number of names in each list.
const MAX_NAMED: usize = 10;

/// Summarizes a plan as lines of text.
pub(super) fn summarize_plan(prepared: &PreparedRestart, namespace: &str, at_once: usize) -> Vec<String> {
    let PreparedRestart { work: RemainingWork { workloads, .. }, skipped, bare_pods, .. } = prepared;
    let mut lines = Vec::new();
    match workloads.len() {
        0 => lines.push(format!("Nothing to restart in namespace {namespace}.")),
        1 => lines.push(format!("Restarting {} in namespace {namespace} replaces all of its pods.", workloads[0].name)),
        count => {
            lines.push(format!("Restarting {count} workloads in namespace {namespace}, {at_once} at once:"));
            lines.extend(list_lines(workloads.iter().map(|one| one.name.to_string())));
        }
    }
    lines.extend(describe_strategies(workloads));
    lines.extend(summarize_skipped(skipped));
    if !bare_pods.is_empty() {
        lines.push(format!("Pods that no controller would recreate are left alone ({}):", bare_pods.len()));
        lines.extend(list_lines(bare_pods.iter().map(|name| format!("pod/{name}"))));
    }
    lines
}

/// Lists the workloads that are passed over, with the reasons.
pub(super) fn summarize_skipped(skipped: &[WorkloadReason]) -> Vec<String> {
    if skipped.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("Passed over ({}):", skipped.len())];
    lines.extend(list_lines(skipped.iter().map(|WorkloadReason { workload, why }| format!("{workload}: {why}"))));
    lines
}

/// Summarizes a resumed restart as lines of text.
pub(super) fn summarize_resume(prepared: &PreparedRestart, namespace: &str) -> Vec<String> {
    let PreparedRestart { run, work, .. } = prepared;
    let (total, RemainingWork { workloads, excepted }) = (work.total(), work);
    let rolling = workloads.iter().filter(|one| one.rolling_since().is_some()).count();
    let mut lines = vec![format!(
        "Restart {run} in namespace {namespace} continues with {} of its {total} workloads, of which {rolling} have begun:",
        workloads.len()
    )];
    lines.extend(list_lines(workloads.iter().map(|one| one.name.to_string())));
    if !excepted.is_empty() {
        lines.push("Excepted workloads stay as they are:".to_owned());
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
        lines.push("Evicting pods one after another, since no controller replaces those of:".to_owned());
        lines.extend(list_lines(evicted.into_iter()));
    }
    if !down.is_empty() {
        lines.push("All pods go down at once, by the strategy of:".to_owned());
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
