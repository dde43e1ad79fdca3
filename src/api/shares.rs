//! Limits how much runs at once, in total and for each user.
//!
//! Limits: the service accounts of a namespace share as one user, since anybody who may create one there may create any number.

use super::limits::ShareLimits;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Shares of a total, limited for each user.
#[derive(Debug)]
pub(super) struct FairShares {
    total: Arc<Semaphore>,
    per_user: usize,
    /// Shares of users who hold a permit or wait for one.
    by_user: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// Permit of a user's share, returned on drop.
#[derive(Debug)]
pub(super) struct SharePermit {
    _own: OwnedSemaphorePermit,
    _total: OwnedSemaphorePermit,
}

impl FairShares {
    pub(super) fn new(limits: ShareLimits) -> Self {
        let ShareLimits { total, per_user } = limits;
        Self { total: Arc::new(Semaphore::new(total)), per_user, by_user: Mutex::default() }
    }

    /// Waits for a permit. A user who holds a full share waits only for permits of their own.
    pub(super) async fn acquire(&self, user: &str) -> SharePermit {
        let open = "the semaphore is never closed";
        let own = self.user_share(user).acquire_owned().await.expect(open);
        SharePermit { _own: own, _total: Arc::clone(&self.total).acquire_owned().await.expect(open) }
    }

    /// Returns a permit if one is free now.
    pub(super) fn try_acquire(&self, user: &str) -> Option<SharePermit> {
        let own = self.user_share(user).try_acquire_owned().ok()?;
        Some(SharePermit { _own: own, _total: Arc::clone(&self.total).try_acquire_owned().ok()? })
    }

    fn user_share(&self, user: &str) -> Arc<Semaphore> {
        let user = share_key(user);
        let mut by_user = self.by_user.lock();
        if let Some(share) = by_user.get(user).and_then(Weak::upgrade) {
            return share;
        }
        by_user.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(self.per_user));
        by_user.insert(user.to_owned(), Arc::downgrade(&share));
        share
    }
}

/// Returns the key of a user's share: for a service account, its namespace.
pub(super) fn share_key(user: &str) -> &str {
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
        let shares = FairShares::new(ShareLimits { total: 2, per_user: 1 });
        let first = shares.acquire("eve").await;
        let mut more: Vec<_> = (0..100).map(|_| Box::pin(shares.acquire("eve"))).collect();
        for one in &mut more {
            assert!(poll!(one).is_pending());
        }
        assert!(shares.try_acquire("eve").is_none());
        let other = shares.try_acquire("ann").expect("her share is her own");
        assert!(shares.try_acquire("bob").is_none(), "there are no more than two");
        drop((first, other));
        let next = more.swap_remove(0).await;
        drop((next, more));
        assert!(shares.try_acquire("bob").is_some());
        assert_eq!(shares.by_user.lock().len(), 1, "whoever has nothing is forgotten");
    }

    #[test]
    fn the_accounts_of_a_namespace_share_as_one() {
        let shares = FairShares::new(ShareLimits { total: 2, per_user: 1 });
        let _first = shares.try_acquire("system:serviceaccount:shop:a");
        assert!(shares.try_acquire("system:serviceaccount:shop:b").is_none());
        assert!(shares.try_acquire("system:serviceaccount:payroll:a").is_some());
        assert!(shares.try_acquire("system:kube-scheduler").is_some());
    }
}
