//! Leadership: the right to act for all replicas, with its end and the work that runs under it.

use std::future::{Future, pending};

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Handle that tells whether we lead. It has the end of the leadership, and so ends in time even if the elector is
/// gone.
#[derive(Debug, Clone)]
pub struct Leadership {
    leads_until: watch::Receiver<Option<Instant>>,
    running: watch::Sender<()>,
}

/// Granting side of leadership, held by the elector.
#[derive(Debug, Default)]
pub(super) struct LeadershipGrant {
    leads_until: watch::Sender<Option<Instant>>,
    running: watch::Sender<()>,
}

impl LeadershipGrant {
    pub(super) fn leadership(&self) -> Leadership {
        Leadership { leads_until: self.leads_until.subscribe(), running: self.running.clone() }
    }

    pub(super) fn grant(&self, until: Instant) {
        self.leads_until.send_replace(Some(until));
    }

    pub(super) fn withdraw(&self) {
        self.leads_until.send_if_modified(|until| until.take().is_some());
    }

    /// Waits until no work runs under the leadership any more.
    pub(super) async fn is_unused(&self) {
        self.running.closed().await;
    }
}

impl Leadership {
    /// Returns whether we lead at this moment.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.leads_until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until we lead; returns `false` if that cannot happen any more.
    pub async fn wait_until_leading(&mut self) -> bool {
        while !self.is_leading() {
            if self.leads_until.changed().await.is_err() {
                return false;
            }
        }
        true
    }

    /// Waits until we lead no more.
    pub async fn wait_until_ended(&mut self) {
        loop {
            let until = *self.leads_until.borrow_and_update();
            let Some(until) = until.filter(|until| Instant::now() < *until) else { return };
            tokio::select! {
                () = sleep_until(until) => {}
                changed = self.leads_until.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Starts the future whenever we begin to lead, and drops it at its next await point when leadership ends.
///
/// A completed future is not started again before the next leadership. The Lease is not released before the future is
/// dropped. Returns once we cannot lead any more.
pub async fn while_leading<F: Future<Output = ()>>(mut leadership: Leadership, mut start: impl FnMut() -> F) {
    while leadership.wait_until_leading().await {
        let _held = leadership.running.subscribe();
        let running = async {
            start().await;
            pending().await
        };
        tokio::select! {
            biased;
            () = leadership.wait_until_ended() => {}
            () = running => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use futures::FutureExt;
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn leadership_ends_at_its_time_though_nobody_withdraws_it() {
        let granting = LeadershipGrant::default();
        let mut leadership = granting.leadership();
        assert!(!leadership.is_leading());
        granting.grant(Instant::now() + 10 * SECOND);
        assert!(leadership.wait_until_leading().await && leadership.is_leading());
        advance(9 * SECOND).await;
        assert!(leadership.is_leading() && leadership.wait_until_ended().now_or_never().is_none());
        advance(SECOND).await;
        assert!(!leadership.is_leading());
        leadership.wait_until_ended().await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_while_leading_outlives_renewals_is_dropped_at_the_end_and_started_anew() {
        let granting = LeadershipGrant::default();
        let (started, dropped) = (Cell::new(0), Cell::new(0));
        let work = || {
            started.set(started.get() + 1);
            let at_end = CountsDrop(&dropped);
            async move {
                let _at_end = at_end;
                pending().await
            }
        };
        let mut running = std::pin::pin!(while_leading(granting.leadership(), work));
        let mut look = || {
            assert!(running.as_mut().now_or_never().is_none());
            (started.get(), dropped.get())
        };
        assert_eq!(look(), (0, 0));
        granting.grant(Instant::now() + 10 * SECOND);
        assert_eq!(look(), (1, 0));
        advance(9 * SECOND).await;
        granting.grant(Instant::now() + 10 * SECOND);
        advance(9 * SECOND).await;
        assert_eq!(look(), (1, 0), "a renewal changes nothing");
        assert!(granting.is_unused().now_or_never().is_none());
        advance(SECOND).await;
        assert_eq!(look(), (1, 1), "the time is over");
        assert!(granting.is_unused().now_or_never().is_some());
        granting.grant(Instant::now() + 10 * SECOND);
        assert_eq!(look(), (2, 1));
        granting.withdraw();
        assert_eq!(look(), (2, 2), "withdrawn before its time");
        drop(granting);
        running.await;
    }

    struct CountsDrop<'c>(&'c Cell<u32>);

    impl Drop for CountsDrop<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
}
