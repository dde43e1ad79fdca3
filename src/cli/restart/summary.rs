//! What a restart is about to do, told before it is done.

use crate::features::restart::left::Left;
use crate::features::restart::plan::Plan;
use crate::features::restart::telling::Told;
use crate::features::restart::way::Way;
use crate::features::restart::workload::Workload;

/// How many of each are named.
const MOST_NAMED: usize = 10;

/// The lines, in order.
pub(super) fn of(plan: &Plan, namespace: &str, at_once: usize) -> Vec<String> {
    let Plan { workloads, skipped, bare_pods } = plan;
    let mut lines = Vec::new();
    match workloads.len() {
        0 => lines.push(format!("Nothing in namespace {namespace} is to be restarted.")),
        1 => lines.push(format!(
            "{} in namespace {namespace} is restarted: all of its pods are replaced.",
            workloads[0].name
        )),
        count => {
            lines.push(format!("{count} workloads in namespace {namespace} are restarted, {at_once} at once:"));
            lines.extend(listed(workloads.iter().map(|one| one.name.to_string())));
        }
    }
    lines.extend(ways(workloads));
    lines.extend(self::skipped(skipped));
    if !bare_pods.is_empty() {
        lines.push(format!("{} pods that nobody would make again are left alone:", bare_pods.len()));
        lines.extend(listed(bare_pods.iter().map(|name| format!("pod/{name}"))));
    }
    lines
}

/// What is passed over, and why.
pub(super) fn skipped(skipped: &[Told]) -> Vec<String> {
    if skipped.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("{} are passed over:", skipped.len())];
    lines.extend(listed(skipped.iter().map(|Told { workload, why }| format!("{workload}: {why}"))));
    lines
}

/// The lines for one that is gone on with.
pub(super) fn of_resumed(run: &str, namespace: &str, left: &Left) -> Vec<String> {
    let Left { workloads, excepted } = left;
    let mark = |one: &Workload| one.mark.clone();
    let of = workloads.iter().chain(excepted).filter_map(mark).map(|mark| mark.of).max().unwrap_or_default();
    let rolling = workloads.iter().filter(|one| one.rolling_since().is_some()).count();
    let mut lines = vec![format!(
        "Restart {run} in namespace {namespace} goes on with {} of its {of} workloads, of which {rolling} have begun:",
        workloads.len()
    )];
    lines.extend(listed(workloads.iter().map(|one| one.name.to_string())));
    if !excepted.is_empty() {
        lines.push("It goes on without these, and leaves them as they are:".to_owned());
        lines.extend(listed(excepted.iter().map(|one| one.name.to_string())));
    }
    lines
}

/// What is not an ordinary roll-out.
fn ways(workloads: &[Workload]) -> Vec<String> {
    let evicted = workloads.iter().filter(|one| one.way == Way::Eviction);
    let evicted: Vec<_> = evicted.map(|one| one.name.to_string()).collect();
    let down = workloads.iter().filter(|one| one.way.down() > 1 && one.way.down() == one.wanted);
    let down: Vec<_> = down.map(|one| one.name.to_string()).collect();
    let mut lines = Vec::new();
    if !evicted.is_empty() {
        lines.push("Of these nobody replaces the pods by itself; they are evicted, one after another:".to_owned());
        lines.extend(listed(evicted.into_iter()));
    }
    if !down.is_empty() {
        lines.push("Of these all pods go down at once, as their strategy has it:".to_owned());
        lines.extend(listed(down.into_iter()));
    }
    lines
}

fn listed(all: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let more = all.len().saturating_sub(MOST_NAMED);
    let mut lines: Vec<String> = all.take(MOST_NAMED).map(|one| format!("  {one}")).collect();
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines
}
