//! A restart as it goes, as server-sent events: a snapshot, each step, what is waited for, and the end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::runs::Run;
use super::told::{Restart, RestartInFull, Stepped};
use crate::api::listener::Listener;
use crate::restarts::telling::Told;

/// How often it is looked.
const TICK: Duration = Duration::from_millis(250);

/// One that listens.
struct Listening {
    listener: Listener,
    run: Arc<Run>,
    ticks: Interval,
    said: VecDeque<Event>,
    /// How many steps have been told.
    seen: u64,
    /// How often anything had been told of it when it was looked at last.
    told: Option<u64>,
    waiting: Vec<Told>,
    is_over: bool,
}

/// The events of a restart, for somebody who may listen.
pub(super) fn events(listener: Listener, run: Arc<Run>) -> Response {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Counted before it is told: a step of between is told twice rather than never.
    let seen = run.seen(|state| state.count);
    let snapshot = json!(RestartInFull::of(&run));
    let waiting = Vec::new();
    let said = VecDeque::new();
    let mut listening = Listening { listener, run, ticks, said, seen, told: None, waiting, is_over: false };
    listening.say("snapshot", &snapshot);
    let events = stream::unfold(listening, async |mut listening: Listening| {
        let event = listening.next().await?;
        Some((Ok::<_, Infallible>(event), listening))
    });
    Sse::new(Box::pin(events)).keep_alive(KeepAlive::default()).into_response()
}

impl Listening {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.said.pop_front() {
                return Some(event);
            }
            if self.is_over {
                return None;
            }
            self.ticks.tick().await;
            match self.listener.authorize().await {
                Ok(()) => self.look(),
                Err(why) => {
                    self.is_over = true;
                    self.say("closed", &json!({"detail": why.to_string()}));
                }
            }
        }
    }

    fn look(&mut self) {
        let (seen, told) = (self.seen, self.told);
        let is_new = |step: &&Stepped| step.number > seen;
        // Nothing is copied where nothing is new: there may be many who look, four times a second.
        let news = self.run.seen(|state| {
            let steps = || state.steps.iter().filter(is_new).map(|step| json!(step)).collect::<Vec<_>>();
            let news = || (steps(), state.waits_for(), (state.count, state.told), state.ended.is_some());
            (Some(state.told) != told).then(news)
        });
        let Some((steps, waiting, (count, told), is_over)) = news else { return };
        steps.iter().for_each(|step| self.say("step", step));
        (self.seen, self.told) = (count, Some(told));
        if waiting != self.waiting {
            self.say("waiting", &json!(waiting));
            self.waiting = waiting;
        }
        if is_over {
            self.is_over = true;
            let restart = Restart::of(&self.run);
            self.say("ended", &json!(restart));
        }
    }

    fn say(&mut self, event: &str, data: &Value) {
        self.said.push_back(Event::default().event(event).id(self.seen.to_string()).data(data.to_string()));
    }
}
