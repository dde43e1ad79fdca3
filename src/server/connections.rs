//! The open connections of a listener, and which of them goes when there are too many.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;
use tracing::error;

use super::activity::{Activity, Phase, Standing};

// A review takes milliseconds, so a client that has been busy for longer is slow, or reads a stream.
const SPARED_WHILE_BUSY: Duration = Duration::from_secs(1);

/// All connections of a listener: tracked, and aborted when this is dropped. Owned by the accept loop alone.
#[derive(Debug, Default)]
pub(super) struct Connections {
    tasks: JoinSet<()>,
    open: HashMap<Id, (AbortHandle, Arc<Activity>)>,
}

impl Connections {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn spawn(&mut self, activity: Arc<Activity>, connection: impl Future<Output = ()> + Send + 'static) {
        let handle = self.tasks.spawn(connection);
        self.open.insert(handle.id(), (handle, activity));
    }

    /// Waits until one has ended; `None` when there is none. Cancel safe.
    pub(super) async fn one_ended(&mut self) -> Option<()> {
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

    /// Closes the one that is missed least; `false` when all have just begun to be served.
    pub(super) fn give_one_up(&mut self, now: Instant) -> bool {
        let spared = |activity: &Activity| {
            activity.standing() == Standing::Busy && now.duration_since(activity.since()) < SPARED_WHILE_BUSY
        };
        let candidates = self.open.iter().filter(|(_, (_, activity))| !spared(activity));
        let Some(id) = candidates.min_by_key(|(_, (_, activity))| activity.rank()).map(|(id, _)| *id) else {
            return false;
        };
        if let Some((handle, _)) = self.open.remove(&id) {
            handle.abort();
        }
        true
    }

    /// Closes those that wait for a next request.
    pub(super) fn close_idle(&self) {
        for (handle, activity) in self.open.values() {
            if activity.phase() == Phase::Idle {
                handle.abort();
            }
        }
    }
}
