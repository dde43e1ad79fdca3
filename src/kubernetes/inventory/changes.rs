//! Whether anything has changed since somebody looked.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the changes of one part of the inventory.
#[derive(Debug, Default)]
pub(super) struct Changes(AtomicU64);

impl Changes {
    /// Counts one.
    pub(super) fn note(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    /// How many there have been.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}
