//! The tasks of the process: each has a name, none is detached, and the first to end stops them all.
//!
//! Guarantees: a task that returns, fails or panics while the group should be running ends the group with an error
//! that names it; after the stop signal each task has a bounded time to end; dropping the group, or the future of
//! [`Tasks::run_until`], aborts what still runs.

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

type TaskCause = Box<dyn Error + Send + Sync>;
type JoinedTask = Result<(Id, Result<(), TaskCause>), JoinError>;

/// A group of named tasks that live and end together.
#[derive(Debug)]
pub struct Tasks {
    running: JoinSet<Result<(), TaskCause>>,
    names: HashMap<Id, &'static str>,
    stopping: CancellationToken,
}

/// Disorderly end of a group of tasks.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A task returned although nobody had asked it to stop.
    #[error("task {0} ended early")]
    EndedEarly(&'static str),
    /// A task returned an error.
    #[error("task {name} failed: {cause}")]
    Failed {
        /// Name of the task.
        name: &'static str,
        /// Error that the task returned.
        cause: TaskCause,
    },
    /// A task panicked.
    #[error("task {name} panicked: {message}")]
    Panicked {
        /// Name of the task.
        name: &'static str,
        /// Message of the panic.
        message: String,
    },
    /// Tasks were still running when the time to stop was over, and were aborted.
    #[error("still running {after:?} after the stop: {}", names.join(", "))]
    Stuck {
        /// Names of the tasks, sorted.
        names: Vec<&'static str>,
        /// Time that the tasks were given.
        after: Duration,
    },
}

impl Default for Tasks {
    fn default() -> Self {
        Self::child_of(CancellationToken::new())
    }
}

impl Tasks {
    /// Creates a group that also stops when `stopping` is cancelled: a group within a task of another group.
    #[must_use]
    pub fn child_of(stopping: CancellationToken) -> Self {
        Self { running: JoinSet::new(), names: HashMap::new(), stopping }
    }

    /// Returns the token that is cancelled when the tasks should end. Each task watches a clone.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Starts a task that should only end after [`Self::stop_token`].
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_fallible::<TaskCause>(name, async {
            task.await;
            Ok(())
        });
    }

    /// Starts a task that does not watch the stop token. The task is dropped where it waits, once stopping begins.
    pub fn spawn_until_stopped(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_until(self.stop_token(), name, task);
    }

    /// Starts a task that is dropped when `end` is cancelled, which must come after [`Self::stop_token`].
    pub fn spawn_until(
        &mut self,
        end: CancellationToken,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawn(name, async move {
            end.run_until_cancelled(task).await;
        });
    }

    /// Starts a task that may fail. An error ends the group, whenever it comes.
    pub fn spawn_fallible<E: Into<TaskCause>>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let handle = self.running.spawn(async { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), name);
    }

    /// Runs the tasks until `stop` completes, the group is stopped from above or a task ends, then gives the others
    /// `bound` to end as well.
    ///
    /// # Errors
    ///
    /// Returns the first failure; an orderly end is `Ok`.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>, bound: Duration) -> Result<(), TaskError> {
        let stopping = self.stopping.clone();
        let first = tokio::select! {
            () = stop => Ok(()),
            () = stopping.cancelled() => Ok(()),
            Some(joined) = self.running.join_next_with_id() => Err(self.early_end(joined)),
        };
        match &first {
            Ok(()) => info!("stopping"),
            Err(cause) => error!(%cause, "stopping: {cause}"),
        }
        stopping.cancel();
        let rest = self.join_within(bound).await;
        first.and(rest)
    }

    async fn join_within(&mut self, bound: Duration) -> Result<(), TaskError> {
        let mut result = Ok(());
        let join_all = async {
            while let Some(joined) = self.running.join_next_with_id().await {
                let (name, end) = task_end(&mut self.names, joined);
                debug!(task = name, "task {name} ended");
                result = std::mem::replace(&mut result, Ok(())).and(end);
            }
        };
        if tokio::time::timeout(bound, join_all).await.is_err() {
            let mut names: Vec<_> = self.names.values().copied().collect();
            names.sort_unstable();
            result = result.and(Err(TaskError::Stuck { names, after: bound }));
        }
        result
    }

    fn early_end(&mut self, joined: JoinedTask) -> TaskError {
        let (name, end) = task_end(&mut self.names, joined);
        end.err().unwrap_or(TaskError::EndedEarly(name))
    }
}

fn task_end(names: &mut HashMap<Id, &'static str>, joined: JoinedTask) -> (&'static str, Result<(), TaskError>) {
    let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
    let name = names.remove(&id).expect("each spawned task is named");
    let end = match joined {
        Ok((_, end)) => end.map_err(|cause| TaskError::Failed { name, cause }),
        Err(join_error) => Err(TaskError::Panicked { name, message: panic_message(join_error) }),
    };
    (name, end)
}

fn panic_message(join_error: JoinError) -> String {
    let Ok(payload) = join_error.try_into_panic() else { return "aborted".to_owned() };
    payload
        .downcast::<String>()
        .map(|text| *text)
        .or_else(|payload| payload.downcast::<&'static str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|_| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_task_that_returns_ends_the_group_by_name_and_stops_the_others_in_order() {
        let mut tasks = Tasks::default();
        let (stopping, in_order) = (tasks.stop_token(), Arc::new(AtomicBool::new(false)));
        let seen = in_order.clone();
        tasks.spawn("watch", async move {
            stopping.cancelled().await;
            seen.store(true, Ordering::Relaxed);
        });
        tasks.spawn("audit", ready(()));
        let end = tasks.run_until(pending(), LONG).await.unwrap_err();
        assert_eq!(end.to_string(), "task audit ended early");
        assert!(in_order.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_task_that_panics_ends_the_group_with_its_words() {
        let mut tasks = Tasks::default();
        tasks.spawn("audit", async { panic!("no disk {}", 7) });
        let end = tasks.run_until(pending(), LONG).await.unwrap_err();
        assert_eq!(end.to_string(), "task audit panicked: no disk 7");
    }

    #[tokio::test]
    async fn a_task_that_fails_while_stopping_is_not_forgotten() {
        let mut tasks = Tasks::default();
        let stopping = tasks.stop_token();
        tasks.spawn_fallible("audit", async move {
            stopping.cancelled().await;
            Err("disk full")
        });
        let end = tasks.run_until(ready(()), LONG).await.unwrap_err();
        assert_eq!(end.to_string(), "task audit failed: disk full");
    }

    #[tokio::test]
    async fn an_orderly_end_is_no_error() {
        let mut tasks = Tasks::default();
        let stopping = tasks.stop_token();
        tasks.spawn("watch", async move { stopping.cancelled().await });
        tasks.run_until(ready(()), LONG).await.unwrap();
    }

    #[tokio::test]
    async fn a_group_stops_when_the_group_above_it_stops() {
        let above = CancellationToken::new();
        let mut tasks = Tasks::child_of(above.child_token());
        let stopping = tasks.stop_token();
        tasks.spawn("drift", async move { stopping.cancelled().await });
        above.cancel();
        tasks.run_until(pending(), LONG).await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_does_not_stop_is_named_and_aborted() {
        let mut tasks = Tasks::default();
        tasks.spawn("stuck", pending());
        tasks.spawn("also stuck", pending());
        let end = tasks.run_until(ready(()), Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(end.to_string(), "still running 10ms after the stop: also stuck, stuck");
    }
}
