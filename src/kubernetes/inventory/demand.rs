//! Demand for a cache that is costly to keep, so that it is filled only while somebody uses it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Time that one use keeps the cache in demand: its reader probably comes again.
const USE_LASTS: Duration = Duration::from_secs(300);

/// Present demand for a cache: its holders, and the time of the latest use.
#[derive(Debug, Default)]
pub struct CacheDemand(watch::Sender<DemandState>);

#[derive(Debug, Default, Clone, Copy)]
struct DemandState {
    holders: usize,
    until: Option<Instant>,
}

impl DemandState {
    fn is_active(self) -> bool {
        self.holders > 0 || self.until.is_some_and(|until| Instant::now() < until)
    }
}

/// Guard that keeps the cache in demand until it is dropped.
#[derive(Debug)]
pub struct DemandGuard<'a>(&'a CacheDemand);

impl CacheDemand {
    pub fn record_use(&self) {
        let until = Instant::now() + USE_LASTS;
        self.0.send_if_modified(|demand| {
            let is_new = !demand.is_active();
            demand.until = Some(until);
            is_new
        });
    }

    /// Keeps the cache in demand until the returned guard is dropped.
    #[must_use]
    pub fn hold(&self) -> DemandGuard<'_> {
        self.0.send_modify(|demand| demand.holders += 1);
        DemandGuard(self)
    }

    pub async fn wait_until_active(&self) {
        let mut demand = self.0.subscribe();
        demand.wait_for(|demand| demand.is_active()).await.expect("the sender is our own");
    }

    pub async fn wait_until_idle(&self) {
        let mut demand = self.0.subscribe();
        loop {
            let now = *demand.borrow_and_update();
            match now {
                now if !now.is_active() => return,
                DemandState { holders: 0, until: Some(until) } => {
                    tokio::select! { () = sleep_until(until) => {}, _ = demand.changed() => {} }
                }
                DemandState { .. } => {
                    let _changed = demand.changed().await;
                }
            }
        }
    }
}

impl Drop for DemandGuard<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|demand| demand.holders -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_wanted_while_somebody_holds_it_and_for_a_while_after_a_look() {
        let demand = CacheDemand::default();
        let is_wanted = || match (demand.wait_until_active().now_or_never(), demand.wait_until_idle().now_or_never()) {
            (Some(()), None) => true,
            (None, Some(())) => false,
            both => panic!("{both:?}"),
        };
        assert!(!is_wanted());
        demand.record_use();
        assert!(is_wanted());
        advance(USE_LASTS - Duration::from_secs(1)).await;
        demand.record_use();
        advance(USE_LASTS - Duration::from_secs(1)).await;
        assert!(is_wanted(), "a second look lasts as long as the first");
        let guard = demand.hold();
        advance(USE_LASTS).await;
        assert!(is_wanted());
        drop(guard);
        assert!(!is_wanted());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_the_end_waits_for_the_last_look() {
        let demand = CacheDemand::default();
        demand.record_use();
        let (start, mut ending) = (Instant::now(), std::pin::pin!(demand.wait_until_idle()));
        assert!(ending.as_mut().now_or_never().is_none());
        advance(Duration::from_secs(200)).await;
        demand.record_use();
        ending.await;
        assert_eq!(start.elapsed(), Duration::from_secs(200) + USE_LASTS);
    }
}
