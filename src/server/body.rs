//! Reads request bodies within their limits: of one, of all at once, and of time.

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

// Most bodies are smaller, and are given their space at once. Of a larger one a client first has to send as much.
const SMALL: usize = 256 * 1024;
const UNKNOWN: usize = 8 * 1024;

/// Reads bodies, and knows how many bytes of them are held.
#[derive(Debug)]
pub(super) struct BodyReader {
    largest: usize,
    time: Duration,
    budget: Budget,
}

/// A body that was read, and its share of the budget, which comes back when this is dropped.
#[derive(Debug)]
pub(super) struct Held<'a> {
    pub(super) bytes: Bytes,
    pub(super) share: Share<'a>,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is larger than one body may be.
    TooLarge,
    /// All bodies together would be larger than they may be.
    Overload,
    /// It took too long to arrive.
    TooSlow,
    /// It ended early or its framing is wrong.
    Broken,
}

impl BodyReader {
    pub(super) fn new(limits: &Limits) -> Self {
        let budget = Budget { held: AtomicUsize::new(0), largest: limits.body_bytes_in_flight };
        Self { largest: limits.body_bytes, time: limits.body_timeout, budget }
    }

    pub(super) async fn read(&self, body: Incoming) -> Result<Held<'_>, Unread> {
        let announced = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if announced.is_some_and(|bytes| bytes > self.largest) {
            return Err(Unread::TooLarge);
        }
        within(self.time, self.collect(body, announced)).await.unwrap_or(Err(Unread::TooSlow))
    }

    async fn collect(&self, mut body: Incoming, announced: Option<usize>) -> Result<Held<'_>, Unread> {
        let mut share = Share { budget: &self.budget, bytes: 0 };
        share.grow_to(announced.unwrap_or(UNKNOWN).min(SMALL))?;
        let mut collected = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
            // A body that came in one piece is passed on as it lies in the read buffer.
            if collected.is_empty() && announced == Some(piece.len()) && piece.len() <= SMALL {
                return Ok(Held { bytes: piece, share });
            }
            let length = collected.len() + piece.len();
            if length > self.largest {
                return Err(Unread::TooLarge);
            }
            if length > share.bytes {
                share.grow_to(length.max(2 * share.bytes).min(announced.unwrap_or(self.largest)).max(length))?;
            }
            if collected.capacity() < share.bytes {
                collected.reserve_exact(share.bytes - collected.len());
            }
            collected.extend_from_slice(&piece);
        }
        Ok(Held { bytes: collected.into(), share })
    }
}

/// What `reading` gives, unless it takes longer than `time`.
///
/// hyper hands out a body only once it was asked, also one that is all there, and then wakes the asker. Most bodies are,
/// so the timer, which takes a lock, is set at the second asking: for most of them not at all.
async fn within<T>(time: Duration, reading: impl Future<Output = T>) -> Option<T> {
    let (mut reading, mut asked, mut timer) = (pin!(reading), false, pin!(None));
    poll_fn(|context| {
        if let Poll::Ready(read) = reading.as_mut().poll(context) {
            return Poll::Ready(Some(read));
        }
        if !std::mem::replace(&mut asked, true) {
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

/// The bytes of bodies that may be held at once.
#[derive(Debug)]
struct Budget {
    held: AtomicUsize,
    largest: usize,
}

/// What one body takes from the budget.
#[derive(Debug)]
pub(super) struct Share<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Share<'_> {
    fn grow_to(&mut self, bytes: usize) -> Result<(), Unread> {
        let Budget { held, largest } = self.budget;
        let allowed = if bytes <= SMALL { *largest } else { *largest / 4 * 3 };
        let more = bytes - self.bytes;
        if held.fetch_add(more, Relaxed) + more > allowed {
            held.fetch_sub(more, Relaxed);
            return Err(Unread::Overload);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(largest: usize) -> Budget {
        Budget { held: AtomicUsize::new(0), largest }
    }

    fn share(budget: &Budget) -> Share<'_> {
        Share { budget, bytes: 0 }
    }

    #[test]
    fn a_share_comes_back_when_its_body_is_dropped() {
        let budget = budget(100);
        let (mut first, mut second) = (share(&budget), share(&budget));
        first.grow_to(60).unwrap();
        assert_eq!(second.grow_to(41), Err(Unread::Overload));
        first.grow_to(70).unwrap();
        second.grow_to(30).unwrap();
        drop((first, second));
        assert_eq!(budget.held.load(Relaxed), 0);
    }

    #[test]
    fn large_bodies_leave_a_quarter_to_small_ones() {
        let budget = budget(4 * SMALL);
        let (mut large, mut larger, mut small) = (share(&budget), share(&budget), share(&budget));
        large.grow_to(2 * SMALL).unwrap();
        assert_eq!(larger.grow_to(SMALL + 1), Err(Unread::Overload));
        small.grow_to(SMALL).unwrap();
        share(&budget).grow_to(SMALL).unwrap();
    }
}
