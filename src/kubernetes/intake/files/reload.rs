//! Reads a directory of objects again whenever it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::store::Store;
use super::{Unreadable, fill, objects_in};
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rules::Terms;

/// Looking is cheap, and works on every file system; being told is neither.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So often a change while it is read makes us wait; after that whoever writes waits.
const PATIENT: u32 = 3;

/// What tells one state of a directory from another.
type State = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// Keeps the inventory equal to the directory. A state that cannot be read is reported, and the last good one stays.
/// What the store writes meanwhile is not taken back.
pub async fn follow(directory: PathBuf, store: Store, inventory: Arc<Inventory>, terms: Terms) {
    let seen = state(&directory);
    let mut following = Following { directory, store, inventory, terms, seen, disturbed: 0 };
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        // A disk that hangs, or somebody who holds the lock, is to hold up nothing but this.
        let looked = spawn_blocking(move || {
            following.look();
            following
        });
        let Ok(looked) = looked.await else { return };
        following = looked;
    }
}

struct Following {
    directory: PathBuf,
    store: Store,
    inventory: Arc<Inventory>,
    terms: Terms,
    seen: State,
    /// How often in a row something was written while we read.
    disturbed: u32,
}

impl Following {
    fn look(&mut self) {
        let now = state(&self.directory);
        if now == self.seen {
            return;
        }
        let is_done = if self.disturbed < PATIENT {
            let read = objects_in(&self.directory);
            // What was written while this was read may not be in it. The store has told the inventory already.
            self.store.while_still(|| state(&self.directory) == now && self.take(&read))
        } else {
            self.store.while_still(|| self.take(&objects_in(&self.directory)))
        };
        if is_done {
            self.seen = now;
        }
        self.disturbed = if is_done { 0 } else { self.disturbed + 1 };
    }

    fn take(&self, read: &Result<Vec<Value>, Unreadable>) -> bool {
        let Self { directory, inventory, terms, .. } = self;
        match read {
            Ok(objects) => {
                fill(inventory, terms, objects).iter().for_each(|problem| warn!("{problem}"));
                info!(count = objects.len(), "read {} again", directory.display());
            }
            Err(error) => warn!("what was read before stays: {error}"),
        }
        true
    }
}

fn state(directory: &Path) -> State {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut state: State = entries
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((entry.path(), metadata.len(), metadata.modified().ok()))
        })
        .collect();
    state.sort();
    state
}
