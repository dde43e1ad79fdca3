//! How a restart tells of itself: lines and a bar while it runs, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cli::progress::Progress;
use crate::features::restart::telling::{End, Report, Step, Told};
use crate::features::restart::workload::{Name, Workload};
use crate::kernel::text::Clean;

/// How often it is said what is waited for, where nobody sees a bar.
const EVERY: Duration = Duration::from_secs(5);
/// And how often where nothing has changed.
const SAME_EVERY: Duration = Duration::from_secs(60);
/// How many are named in a line.
const MOST_NAMED: usize = 5;

/// Tells people.
pub(super) struct Teller {
    progress: Progress,
    naming: Naming,
    waiting: Mutex<Waiting>,
}

/// How workloads are named: with their namespace where there are several.
#[derive(Debug, Clone, Copy)]
struct Naming {
    of_several: bool,
}

impl Naming {
    fn of<'n>(names: impl Iterator<Item = &'n Name>) -> Self {
        let namespaces: BTreeSet<&str> = names.map(|name| name.namespace.as_str()).collect();
        Self { of_several: namespaces.len() > 1 }
    }

    fn name(self, name: &Name) -> String {
        if self.of_several { format!("{name} in {}", Clean(&name.namespace)) } else { name.to_string() }
    }
}

/// Who is waited for, and when that was said last.
struct Waiting {
    of: BTreeMap<Name, String>,
    over: usize,
    told: Instant,
    last: String,
}

impl Teller {
    pub(super) fn of(workloads: &[Workload]) -> Self {
        let waiting = Waiting { of: BTreeMap::new(), over: 0, told: Instant::now(), last: String::new() };
        let naming = Naming::of(workloads.iter().map(|one| &one.name));
        Self { progress: Progress::of_waiting(workloads.len()), naming, waiting: Mutex::new(waiting) }
    }

    pub(super) fn line(&self, text: &str) {
        self.progress.line(text);
    }

    pub(super) fn tell(&self, step: Step) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |workload: &Name| self.naming.name(workload);
        match step {
            Step::Waiting { workload, what } => {
                waiting.of.insert(workload, what);
                self.waits(&mut waiting);
            }
            Step::Wave { workloads, over, of } => {
                waiting.of = workloads.iter().map(|name| (name.clone(), "its roll-out to begin".to_owned())).collect();
                waiting.told = Instant::now();
                let names = joined(workloads.iter().map(named));
                self.line(&format!("{over} of {of} are over; now restarting {names}"));
            }
            Step::Restarted { workload } => {
                self.is_over(&mut waiting, &workload);
                self.line(&format!("{} is restarted", named(&workload)));
            }
            Step::Passed { workload: Told { workload, why } } => {
                self.is_over(&mut waiting, &workload);
                self.line(&format!("{} is passed over: {why}", named(&workload)));
            }
            Step::Refused { workload: Told { workload, why } } => {
                self.is_over(&mut waiting, &workload);
                self.line(&format!("{} cannot be restarted: {why}", named(&workload)));
            }
            Step::NotUp { workload: Told { workload, why } } => {
                waiting.of.remove(&workload);
                self.line(&format!("{} does not come up: {why}", named(&workload)));
            }
            Step::Held { workloads, .. } => {
                let held = joined(workloads.iter().map(|Told { workload, why }| format!("{}: {why}", named(workload))));
                self.progress.waits_for(held.clone());
                self.line(&format!("Waiting for budgets: {held}"));
            }
            Step::Away { why } => self.line(&format!("Asking the API server again: {why}")),
            Step::Back => self.line("The API server answers again."),
        }
    }

    fn is_over(&self, waiting: &mut Waiting, workload: &Name) {
        waiting.of.remove(workload);
        waiting.over += 1;
        self.progress.at(waiting.over);
    }

    fn waits(&self, waiting: &mut Waiting) {
        let what = joined(waiting.of.iter().map(|(workload, what)| format!("{}: {what}", self.naming.name(workload))));
        let every = if what == waiting.last { SAME_EVERY } else { EVERY };
        if !self.progress.is_seen() && waiting.told.elapsed() > every {
            waiting.told = Instant::now();
            waiting.last.clone_from(&what);
            self.line(&format!("Waiting for {what}"));
        }
        self.progress.waits_for(what);
    }
}

fn joined(all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(MOST_NAMED);
    let mut named: Vec<String> = all.take(MOST_NAMED).collect();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    named.join(", ")
}

/// What came of it, for people.
pub(in crate::cli) fn ended(report: &Report) -> String {
    let Report { run, end, restarted, passed, refused, not_up, held, rolling, pending } = report;
    let told_of = [passed, refused, not_up, held].into_iter().flatten().map(|one| &one.workload);
    let naming = Naming::of(told_of.chain(restarted).chain(rolling).chain(pending));
    let how = match end {
        End::Completed => "is over".to_owned(),
        End::Halted => "has halted".to_owned(),
        End::Interrupted => "was stopped".to_owned(),
        End::Stopped(why) => format!("could not go on: {why}"),
    };
    let mut text = format!("Restart {run} {how}. Restarted: {}\n", restarted.len());
    let mut told = |what: &str, all: &[Told]| {
        for Told { workload, why } in all {
            text.push_str(&format!("{what}: {}: {why}\n", naming.name(workload)));
        }
    };
    told("Passed over", passed);
    told("Not restarted", refused);
    told("Does not come up", not_up);
    told("Held", held);
    if refused.iter().any(|one| one.why.contains("forbidden")) {
        text.push_str("The ClusterRole outrigger-restart grants what was refused.\n");
    }
    if !rolling.is_empty() {
        let names = joined(rolling.iter().map(|one| naming.name(one)));
        text.push_str(&format!("Still rolling out, by themselves: {names}\n"));
    }
    if let Some(first) = pending.first() {
        text.push_str(&format!("Not begun: {}, such as {}\n", pending.len(), naming.name(first)));
    }
    for namespace in report.left_in() {
        text.push_str(&format!("Go on with: outrigger restart --resume {run} -n {namespace}\n"));
        text.push_str(&format!("Or give it up with: outrigger restart --forget {run} -n {namespace}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(namespace: &str) -> Name {
        Name { namespace: namespace.to_owned(), kind: "Deployment".to_owned(), name: "web".to_owned() }
    }

    #[test]
    fn a_restart_of_several_namespaces_is_gone_on_with_in_each_that_something_is_left_of() {
        let told = |namespace: &str| Told { workload: name(namespace), why: "a reason".to_owned() };
        let report = Report {
            end: End::Halted,
            restarted: vec![name("done")],
            not_up: vec![told("shop")],
            pending: vec![name("bank"), name("shop")],
            ..Report::of("3f2a9c01")
        };
        let expected = "Restart 3f2a9c01 has halted. Restarted: 1\n\
                        Does not come up: deployment/web in shop: a reason\n\
                        Not begun: 2, such as deployment/web in bank\n\
                        Go on with: outrigger restart --resume 3f2a9c01 -n bank\n\
                        Or give it up with: outrigger restart --forget 3f2a9c01 -n bank\n\
                        Go on with: outrigger restart --resume 3f2a9c01 -n shop\n\
                        Or give it up with: outrigger restart --forget 3f2a9c01 -n shop\n";
        assert_eq!(ended(&report), expected);
        let one = Report { end: End::Halted, not_up: vec![told("shop")], ..Report::of("3f2a9c01") };
        assert!(ended(&one).contains("Does not come up: deployment/web: a reason\n"), "{}", ended(&one));
    }
}
