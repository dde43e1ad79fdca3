//! Reads a directory of objects again whenever it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use super::store::Store;
use super::{fill, objects_in};
use crate::inventory::Inventory;
use crate::inventory::rules::Terms;

/// Looking is cheap, and works on every file system; being told is neither.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What tells one state of a directory from another.
type State = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// Keeps the inventory equal to the directory. A state that cannot be read is reported, and the last good one stays.
/// What the store writes meanwhile is not taken back.
pub async fn follow(directory: PathBuf, store: Store, inventory: Arc<Inventory>, terms: Terms) {
    let mut seen = state(&directory);
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        let now = state(&directory);
        if now == seen {
            continue;
        }
        let read = objects_in(&directory);
        let is_done = store.while_still(|| {
            // Something was written while this was read, and may not be in it. The store has told the inventory already.
            if state(&directory) != now {
                return false;
            }
            match &read {
                Ok(objects) => {
                    fill(&inventory, &terms, objects).iter().for_each(|problem| warn!("{problem}"));
                    info!(count = objects.len(), "read {} again", directory.display());
                }
                Err(error) => warn!("what was read before stays: {error}"),
            }
            true
        });
        if is_done {
            seen = now;
        }
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
