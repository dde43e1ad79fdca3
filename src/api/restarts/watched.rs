//! A restart as it goes, as server-sent events: a snapshot, each step, what is waited for, and the end.

use std::sync::Arc;

use super::runs::Run;
use super::told::{Restart, RestartInFull};
use crate::api::listener::{Feed, Listener, Telling};
use crate::restarts::telling::Told;

/// What has been told of a restart.
pub(super) struct Steps {
    run: Arc<Run>,
    /// How many steps have been told; none before the snapshot.
    seen: Option<u64>,
    waiting: Vec<Told>,
}

impl Steps {
    /// Nothing yet.
    pub(super) fn of(run: Arc<Run>) -> Self {
        Self { run, seen: None, waiting: Vec::new() }
    }
}

impl Feed for Steps {
    fn look(&mut self, _: &Listener, telling: &mut Telling) {
        let state = self.run.state();
        let count = state.count;
        let Some(seen) = self.seen.replace(count) else {
            // Counted before it is told: a step of between is told twice rather than never.
            return telling.say("snapshot", count, &RestartInFull::of(&self.run));
        };
        for step in state.steps.iter().filter(|step| step.number > seen) {
            telling.say("step", count, step);
        }
        let waiting: Vec<_> = state.waiting.into_iter().map(|(workload, why)| Told { workload, why }).collect();
        if waiting != self.waiting {
            telling.say("waiting", count, &waiting);
            self.waiting = waiting;
        }
        if state.ended.is_some() {
            telling.say("ended", count, &Restart::of(&self.run));
            telling.end();
        }
    }
}
