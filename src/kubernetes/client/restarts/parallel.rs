//! Requests that run side by side.

use futures::future::BoxFuture;
use futures::stream;
use futures::stream::StreamExt;

/// How many requests are under way at once.
pub(in crate::kubernetes::client::restarts) const PARALLEL: usize = 8;

/// A few at once, in order. They are boxed, or a restart could not be a task: the compiler cannot tell that they are `Send`.
pub(in crate::kubernetes::client::restarts) async fn answers<R>(
    futures: impl Iterator<Item = BoxFuture<'_, R>>,
) -> Vec<R> {
    let futures: Vec<_> = futures.collect();
    stream::iter(futures).buffered(PARALLEL).collect().await
}
