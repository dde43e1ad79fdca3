//! Runs watches, and retries them for ever with growing pauses.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::watcher::{Error, Event};
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

/// Runs a watch for ever. While it fails, the pauses grow.
///
/// `report` is called once about each new kind of failure, and returns whether it has reported the failure itself.
pub(crate) async fn follow<K: Send>(
    what: &str,
    stream: impl futures::Stream<Item = Result<Event<K>, Error>> + Send,
    mut on_event: impl FnMut(Event<K>) + Send,
    report: impl Fn(WatchFailure) -> bool + Send,
) {
    let mut events = std::pin::pin!(stream);
    let mut retries = WatchRetries::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                // Each attempt begins with an `Init`, also one that fails.
                if matches!(event, Event::InitDone | Event::Apply(_) | Event::Delete(_)) && retries.reset() {
                    info!("watch of {what} works again");
                }
                on_event(event);
            }
            Err(error) => {
                debug!(what, "watch of {what} broke: {error}");
                let failure = WatchFailure::from_error(&error);
                // The resource version is too old to resume from, and a new list follows: not worth a warning.
                let is_routine = status_code(&error) == Some(410);
                if !is_routine && retries.is_new(failure, Instant::now()) && !report(failure) {
                    warn!("cannot watch {what}, known objects stay; retrying: {error}");
                }
                sleep(retries.next_pause(failure)).await;
            }
        }
    }
}

/// Kind of failure of a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WatchFailure {
    Absent,
    /// We may not watch the kind.
    Forbidden,
    /// Any other failure.
    Broken,
}

impl WatchFailure {
    fn from_error(error: &Error) -> Self {
        match status_code(error) {
            Some(404) => Self::Absent,
            Some(403) => Self::Forbidden,
            _ => Self::Broken,
        }
    }

    /// Returns the reason, for a failure that lasts until somebody changes the cluster.
    pub(crate) fn reason(self) -> Option<&'static str> {
        match self {
            Self::Absent => Some("the cluster does not know this kind"),
            Self::Forbidden => Some("outrigger may not list it"),
            Self::Broken => None,
        }
    }

    /// Returns the longest pause between attempts. An absent kind is rarely installed later, so two minutes are soon
    /// enough to notice.
    fn max_pause(self) -> Duration {
        match self {
            Self::Absent => Duration::from_secs(120),
            Self::Forbidden | Self::Broken => Duration::from_secs(30),
        }
    }
}

/// Attempts at a watch since it last worked.
// kube's StreamBackoff resets on every item that is no error. A watcher yields `Init` before each list, so that a list
// that keeps failing would be repeated every second, for ever.
#[derive(Debug, Default)]
pub(crate) struct WatchRetries {
    failure: Option<WatchFailure>,
    pause: Duration,
    last: Option<Instant>,
}

impl WatchRetries {
    const MIN_PAUSE: Duration = Duration::from_secs(1);
    /// Duration after which a watch counts as having worked, though nothing may have happened on it.
    const STABLE_AFTER: Duration = Duration::from_secs(60);

    /// Returns whether the last failure was of another kind, or long ago.
    fn is_new(&mut self, failure: WatchFailure, now: Instant) -> bool {
        if self.last.is_some_and(|last| now > last + self.pause + Self::STABLE_AFTER) {
            self.reset();
        }
        self.last = Some(now);
        self.failure.replace(failure) != Some(failure)
    }

    fn next_pause(&mut self, failure: WatchFailure) -> Duration {
        self.pause = (self.pause * 2).clamp(Self::MIN_PAUSE, failure.max_pause());
        self.pause
    }

    /// Forgets the failures; returns whether there was one.
    fn reset(&mut self) -> bool {
        std::mem::take(self).failure.is_some()
    }
}

/// Returns the HTTP status of the API server's refusal.
pub(crate) fn status_code(error: &Error) -> Option<u16> {
    match error {
        Error::InitialListFailed(kube::Error::Api(status)) | Error::WatchStartFailed(kube::Error::Api(status)) => {
            Some(status.code)
        }
        Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use kube::api::{DynamicObject, PartialObjectMeta};
    use parking_lot::Mutex;

    use super::*;

    type Objects = PartialObjectMeta<DynamicObject>;

    fn refused(code: u16) -> Error {
        Error::WatchError(Box::new(kube::core::Status { code, ..Default::default() }))
    }

    /// Runs a watch for an hour; `ends` gives the failure of each numbered attempt, or `None` where it works. Returns
    /// the seconds at which attempts began, and the reported failures.
    async fn attempts(ends: impl Fn(usize) -> Option<u16> + Sync) -> (Vec<u64>, Vec<WatchFailure>) {
        let (start, begun, reported) = (Instant::now(), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let stream = futures::stream::unfold(0, |polls| {
            let event = match (polls % 2, ends(polls / 2)) {
                (0, _) => {
                    begun.lock().push(start.elapsed().as_secs());
                    Ok(Event::Init)
                }
                (_, Some(code)) => Err(refused(code)),
                (_, None) => Ok(Event::InitDone),
            };
            std::future::ready(Some((event, polls + 1)))
        });
        let following = follow(
            "things",
            stream,
            |_: Event<Objects>| {},
            |failure| {
                reported.lock().push(failure);
                false
            },
        );
        let _an_hour_is_over = tokio::time::timeout(Duration::from_secs(3600), following).await;
        (begun.into_inner(), reported.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_absent_is_asked_for_ever_more_rarely_and_told_of_once() {
        let (begun, reported) = attempts(|_| Some(404)).await;
        assert_eq!(begun[..9], [0, 1, 3, 7, 15, 31, 63, 127, 247]);
        assert_eq!(begun.last(), Some(&3487));
        assert_eq!(reported, [WatchFailure::Absent]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_broke_is_tried_every_half_minute_and_at_once_after_it_has_worked() {
        let (begun, reported) = attempts(|attempt| (attempt != 8).then_some(503)).await;
        assert_eq!(begun[..12], [0, 1, 3, 7, 15, 31, 61, 91, 121, 121, 122, 124]);
        assert_eq!(reported, [WatchFailure::Broken, WatchFailure::Broken]);
    }

    #[tokio::test(start_paused = true)]
    async fn each_change_of_the_trouble_is_told_and_a_list_that_is_too_old_is_none() {
        let codes = [410, 503, 500, 404, 404, 403, 404];
        let (_, reported) = attempts(|attempt| Some(codes[attempt.min(6)])).await;
        assert_eq!(
            reported,
            [WatchFailure::Broken, WatchFailure::Absent, WatchFailure::Forbidden, WatchFailure::Absent]
        );
    }
}
