//! So many at once, of which nobody takes more than a share.
//!
//! Limits: the service accounts of a namespace share as one user, since whoever may make one there may make any number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is shared.
#[derive(Debug)]
pub(super) struct Shares {
    all: Arc<Semaphore>,
    each: usize,
    /// The shares of those who have something of theirs, or wait for it.
    of: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// A part of somebody's share, until it is dropped.
#[derive(Debug)]
pub(super) struct Part {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Shares {
    pub(super) fn new(all: usize, each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), each, of: Mutex::default() }
    }

    /// A part of this user's share as soon as there is one: whoever has all of theirs waits for themselves alone.
    pub(super) async fn next(&self, user: &str) -> Part {
        let open = "it is never closed";
        let own = self.of(user).acquire_owned().await.expect(open);
        Part { _own: own, _of_all: Arc::clone(&self.all).acquire_owned().await.expect(open) }
    }

    /// A part of this user's share, if there is one now.
    pub(super) fn now(&self, user: &str) -> Option<Part> {
        let own = self.of(user).try_acquire_owned().ok()?;
        Some(Part { _own: own, _of_all: Arc::clone(&self.all).try_acquire_owned().ok()? })
    }

    fn of(&self, user: &str) -> Arc<Semaphore> {
        let user = sharing(user);
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = of.get(user).and_then(Weak::upgrade) {
            return share;
        }
        of.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(self.each));
        of.insert(user.to_owned(), Arc::downgrade(&share));
        share
    }
}

/// The name under which a user shares.
pub(super) fn sharing(user: &str) -> &str {
    match user.rsplit_once(':') {
        Some((namespace, _)) if namespace.starts_with("system:serviceaccount:") => namespace,
        _ => user,
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn whoever_wants_much_waits_for_themselves_and_nobody_else_does() {
        let shares = Shares::new(2, 1);
        let first = shares.next("eve").await;
        let mut more: Vec<_> = (0..100).map(|_| Box::pin(shares.next("eve"))).collect();
        for one in &mut more {
            assert!(poll!(one).is_pending());
        }
        assert!(shares.now("eve").is_none());
        let other = shares.now("ann").expect("her share is her own");
        assert!(shares.now("bob").is_none(), "there are no more than two");
        drop((first, other));
        let next = more.swap_remove(0).await;
        drop((next, more));
        assert!(shares.now("bob").is_some());
        assert_eq!(shares.of.lock().unwrap().len(), 1, "whoever has nothing is forgotten");
    }

    #[test]
    fn the_accounts_of_a_namespace_share_as_one() {
        let shares = Shares::new(2, 1);
        let _first = shares.now("system:serviceaccount:shop:a");
        assert!(shares.now("system:serviceaccount:shop:b").is_none());
        assert!(shares.now("system:serviceaccount:payroll:a").is_some());
        assert!(shares.now("system:kube-scheduler").is_some());
    }
}
