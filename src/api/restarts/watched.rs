//! A restart as it goes, as server-sent events: a snapshot, each step, what is waited for, and the end.

use std::sync::Arc;

use serde_json::json;

use super::runs::Run;
use super::told::{Restart, RestartInFull};
use crate::api::listener::{Feed, Listener, Telling};
use crate::api::restarts::step::Stepped;
use crate::features::restart::telling::Told;

/// What has been told of a restart.
pub(super) struct Steps {
    run: Arc<Run>,
    /// How many steps have been told; none before the snapshot.
    seen: Option<u64>,
    /// How often anything had been told of it when it was looked at last.
    told: Option<u64>,
    waiting: Vec<Told>,
}

impl Steps {
    /// Nothing yet.
    pub(super) fn of(run: Arc<Run>) -> Self {
        Self { run, seen: None, told: None, waiting: Vec::new() }
    }
}

impl Feed for Steps {
    fn look(&mut self, _: &Listener, telling: &mut Telling) {
        let Some(seen) = self.seen else {
            // Counted before it is told: a step of between is told twice rather than never.
            let count = self.run.seen(|state| state.count);
            self.seen = Some(count);
            return telling.say("snapshot", count, &RestartInFull::of(&self.run));
        };
        let told = self.told;
        let is_new = |step: &&Stepped| step.number > seen;
        // Nothing is copied where nothing is new: there may be many who look, four times a second.
        let news = self.run.seen(|state| {
            let steps = || state.steps.iter().filter(is_new).map(|step| json!(step)).collect::<Vec<_>>();
            let news = || (steps(), state.waits_for(), (state.count, state.told), state.ended.is_some());
            (Some(state.told) != told).then(news)
        });
        let Some((steps, waiting, (count, told), is_over)) = news else { return };
        (self.seen, self.told) = (Some(count), Some(told));
        steps.iter().for_each(|step| telling.say("step", count, step));
        if waiting != self.waiting {
            telling.say("waiting", count, &waiting);
            self.waiting = waiting;
        }
        if is_over {
            telling.say("ended", count, &Restart::of(&self.run));
            telling.end();
        }
    }
}
