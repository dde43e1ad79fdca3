//! Watchdog: ends a connection that passes its deadline.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::ConnectionActivity;
use super::limits::Limits;

/// Timer for all deadlines of a connection. Each request moves the deadline back. That does not touch the timer, which
/// checks the deadline when it fires.
#[derive(Debug)]
pub(super) struct Watchdog {
    timer: Pin<Box<Sleep>>,
    set: bool,
}

impl Watchdog {
    pub(super) fn new(activity: &ConnectionActivity, limits: &Limits) -> Self {
        let first = activity.deadline(limits).unwrap_or_else(Instant::now);
        Self { timer: Box::pin(sleep_until(first)), set: false }
    }

    /// Returns ready once the connection has to be cut off. Poll it after the connection itself, always in one task.
    pub(super) fn poll_expired(
        &mut self,
        context: &mut Context<'_>,
        activity: &ConnectionActivity,
        limits: &Limits,
    ) -> Poll<()> {
        loop {
            // Without a deadline the timer rests. An event that sets a deadline again also wakes this task.
            let Some(deadline) = activity.deadline(limits) else { return Poll::Pending };
            if deadline < self.timer.deadline() || self.timer.is_elapsed() {
                self.timer.as_mut().reset(deadline);
                self.set = false;
            }
            // A set timer wakes this task by itself; polling it again costs a lock.
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
