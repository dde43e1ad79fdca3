//! Somebody who listens to server-sent events, for as long as they may: that is asked for again every minute, and their token may
//! say that it is over before.
//!
//! The first event is a snapshot, and the last one says why there are no more. Whoever does not read is cut off by the server's listener.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::future::ready;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::Api;
use super::problem::Problem;
use super::reading::turn_to_look;
use super::session::Session;
use super::shares::Part;
use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::access::{Resource, Right, Token};

/// How often it is asked whether whoever listens still may.
const AUTHORIZED_FOR: Duration = Duration::from_secs(60);
/// How often it is looked for something to tell.
const TICK: Duration = Duration::from_millis(250);

/// Somebody who listens.
pub(super) struct Listener {
    pub(super) api: Arc<Api>,
    pub(super) namespace: Option<String>,
    resource: Resource,
    token: Token,
    expires_at: Option<Timestamp>,
    authorized: Instant,
    user: String,
    _place: Part,
}

/// What can be listened to.
pub(super) trait Feed: Send + 'static {
    /// Tells what is new since the last look; the first look is at everything.
    fn look(&mut self, listener: &Listener, telling: &mut Telling);
}

/// What is about to be told.
#[derive(Default)]
pub(super) struct Telling {
    waiting: VecDeque<Event>,
    is_over: bool,
}

impl Telling {
    /// Tells of something; the number is what the listener knows it by.
    pub(super) fn say(&mut self, event: &str, number: u64, data: &impl Serialize) {
        let data = serde_json::to_string(data).unwrap_or_default();
        self.waiting.push_back(Event::default().event(event).id(number.to_string()).data(data));
    }

    /// Nothing more will be told.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    fn close(&mut self, why: &str) {
        let data = json!({"detail": why}).to_string();
        self.waiting.push_back(Event::default().event("closed").data(data));
        self.end();
    }
}

impl Listener {
    /// Somebody who may, if there is a place.
    pub(super) fn new(session: &Session<'_>, resource: Resource, namespace: Option<String>) -> Result<Self, Problem> {
        let (api, token, user) = (Arc::clone(session.api), session.token.clone(), session.caller.user.clone());
        let place = api.listeners.now(&user);
        let place = place.ok_or_else(|| Problem::new(503, "too many listen already; try again later"))?;
        let (expires_at, authorized) = (token.expires_at(), Instant::now());
        Ok(Self { api, namespace, resource, token, expires_at, authorized, user, _place: place })
    }

    /// The events of a feed, from a snapshot on.
    pub(super) fn hear(self, feed: impl Feed) -> Response {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let listening = Listening { listener: self, feed, ticks, telling: Telling::default() };
        let events_of = |listening| {
            stream::unfold(listening, async |mut listening: Listening<_>| {
                let event = listening.next().await?;
                Some((Ok::<_, Infallible>(event), listening))
            })
        };
        let events = stream::once(listening.begun()).filter_map(ready).flat_map(events_of);
        Sse::new(Box::pin(events)).keep_alive(KeepAlive::default()).into_response()
    }

    /// Asks again whether they may, if it is time to.
    ///
    /// # Errors
    ///
    /// When they may no longer, or that cannot be told.
    async fn authorize(&mut self) -> Result<(), ApiError> {
        if self.expires_at.is_some_and(|end| end <= self.api.clock.now()) {
            return Err(ApiError::Unauthorized("the token is over; show another one".to_owned()));
        }
        if self.authorized.elapsed() > AUTHORIZED_FOR {
            let caller = self.api.backend.authenticate(&self.token).await?;
            let namespace = self.namespace.as_deref();
            let right = Right { verb: "list", resource: self.resource, namespace, name: None };
            self.api.backend.may(&caller, right).await?;
            self.authorized = Instant::now();
        }
        Ok(())
    }
}

struct Listening<F> {
    listener: Listener,
    feed: F,
    ticks: Interval,
    telling: Telling,
}

impl<F: Feed> Listening<F> {
    /// Takes the first look, which is at everything, as every read does; none where looking failed.
    async fn begun(mut self) -> Option<Self> {
        match turn_to_look(&self.listener.api, &self.listener.user).await {
            Ok(turn) => {
                let looking = spawn_blocking(move || {
                    let _turn = turn;
                    self.feed.look(&self.listener, &mut self.telling);
                    self
                });
                looking.await.ok()
            }
            Err(problem) => {
                self.telling.close(&problem.detail);
                Some(self)
            }
        }
    }

    async fn next(&mut self) -> Option<Event> {
        let Self { listener, feed, ticks, telling } = self;
        loop {
            if let Some(event) = telling.waiting.pop_front() {
                return Some(event);
            }
            if telling.is_over {
                return None;
            }
            ticks.tick().await;
            match listener.authorize().await {
                Ok(()) => feed.look(listener, telling),
                Err(why) => telling.close(&why.to_string()),
            }
        }
    }
}
