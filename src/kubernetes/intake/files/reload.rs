//! Reads a directory of objects again whenever it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::store::FileStore;
use super::{ObjectFileError, read_objects, replace_all};
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rules::RuleLimits;

/// Interval of checks. Polling is cheap and works on every file system; file notifications do neither.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Number of reads that a concurrent change may interrupt; after that the store's writers wait for the read.
const MAX_INTERRUPTED_READS: u32 = 3;

/// Fingerprint of a directory: path, size and time of change of each file.
type DirectoryState = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// Keeps the inventory equal to the directory. A state that cannot be read is reported, and the last good one stays.
/// Changes that the store writes meanwhile are not taken back.
pub async fn follow_directory(directory: PathBuf, store: FileStore, inventory: Arc<Inventory>, limits: RuleLimits) {
    let seen = directory_state(&directory);
    let mut follower = DirectoryFollower { directory, store, inventory, limits, seen, interrupted_reads: 0 };
    let mut ticks = tokio::time::interval(CHECK_INTERVAL);
    loop {
        ticks.tick().await;
        // A hanging disk, or a process that holds the lock, must block nothing else.
        let checked = spawn_blocking(move || {
            follower.check();
            follower
        });
        let Ok(checked) = checked.await else { return };
        follower = checked;
    }
}

struct DirectoryFollower {
    directory: PathBuf,
    store: FileStore,
    inventory: Arc<Inventory>,
    limits: RuleLimits,
    seen: DirectoryState,
    /// Number of reads in a row during which something was written.
    interrupted_reads: u32,
}

impl DirectoryFollower {
    fn check(&mut self) {
        let now = directory_state(&self.directory);
        if now == self.seen {
            return;
        }
        let is_done = if self.interrupted_reads < MAX_INTERRUPTED_READS {
            let read = read_objects(&self.directory);
            // A concurrent write may be missing from this read. The store has put it into the inventory already.
            self.store.with_writes_paused(|| directory_state(&self.directory) == now && self.apply(&read))
        } else {
            self.store.with_writes_paused(|| self.apply(&read_objects(&self.directory)))
        };
        if is_done {
            self.seen = now;
        }
        self.interrupted_reads = if is_done { 0 } else { self.interrupted_reads + 1 };
    }

    fn apply(&self, read: &Result<Vec<Value>, ObjectFileError>) -> bool {
        let Self { directory, inventory, limits, .. } = self;
        match read {
            Ok(objects) => {
                replace_all(inventory, limits, objects).iter().for_each(|problem| warn!("{problem}"));
                info!(count = objects.len(), "reloaded {}", directory.display());
            }
            Err(error) => warn!("{error}; earlier objects stay in force"),
        }
        true
    }
}

fn directory_state(directory: &Path) -> DirectoryState {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut state: DirectoryState = entries
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((entry.path(), metadata.len(), metadata.modified().ok()))
        })
        .collect();
    state.sort();
    state
}
