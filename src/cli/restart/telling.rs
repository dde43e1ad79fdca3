//! How a restart tells of itself: lines and a bar while it runs, and what came of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cli::progress::Progress;
use crate::restarts::telling::{End, Report, Step, Told};
use crate::restarts::workload::Name;

/// How often it is said what is waited for, where nobody sees a bar.
const EVERY: Duration = Duration::from_secs(5);
/// And how often where nothing has changed.
const SAME_EVERY: Duration = Duration::from_secs(60);
/// How many are named in a line.
const MOST_NAMED: usize = 5;

/// Tells people.
pub(super) struct Teller {
    progress: Progress,
    waiting: Mutex<Waiting>,
}

/// Who is waited for, and when that was said last.
struct Waiting {
    of: BTreeMap<Name, String>,
    over: usize,
    told: Instant,
    last: String,
}

impl Teller {
    pub(super) fn of(workloads: usize) -> Self {
        let waiting = Waiting { of: BTreeMap::new(), over: 0, told: Instant::now(), last: String::new() };
        Self { progress: Progress::of_waiting(workloads), waiting: Mutex::new(waiting) }
    }

    pub(super) fn line(&self, text: &str) {
        self.progress.line(text);
    }

    pub(super) fn tell(&self, step: Step) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match step {
            Step::Waiting { workload, what } => {
                waiting.of.insert(workload, what);
                self.waits(&mut waiting);
            }
            Step::Wave { workloads, over, of } => {
                waiting.of = workloads.iter().map(|name| (name.clone(), "its roll-out to begin".to_owned())).collect();
                waiting.told = Instant::now();
                let names = joined(workloads.iter().map(Name::to_string));
                self.line(&format!("{over} of {of} are over; now restarting {names}"));
            }
            Step::Restarted { workload } => {
                self.is_over(&mut waiting, &workload);
                self.line(&format!("{workload} is restarted"));
            }
            Step::Passed { workload: Told { workload, why } } => {
                self.is_over(&mut waiting, &workload);
                self.line(&format!("{workload} is passed over: {why}"));
            }
            Step::Refused { workload: Told { workload, why } } => {
                self.is_over(&mut waiting, &workload);
                self.line(&format!("{workload} cannot be restarted: {why}"));
            }
            Step::NotUp { workload: Told { workload, why } } => {
                waiting.of.remove(&workload);
                self.line(&format!("{workload} does not come up: {why}"));
            }
            Step::Held { workloads, .. } => {
                let held = joined(workloads.iter().map(|Told { workload, why }| format!("{workload}: {why}")));
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
        let what = joined(waiting.of.iter().map(|(workload, what)| format!("{workload}: {what}")));
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
pub(in crate::cli) fn ended(report: &Report, namespace: &str) -> String {
    let Report { run, end, restarted, passed, refused, not_up, held, rolling, pending } = report;
    let how = match end {
        End::Completed => "is over".to_owned(),
        End::Halted => "has halted".to_owned(),
        End::Interrupted => "was stopped".to_owned(),
        End::Stopped(why) => format!("could not go on: {why}"),
    };
    let mut text = format!("Restart {run} {how}. Restarted: {}\n", restarted.len());
    let mut told = |what: &str, all: &[Told]| {
        for Told { workload, why } in all {
            text.push_str(&format!("{what}: {workload}: {why}\n"));
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
        let names = joined(rolling.iter().map(Name::to_string));
        text.push_str(&format!("Still rolling out, by themselves: {names}\n"));
    }
    if !pending.is_empty() {
        text.push_str(&format!("Not begun: {}, such as {}\n", pending.len(), pending[0]));
    }
    if report.can_resume() {
        text.push_str(&format!("Go on with: outrigger restart --resume {run} -n {namespace}\n"));
        text.push_str(&format!("Or give it up with: outrigger restart --forget {run} -n {namespace}\n"));
    }
    text
}
