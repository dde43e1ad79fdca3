//! Reads request bodies with_timeout three limits: the size of one body, the size of all bodies at once, and time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::sleep;

use super::limits::Limits;

// Most bodies are smaller, and get their space at once. For a larger one, the client first has to send this much.
const SMALL_BODY: usize = 256 * 1024;
const UNKNOWN_LENGTH: usize = 8 * 1024;

/// Reads bodies, and counts the bytes that are held.
#[derive(Debug)]
pub(super) struct BodyReader {
    largest: usize,
    time: Duration,
    budget: BodyBudget,
}

/// Body that was read, with its share of the budget. Dropping it gives the share back.
#[derive(Debug)]
pub(super) struct ReadBody<'a> {
    pub(super) bytes: Bytes,
    pub(super) share: BudgetShare<'a>,
}

/// Reason why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// The body is larger than one body may be.
    TooLarge,
    /// All bodies together would exceed their limit.
    Overload,
    /// The body took too long to arrive.
    TooSlow,
    /// The body ended early or its framing is wrong.
    Broken,
}

impl BodyReader {
    pub(super) fn new(limits: &Limits) -> Self {
        let budget = BodyBudget { held: AtomicUsize::new(0), largest: limits.body_bytes_in_flight };
        Self { largest: limits.body_bytes, time: limits.body_timeout, budget }
    }

    pub(super) async fn read(&self, body: Incoming) -> Result<ReadBody<'_>, BodyError> {
        let announced = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if announced.is_some_and(|bytes| bytes > self.largest) {
            return Err(BodyError::TooLarge);
        }
        with_timeout(self.time, self.collect(body, announced)).await.unwrap_or(Err(BodyError::TooSlow))
    }

    async fn collect(&self, mut body: Incoming, announced: Option<usize>) -> Result<ReadBody<'_>, BodyError> {
        let mut share = BudgetShare { budget: &self.budget, bytes: 0 };
        share.grow_to(announced.unwrap_or(UNKNOWN_LENGTH).min(SMALL_BODY))?;
        let mut collected = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
            // A body in one piece is passed on without a copy, as a part of the read buffer.
            if collected.is_empty() && announced == Some(piece.len()) && piece.len() <= SMALL_BODY {
                return Ok(ReadBody { bytes: piece, share });
            }
            let length = collected.len() + piece.len();
            if length > self.largest {
                return Err(BodyError::TooLarge);
            }
            if length > share.bytes {
                share.grow_to(length.max(2 * share.bytes).min(announced.unwrap_or(self.largest)).max(length))?;
            }
            if collected.capacity() < share.bytes {
                collected.reserve_exact(share.bytes - collected.len());
            }
            collected.extend_from_slice(&piece);
        }
        Ok(ReadBody { bytes: collected.into(), share })
    }
}

/// Returns the result of `reading`, or `None` after `time`.
///
/// hyper never hands out a body at the first poll, even if all of it is there; it wakes the task instead. Most bodies
/// are all there, so the timer, which takes a lock, is set only at the second poll: for most bodies never.
async fn with_timeout<T>(time: Duration, reading: impl Future<Output = T>) -> Option<T> {
    let (mut reading, mut polled_before, mut timer) = (pin!(reading), false, pin!(None));
    poll_fn(|context| {
        if let Poll::Ready(read) = reading.as_mut().poll(context) {
            return Poll::Ready(Some(read));
        }
        if !std::mem::replace(&mut polled_before, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if timer.is_none() {
            timer.set(Some(sleep(time)));
        }
        timer.as_mut().as_pin_mut().expect("it was just set").poll(context).map(|()| None)
    })
    .await
}

/// Bytes of bodies that may be held at once.
#[derive(Debug)]
struct BodyBudget {
    held: AtomicUsize,
    largest: usize,
}

/// Bytes that one body takes from the budget.
#[derive(Debug)]
pub(super) struct BudgetShare<'a> {
    budget: &'a BodyBudget,
    bytes: usize,
}

impl BudgetShare<'_> {
    fn grow_to(&mut self, bytes: usize) -> Result<(), BodyError> {
        let BodyBudget { held, largest } = self.budget;
        let allowed = if bytes <= SMALL_BODY { *largest } else { *largest / 4 * 3 };
        let more = bytes - self.bytes;
        if held.fetch_add(more, Relaxed) + more > allowed {
            held.fetch_sub(more, Relaxed);
            return Err(BodyError::Overload);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for BudgetShare<'_> {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(largest: usize) -> BodyBudget {
        BodyBudget { held: AtomicUsize::new(0), largest }
    }

    fn share(budget: &BodyBudget) -> BudgetShare<'_> {
        BudgetShare { budget, bytes: 0 }
    }

    #[test]
    fn a_share_comes_back_when_its_body_is_dropped() {
        let budget = budget(100);
        let (mut first, mut second) = (share(&budget), share(&budget));
        first.grow_to(60).unwrap();
        assert_eq!(second.grow_to(41), Err(BodyError::Overload));
        first.grow_to(70).unwrap();
        second.grow_to(30).unwrap();
        drop((first, second));
        assert_eq!(budget.held.load(Relaxed), 0);
    }

    #[test]
    fn large_bodies_leave_a_quarter_to_small_ones() {
        let budget = budget(4 * SMALL_BODY);
        let (mut large, mut larger, mut small) = (share(&budget), share(&budget), share(&budget));
        large.grow_to(2 * SMALL_BODY).unwrap();
        assert_eq!(larger.grow_to(SMALL_BODY + 1), Err(BodyError::Overload));
        small.grow_to(SMALL_BODY).unwrap();
        share(&budget).grow_to(SMALL_BODY).unwrap();
    }
}
