//! Open connections of a listener; closes the least valuable one if there are too many.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;
use tracing::error;

use super::activity::{ConnectionActivity, ConnectionPhase, EvictionClass};

// A review takes milliseconds, so a client that is busy for longer is slow, or reads a stream.
const SPARED_WHILE_BUSY: Duration = Duration::from_secs(1);

/// All connections of a listener: tracked, and aborted on drop. Owned by the accept loop alone.
#[derive(Debug, Default)]
pub(super) struct OpenConnections {
    tasks: JoinSet<()>,
    open: HashMap<Id, (AbortHandle, Arc<ConnectionActivity>)>,
}

impl OpenConnections {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn spawn(
        &mut self,
        activity: Arc<ConnectionActivity>,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let handle = self.tasks.spawn(connection);
        self.open.insert(handle.id(), (handle, activity));
    }

    /// Waits until a connection has ended; returns `None` if there is none. Cancel safe.
    pub(super) async fn next_ended(&mut self) -> Option<()> {
        let ended = self.tasks.join_next_with_id().await?;
        let id = match ended {
            Ok((id, ())) => id,
            Err(cause) => {
                if cause.is_panic() {
                    error!("a connection panicked and was closed");
                }
                cause.id()
            }
        };
        self.open.remove(&id);
        Some(())
    }

    /// Closes the connection of the lowest rank; returns `false` if all have just begun to be served.
    pub(super) fn evict_one(&mut self, now: Instant) -> bool {
        let spared = |activity: &ConnectionActivity| {
            activity.eviction_class() == EvictionClass::Busy && now.duration_since(activity.since()) < SPARED_WHILE_BUSY
        };
        let candidates = self.open.iter().filter(|(_, (_, activity))| !spared(activity));
        let Some(id) = candidates.min_by_key(|(_, (_, activity))| activity.eviction_rank()).map(|(id, _)| *id) else {
            return false;
        };
        if let Some((handle, _)) = self.open.remove(&id) {
            handle.abort();
        }
        true
    }

    /// Closes the connections that wait for a next request.
    pub(super) fn close_idle(&self) {
        for (handle, activity) in self.open.values() {
            if activity.phase() == ConnectionPhase::Idle {
                handle.abort();
            }
        }
    }
}
