//! Suspensions as they begin, change and end, as server-sent events: by the clock, within half a second.
//!
//! The first event is all that there are; each further one is a single suspension. Who listens is asked for again every minute,
//! and is told when that fails. Whoever does not read is cut off by the listener.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Api;
use super::listener::Listener;
use super::problem::Problem;
use super::suspensions::told::Suspension;
use crate::cluster::access::{Resource, Token};
use crate::resources::suspending::Period;
use crate::resources::suspension_object::SuspensionObject;
use crate::suspensions::turns::{Turn, Turns};

/// How often it is looked.
const TICK: Duration = Duration::from_millis(250);
/// One that listens.
struct Listening {
    listener: Listener,
    turns: Turns,
    ticks: Interval,
    waiting: VecDeque<Event>,
    number: u64,
    is_over: bool,
}

/// The events of a namespace, or of the cluster's suspensions, for somebody who may list them.
pub(super) fn events(api: Arc<Api>, token: Token, namespace: Option<String>) -> Result<Response, Problem> {
    let resource = Resource::suspensions(namespace.as_deref());
    let listener = Listener::new(api, token, resource, namespace)?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut listening =
        Listening { listener, turns: Turns::default(), ticks, waiting: VecDeque::new(), number: 0, is_over: false };
    let (all, now) = (listening.all(), listening.listener.api.clock.now());
    listening.turns.look(&all, now);
    let items: Vec<_> = all.iter().map(|(object, period)| Suspension::told(object, *period, now)).collect();
    listening.say("snapshot", &json!({"items": items}));
    let events = stream::unfold(listening, async |mut listening: Listening| {
        let event = listening.next().await?;
        Some((Ok::<_, Infallible>(event), listening))
    });
    Ok(Sse::new(Box::pin(events)).keep_alive(KeepAlive::default()).into_response())
}

impl Listening {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
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
        let (all, now) = (self.all(), self.listener.api.clock.now());
        for (turn, object) in self.turns.look(&all, now) {
            let event = match turn {
                Turn::Created => "created",
                Turn::Changed => "changed",
                Turn::Began => "began",
                Turn::Ended => "ended",
                Turn::Deleted(_) => "deleted",
            };
            let period = object.period(self.listener.api.terms.longest_suspension).ok();
            self.say(event, &json!(Suspension::told(&object, period, now)));
        }
    }

    fn all(&self) -> Vec<(Arc<SuspensionObject>, Option<Period>)> {
        let mut all = self.listener.api.inventory.standings.suspensions();
        all.retain(|(object, _)| object.namespace == self.listener.namespace);
        all
    }

    fn say(&mut self, event: &str, data: &Value) {
        self.number += 1;
        self.waiting.push_back(Event::default().event(event).id(self.number.to_string()).data(data.to_string()));
    }
}
