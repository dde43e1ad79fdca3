//! Newest scan for drift, made again only after a change.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::debug;

use crate::features::drift::{DriftScan, scan_drift};
use crate::kernel::clock::Clock;
use crate::kubernetes::inventory::Inventory;

/// Newest scan, and when it was made.
#[derive(Default)]
pub(super) struct ScanCache {
    pub(super) newest: Option<DriftScan>,
    /// Change counts at the newest scan, and its time.
    scanned: Option<([u64; 2], Instant)>,
}

impl ScanCache {
    /// Scans again if something has changed and the pause is over, or if the last scan has become outdated by itself.
    pub(super) async fn refresh(&mut self, inventory: &Arc<Inventory>, clock: &Clock, pause: Duration) {
        let (changes, now) = ([inventory.change_count(), inventory.pods.change_count()], clock.now());
        let is_due = self.scanned.is_none_or(|(seen, at)| seen != changes && at.elapsed() >= pause);
        let changes_at = self.newest.as_ref().and_then(|scan| scan.changes_at);
        if !is_due && changes_at.is_none_or(|instant| now < instant) {
            return;
        }
        let (owned, began) = (Arc::clone(inventory), Instant::now());
        // Without an answer the previous scan stays valid.
        if let Ok(Some(scan)) = spawn_blocking(move || scan_drift(&owned, now)).await {
            debug!(workloads = scan.drifts.len(), took = ?began.elapsed(), "looked for drift");
            self.newest = Some(scan);
            self.scanned = Some((changes, Instant::now()));
        }
    }
}
