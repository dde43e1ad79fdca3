//! Watches that are retried for ever, with growing pauses.

use futures::StreamExt;
use kube::runtime::watcher::Error;
use kube::runtime::watcher::Event;
use std::fmt::Debug;
use std::time::Duration;
use tokio::time::Instant;
use tokio::time::sleep;
use tracing::debug;
use tracing::info;
use tracing::warn;

/// Runs a watch for ever. While it fails, the pauses grow; `told` is asked once about each trouble whether it has said of
/// it what is to be said.
pub(crate) async fn follow<K: Send>(
    what: &str,
    stream: impl futures::Stream<Item = Result<Event<K>, Error>> + Send,
    mut keep: impl FnMut(Event<K>) + Send,
    told: impl Fn(Trouble) -> bool + Send,
) {
    let mut events = std::pin::pin!(stream);
    let mut retries = Retries::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                // Each attempt begins with an `Init`, also one that fails.
                if matches!(event, Event::InitDone | Event::Apply(_) | Event::Delete(_)) && retries.worked() {
                    info!("{what} are followed again");
                }
                keep(event);
            }
            Err(error) => {
                debug!(what, "the watch broke, and begins anew: {error}");
                let trouble = Trouble::of(&error);
                // What was known is too old to go on from, and a new list comes: nothing to speak of.
                let is_routine = status(&error) == Some(410);
                if !is_routine && retries.is_new(trouble, Instant::now()) && !told(trouble) {
                    warn!("{what} cannot be followed; what was known of them stays, and it is tried again: {error}");
                }
                sleep(retries.pause(trouble)).await;
            }
        }
    }
}

/// What keeps a watch from being followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The cluster does not know the kind.
    Absent,
    /// We may not watch it.
    Forbidden,
    /// Anything else.
    Broken,
}

impl Trouble {
    fn of(error: &Error) -> Self {
        match status(error) {
            Some(404) => Self::Absent,
            Some(403) => Self::Forbidden,
            _ => Self::Broken,
        }
    }

    /// A kind that is absent is rarely installed later, and is noticed soon enough within two minutes.
    fn longest_pause(self) -> Duration {
        match self {
            Self::Absent => Duration::from_secs(120),
            Self::Forbidden | Self::Broken => Duration::from_secs(30),
        }
    }
}

/// The attempts at a watch since it last worked.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    trouble: Option<Trouble>,
    pause: Duration,
    last: Option<Instant>,
}

impl Retries {
    const SHORTEST: Duration = Duration::from_secs(1);
    /// A watch that lasted longer had worked, though nothing may have happened on it.
    const LASTED: Duration = Duration::from_secs(60);

    /// Whether the last failure was of another sort, or long ago.
    fn is_new(&mut self, trouble: Trouble, now: Instant) -> bool {
        if self.last.is_some_and(|last| now > last + self.pause + Self::LASTED) {
            self.worked();
        }
        self.last = Some(now);
        self.trouble.replace(trouble) != Some(trouble)
    }

    fn pause(&mut self, trouble: Trouble) -> Duration {
        self.pause = (self.pause * 2).clamp(Self::SHORTEST, trouble.longest_pause());
        self.pause
    }

    /// Forgets what there was; true if there was something.
    fn worked(&mut self) -> bool {
        std::mem::take(self).trouble.is_some()
    }
}

/// The HTTP status with which the API server refused.
pub(crate) fn status(error: &Error) -> Option<u16> {
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
    use std::sync::Mutex;

    use kube::api::{DynamicObject, PartialObjectMeta};

    use super::*;

    type Objects = PartialObjectMeta<DynamicObject>;

    fn refused(code: u16) -> Error {
        Error::WatchError(Box::new(kube::core::Status { code, ..Default::default() }))
    }

    /// The seconds at which a watch was begun within an hour, of which the attempt of each number ends in this failure,
    /// or works; and the troubles it told of.
    async fn attempts(ends: impl Fn(usize) -> Option<u16> + Sync) -> (Vec<u64>, Vec<Trouble>) {
        let (start, begun, told) = (Instant::now(), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let stream = futures::stream::unfold(0, |polls| {
            let event = match (polls % 2, ends(polls / 2)) {
                (0, _) => {
                    begun.lock().unwrap().push(start.elapsed().as_secs());
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
            |trouble| {
                told.lock().unwrap().push(trouble);
                false
            },
        );
        let _an_hour_is_over = tokio::time::timeout(Duration::from_secs(3600), following).await;
        (begun.into_inner().unwrap(), told.into_inner().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_absent_is_asked_for_ever_more_rarely_and_told_of_once() {
        let (begun, told) = attempts(|_| Some(404)).await;
        assert_eq!(begun[..9], [0, 1, 3, 7, 15, 31, 63, 127, 247]);
        assert_eq!(begun.last(), Some(&3487));
        assert_eq!(told, [Trouble::Absent]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_broke_is_tried_every_half_minute_and_at_once_after_it_has_worked() {
        let (begun, told) = attempts(|attempt| (attempt != 8).then_some(503)).await;
        assert_eq!(begun[..12], [0, 1, 3, 7, 15, 31, 61, 91, 121, 121, 122, 124]);
        assert_eq!(told, [Trouble::Broken, Trouble::Broken]);
    }

    #[tokio::test(start_paused = true)]
    async fn each_change_of_the_trouble_is_told_and_a_list_that_is_too_old_is_none() {
        let codes = [410, 503, 500, 404, 404, 403, 404];
        let (_, told) = attempts(|attempt| Some(codes[attempt.min(6)])).await;
        assert_eq!(told, [Trouble::Broken, Trouble::Absent, Trouble::Forbidden, Trouble::Absent]);
    }
}
