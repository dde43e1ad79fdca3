//! Whether somebody wants what is costly to keep, and is kept only then.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Whoever looks once is taken to look again within this time.
const LOOKED_FOR: Duration = Duration::from_secs(300);

/// Who wants something at present: whoever holds on to it, and whoever has looked at it lately.
#[derive(Debug, Default)]
pub struct Attention(watch::Sender<Wanted>);

#[derive(Debug, Default, Clone, Copy)]
struct Wanted {
    held: usize,
    until: Option<Instant>,
}

impl Wanted {
    fn is_so(self) -> bool {
        self.held > 0 || self.until.is_some_and(|until| Instant::now() < until)
    }
}

/// Somebody holds on to it until this is dropped.
#[derive(Debug)]
pub struct Held<'a>(&'a Attention);

impl Attention {
    /// Somebody looks at it.
    pub fn look(&self) {
        let until = Instant::now() + LOOKED_FOR;
        self.0.send_if_modified(|wanted| {
            let is_new = !wanted.is_so();
            wanted.until = Some(until);
            is_new
        });
    }

    /// Somebody wants it as long as they hold what this returns.
    #[must_use]
    pub fn hold(&self) -> Held<'_> {
        self.0.send_modify(|wanted| wanted.held += 1);
        Held(self)
    }

    /// Waits until somebody wants it.
    pub async fn begun(&self) {
        let mut wanted = self.0.subscribe();
        wanted.wait_for(|wanted| wanted.is_so()).await.expect("the sender is our own");
    }

    /// Waits until nobody wants it any more.
    pub async fn ended(&self) {
        let mut wanted = self.0.subscribe();
        loop {
            let now = *wanted.borrow_and_update();
            match now {
                now if !now.is_so() => return,
                Wanted { held: 0, until: Some(until) } => {
                    tokio::select! { () = sleep_until(until) => {}, _ = wanted.changed() => {} }
                }
                Wanted { .. } => {
                    let _changed = wanted.changed().await;
                }
            }
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|wanted| wanted.held -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_wanted_while_somebody_holds_it_and_for_a_while_after_a_look() {
        let attention = Attention::default();
        let is_wanted = || match (attention.begun().now_or_never(), attention.ended().now_or_never()) {
            (Some(()), None) => true,
            (None, Some(())) => false,
            both => panic!("{both:?}"),
        };
        assert!(!is_wanted());
        attention.look();
        assert!(is_wanted());
        advance(LOOKED_FOR - Duration::from_secs(1)).await;
        attention.look();
        advance(LOOKED_FOR - Duration::from_secs(1)).await;
        assert!(is_wanted(), "a second look lasts as long as the first");
        let held = attention.hold();
        advance(LOOKED_FOR).await;
        assert!(is_wanted());
        drop(held);
        assert!(!is_wanted());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_the_end_waits_for_the_last_look() {
        let attention = Attention::default();
        attention.look();
        let (start, mut ending) = (Instant::now(), std::pin::pin!(attention.ended()));
        assert!(ending.as_mut().now_or_never().is_none());
        advance(Duration::from_secs(200)).await;
        attention.look();
        ending.await;
        assert_eq!(start.elapsed(), Duration::from_secs(200) + LOOKED_FOR);
    }
}
