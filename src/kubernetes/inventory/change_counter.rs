//! Change counters, by which readers notice that something has changed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counter of the changes of one part of the inventory.
#[derive(Debug, Default)]
pub(super) struct ChangeCounter(AtomicU64);

impl ChangeCounter {
    pub(super) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}
