//! Server-sent events for one listener. Rights are checked again every minute, and the stream ends when the token expires.
//!
//! The first event is a snapshot, and the last one says why the stream ends. The server's listener cuts off clients that do not
//! read.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::future::ready;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::ApiState;
use super::extract::acquire_read_turn;
use super::limits::{POLL_INTERVAL, REAUTHORIZE_AFTER};
use super::problem::ApiProblem;
use super::session::ApiSession;
use super::shares::SharePermit;
use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::access::{AccessRight, BearerToken, ProtectedResource};

/// Caller who listens to events.
pub(super) struct EventListener {
    pub(super) api: Arc<ApiState>,
    pub(super) namespace: Option<String>,
    resource: ProtectedResource,
    token: BearerToken,
    expires_at: Option<Timestamp>,
    authorized_at: Instant,
    user: String,
    _permit: SharePermit,
}

/// Source of events.
pub(super) trait EventFeed: Send + 'static {
    /// Pushes the events since the last call; the first call pushes a snapshot.
    fn push_news(&mut self, listener: &EventListener, queue: &mut EventQueue);
}

/// Events that wait to be sent.
#[derive(Default)]
pub(super) struct EventQueue {
    events: VecDeque<Event>,
    is_finished: bool,
}

impl EventQueue {
    /// Adds an event; the number becomes its id.
    pub(super) fn push(&mut self, event: &str, number: u64, data: &impl Serialize) {
        let data = serde_json::to_string(data).unwrap_or_default();
        self.events.push_back(Event::default().event(event).id(number.to_string()).data(data));
    }

    /// Ends the stream after the waiting events.
    pub(super) fn finish(&mut self) {
        self.is_finished = true;
    }

    fn finish_with(&mut self, why: &str) {
        let data = json!({"detail": why}).to_string();
        self.events.push_back(Event::default().event("closed").data(data));
        self.finish();
    }
}

impl EventListener {
    /// Admits a caller who has the right, if there is a place.
    pub(super) fn new(
        session: &ApiSession<'_>,
        resource: ProtectedResource,
        namespace: Option<String>,
    ) -> Result<Self, ApiProblem> {
        let (api, token, user) = (Arc::clone(session.api), session.token.clone(), session.caller.user.clone());
        let permit = api.listener_shares.try_acquire(&user);
        let permit = permit.ok_or_else(|| ApiProblem::new(503, "too many listen already; try again later"))?;
        let (expires_at, authorized_at) = (token.expires_at(), Instant::now());
        Ok(Self { api, namespace, resource, token, expires_at, authorized_at, user, _permit: permit })
    }

    /// Returns the response that streams a feed, from a snapshot on.
    pub(super) fn stream(self, feed: impl EventFeed) -> Response {
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let event_stream = EventStream { listener: self, feed, ticks, queue: EventQueue::default() };
        let events_of = |event_stream| {
            stream::unfold(event_stream, async |mut event_stream: EventStream<_>| {
                let event = event_stream.next_event().await?;
                Some((Ok::<_, Infallible>(event), event_stream))
            })
        };
        let events = stream::once(event_stream.take_snapshot()).filter_map(ready).flat_map(events_of);
        Sse::new(Box::pin(events)).keep_alive(KeepAlive::default()).into_response()
    }

    /// Checks the caller's rights again when it is time.
    ///
    /// # Errors
    ///
    /// Fails if the token has expired, the right is gone, or the check itself fails.
    async fn reauthorize(&mut self) -> Result<(), ApiError> {
        if self.expires_at.is_some_and(|end| end <= self.api.clock.now()) {
            return Err(ApiError::Unauthorized("the token is over; show another one".to_owned()));
        }
        if self.authorized_at.elapsed() > REAUTHORIZE_AFTER {
            let caller = self.api.backend.authenticate(&self.token).await?;
            let namespace = self.namespace.as_deref();
            let right = AccessRight { verb: "list", resource: self.resource, namespace, name: None };
            self.api.backend.authorize(&caller, right).await?;
            self.authorized_at = Instant::now();
        }
        Ok(())
    }
}

struct EventStream<F> {
    listener: EventListener,
    feed: F,
    ticks: Interval,
    queue: EventQueue,
}

impl<F: EventFeed> EventStream<F> {
    /// Pushes the snapshot, in a turn and beside the webhook's threads like every read; none if that panics.
    async fn take_snapshot(mut self) -> Option<Self> {
        match acquire_read_turn(&self.listener.api, &self.listener.user).await {
            Ok(turn) => {
                let work = spawn_blocking(move || {
                    let _turn = turn;
                    self.feed.push_news(&self.listener, &mut self.queue);
                    self
                });
                work.await.ok()
            }
            Err(problem) => {
                self.queue.finish_with(&problem.detail);
                Some(self)
            }
        }
    }

    async fn next_event(&mut self) -> Option<Event> {
        let Self { listener, feed, ticks, queue } = self;
        loop {
            if let Some(event) = queue.events.pop_front() {
                return Some(event);
            }
            if queue.is_finished {
                return None;
            }
            ticks.tick().await;
            match listener.reauthorize().await {
                Ok(()) => feed.push_news(listener, queue),
                Err(why) => queue.finish_with(&why.to_string()),
            }
        }
    }
}
