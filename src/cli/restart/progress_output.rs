//! Output of a restart: a summary before it begins, lines and a bar while it runs, and a summary at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::cli::progress::ProgressDisplay;
use crate::features::restart::prepare::{PreparedRestart, RemainingWork};
use crate::features::restart::report::{RestartEnd, RestartReport, RestartStep, WorkloadReason};
use crate::features::restart::strategy::RolloutStrategy;
use crate::features::restart::workload::{NamespacedWorkload, WorkloadSnapshot};
use crate::kernel::text::CleanText;

/// Interval between lines about waiting workloads, if there is no visible bar.
const WAITING_INTERVAL: Duration = Duration::from_secs(5);
/// Interval if nothing has changed.
const REPEAT_INTERVAL: Duration = Duration::from_secs(60);
/// Number of names in a line.
const MAX_NAMED: usize = 5;
/// Number of names in each list.
const MAX_LISTED: usize = 10;

/// Printer of the steps of a restart.
pub(super) struct RestartPrinter {
    progress: ProgressDisplay,
    naming: WorkloadNaming,
    waiting: Mutex<WaitingState>,
}

/// Format of workload names. The namespace is added if there are several.
#[derive(Debug, Clone, Copy)]
struct WorkloadNaming {
    with_namespace: bool,
}

impl WorkloadNaming {
    fn new<'n>(names: impl Iterator<Item = &'n NamespacedWorkload>) -> Self {
        let namespaces: BTreeSet<&str> = names.map(|name| name.namespace.as_str()).collect();
        Self { with_namespace: namespaces.len() > 1 }
    }

    fn name(self, name: &NamespacedWorkload) -> String {
        if self.with_namespace { format!("{name} in {}", CleanText(&name.namespace)) } else { name.to_string() }
    }
}

/// Workloads that are waited for, and the last printed line about them.
struct WaitingState {
    workloads: BTreeMap<NamespacedWorkload, String>,
    finished: usize,
    printed_at: Instant,
    last_text: String,
}

impl RestartPrinter {
    pub(super) fn new(workloads: &[WorkloadSnapshot]) -> Self {
        let waiting = WaitingState {
            workloads: BTreeMap::new(),
            finished: 0,
            printed_at: Instant::now(),
            last_text: String::new(),
        };
        let naming = WorkloadNaming::new(workloads.iter().map(|one| &one.name));
        Self {
            progress: ProgressDisplay::with_steps_and_message(workloads.len()),
            naming,
            waiting: Mutex::new(waiting),
        }
    }

    pub(super) fn print_line(&self, text: &str) {
        self.progress.print_line(text);
    }

    pub(super) fn print_step(&self, step: RestartStep) {
        let mut waiting = self.waiting.lock();
        let named = |workload: &NamespacedWorkload| self.naming.name(workload);
        match step {
            RestartStep::Waiting { workload, what } => {
                waiting.workloads.insert(workload, what);
                self.print_waiting(&mut waiting);
            }
            RestartStep::Wave { workloads, over, of } => {
                waiting.workloads =
                    workloads.iter().map(|name| (name.clone(), "its roll-out to begin".to_owned())).collect();
                waiting.printed_at = Instant::now();
                let names = join_names(workloads.iter().map(named));
                self.print_line(&format!("{over} of {of} are done; now restarting {names}"));
            }
            RestartStep::Restarted { workload } => {
                self.count_finished(&mut waiting, &workload);
                self.print_line(&format!("{} is restarted", named(&workload)));
            }
            RestartStep::Passed { workload: WorkloadReason { workload, why } } => {
                self.count_finished(&mut waiting, &workload);
                self.print_line(&format!("{} is passed over: {why}", named(&workload)));
            }
            RestartStep::Refused { workload: WorkloadReason { workload, why } } => {
                self.count_finished(&mut waiting, &workload);
                self.print_line(&format!("{} cannot be restarted: {why}", named(&workload)));
            }
            RestartStep::NotUp { workload: WorkloadReason { workload, why } } => {
                waiting.workloads.remove(&workload);
                self.print_line(&format!("{} does not come up: {why}", named(&workload)));
            }
            RestartStep::Held { workloads, .. } => {
                let held = join_names(
                    workloads.iter().map(|WorkloadReason { workload, why }| format!("{}: {why}", named(workload))),
                );
                self.progress.set_message(held.clone());
                self.print_line(&format!("Waiting for budgets: {held}"));
            }
            RestartStep::Away { why } => self.print_line(&format!("Asking the API server again: {why}")),
            RestartStep::Back => self.print_line("The API server answers again."),
        }
    }

