//! Requests with bounded parallelism.

use futures::future::BoxFuture;
use futures::stream;
use futures::stream::StreamExt;

/// Number of requests under way at once.
pub(crate) const MAX_PARALLEL: usize = 8;

/// Runs the requests with bounded parallelism and returns the results in order. The futures are boxed: otherwise the
/// compiler cannot prove that a restart is `Send`, and no task could run it.
pub(crate) async fn join_bounded<R>(futures: impl Iterator<Item = BoxFuture<'_, R>>) -> Vec<R> {
    let futures: Vec<_> = futures.collect();
    stream::iter(futures).buffered(MAX_PARALLEL).collect().await
}
