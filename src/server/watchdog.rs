//! Ends a connection that passes its deadline.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Activity;
use super::limits::Limits;

/// One timer for all deadlines of a connection. A deadline that moves back, which happens with each request, does not
/// touch the timer: it finds out when it fires.
#[derive(Debug)]
pub(super) struct Watchdog {
    timer: Pin<Box<Sleep>>,
    set: bool,
}

impl Watchdog {
    pub(super) fn new(activity: &Activity, limits: &Limits) -> Self {
        let first = activity.deadline(limits).unwrap_or_else(Instant::now);
        Self { timer: Box::pin(sleep_until(first)), set: false }
    }

    /// Ready when the connection has to be cut off. To be polled after the connection itself, always in one task.
    pub(super) fn poll_expired(&mut self, context: &mut Context<'_>, activity: &Activity, limits: &Limits) -> Poll<()> {
        loop {
            // Without a deadline the timer rests; what gives the connection one again also wakes this task.
            let Some(deadline) = activity.deadline(limits) else { return Poll::Pending };
            if deadline < self.timer.deadline() || self.timer.is_elapsed() {
                self.timer.as_mut().reset(deadline);
                self.set = false;
            }
            // A timer that is set wakes this task by itself, and asking it again costs a lock.
            if self.set {
                return Poll::Pending;
            }
            self.set = self.timer.as_mut().poll(context).is_pending();
            if !self.set && deadline <= Instant::now() {
                return Poll::Ready(());
            }
        }
    }
}