    fn count_finished(&self, waiting: &mut WaitingState, workload: &NamespacedWorkload) {
        waiting.workloads.remove(workload);
        waiting.finished += 1;
        self.progress.set_position(waiting.finished);
    }

    fn print_waiting(&self, waiting: &mut WaitingState) {
        let what = join_names(
            waiting.workloads.iter().map(|(workload, what)| format!("{}: {what}", self.naming.name(workload))),
        );
        let every = if what == waiting.last_text { REPEAT_INTERVAL } else { WAITING_INTERVAL };
        if !self.progress.is_visible() && waiting.printed_at.elapsed() > every {
            waiting.printed_at = Instant::now();
            waiting.last_text.clone_from(&what);
            self.print_line(&format!("Waiting for {what}"));
        }
        self.progress.set_message(what);
    }
}

fn join_names(all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(MAX_NAMED);
    let mut named: Vec<String> = all.take(MAX_NAMED).collect();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    named.join(", ")
}

/// Describes the result of a restart for people.
pub(in crate::cli) fn describe_end(report: &RestartReport) -> String {
    let RestartReport { run, end, restarted, passed, refused, not_up, held, rolling, pending } = report;
    let told_of = [passed, refused, not_up, held].into_iter().flatten().map(|one| &one.workload);
    let naming = WorkloadNaming::new(told_of.chain(restarted).chain(rolling).chain(pending));
    let how = match end {
        RestartEnd::Completed => "is over".to_owned(),
        RestartEnd::Halted => "has halted".to_owned(),
        RestartEnd::Interrupted => "was stopped".to_owned(),
        RestartEnd::Stopped(why) => format!("could not continue: {why}"),
    };
    let mut text = format!("Restart {run} {how}. Restarted: {}\n", restarted.len());
    let mut told = |what: &str, all: &[WorkloadReason]| {
        for WorkloadReason { workload, why } in all {
            text.push_str(&format!("{what}: {}: {why}\n", naming.name(workload)));
        }
    };
    told("Passed over", passed);
    told("Not restarted", refused);
    told("Does not come up", not_up);
    told("Held", held);
    if !rolling.is_empty() {
        let names = join_names(rolling.iter().map(|one| naming.name(one)));
        text.push_str(&format!("Still rolling out, by themselves: {names}\n"));
    }
    if let Some(first) = pending.first() {
        text.push_str(&format!("Not begun: {}, such as {}\n", pending.len(), naming.name(first)));
    }
    for namespace in report.remaining_namespaces() {
        text.push_str(&format!("Resume with: outrigger restart --resume {run} -n {namespace}\n"));
        text.push_str(&format!("Or give it up with: outrigger restart --forget {run} -n {namespace}\n"));
    }
    text
}

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
    let more = all.len().saturating_sub(MAX_LISTED);
    let mut lines: Vec<String> = all.take(MAX_LISTED).map(|one| format!("  {one}")).collect();
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(namespace: &str) -> NamespacedWorkload {
        NamespacedWorkload { namespace: namespace.to_owned(), kind: "Deployment".to_owned(), name: "web".to_owned() }
    }

    #[test]
    fn a_restart_of_several_namespaces_is_resumed_in_each_with_unfinished_workloads() {
        let told = |namespace: &str| WorkloadReason { workload: name(namespace), why: "a reason".to_owned() };
        let report = RestartReport {
            end: RestartEnd::Halted,
            restarted: vec![name("done")],
            not_up: vec![told("shop")],
            pending: vec![name("bank"), name("shop")],
            ..RestartReport::new("3f2a9c01")
        };
        let expected = "Restart 3f2a9c01 has halted. Restarted: 1\n\
                        Does not come up: deployment/web in shop: a reason\n\
                        Not begun: 2, such as deployment/web in bank\n\
                        Resume with: outrigger restart --resume 3f2a9c01 -n bank\n\
                        Or give it up with: outrigger restart --forget 3f2a9c01 -n bank\n\
                        Resume with: outrigger restart --resume 3f2a9c01 -n shop\n\
                        Or give it up with: outrigger restart --forget 3f2a9c01 -n shop\n";
        assert_eq!(describe_end(&report), expected);
        let one =
            RestartReport { end: RestartEnd::Halted, not_up: vec![told("shop")], ..RestartReport::new("3f2a9c01") };
        assert!(describe_end(&one).contains("Does not come up: deployment/web: a reason\n"), "{}", describe_end(&one));
    }
}
