//! Stream of a restart as server-sent events: a snapshot, the steps, the waiting workloads, and the end.

use std::sync::Arc;

use serde_json::json;

use super::registry::TrackedRestart;
use super::responses::{RestartDetailResponse, RestartResponse};
use crate::api::listener::{EventFeed, EventListener, EventQueue};
use crate::api::restarts::step::NumberedStep;
use crate::features::restart::report::WorkloadReason;

/// Position of one listener in a restart.
pub(super) struct RestartFeed {
    run: Arc<TrackedRestart>,
    /// Number of steps already sent. `None` before the snapshot.
    seen: Option<u64>,
    /// Revision of the progress at the last look.
    revision: Option<u64>,
    waiting: Vec<WorkloadReason>,
}

impl RestartFeed {
    /// Starts before the snapshot.
    pub(super) fn new(run: Arc<TrackedRestart>) -> Self {
        Self { run, seen: None, revision: None, waiting: Vec::new() }
    }
}

impl EventFeed for RestartFeed {
    fn push_news(&mut self, _: &EventListener, telling: &mut EventQueue) {
        let Some(seen) = self.seen else {
            // The count is read first: a step in between is sent twice rather than never.
            let count = self.run.inspect(|progress| progress.step_count);
            self.seen = Some(count);
            return telling.push("snapshot", count, &RestartDetailResponse::new(&self.run));
        };
        let revision = self.revision;
        let is_new = |step: &&NumberedStep| step.number > seen;
        // Nothing is copied if nothing is new: many listeners may look, four times a second.
        let news = self.run.inspect(|progress| {
            let steps = || progress.steps.iter().filter(is_new).map(|step| json!(step)).collect::<Vec<_>>();
            let news = || {
                (
                    steps(),
                    progress.waiting_reasons(),
                    (progress.step_count, progress.revision),
                    progress.ended.is_some(),
                )
            };
            (Some(progress.revision) != revision).then(news)
        });
        let Some((steps, waiting, (count, revision), is_over)) = news else { return };
        (self.seen, self.revision) = (Some(count), Some(revision));
        steps.iter().for_each(|step| telling.push("step", count, step));
        if waiting != self.waiting {
            telling.push("waiting", count, &waiting);
            self.waiting = waiting;
        }
        if is_over {
            telling.push("ended", count, &RestartResponse::new(&self.run));
            telling.finish();
        }
    }
}
