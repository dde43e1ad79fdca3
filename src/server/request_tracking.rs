//! Wraps each request: records it in the connection's activity, adds `Connection: close`, turns a panic into a 500.

use std::convert::Infallible;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::{Service, service_fn};
use tracing::error;

use super::activity::ConnectionActivity;
use super::endpoint::refusal_response;
use crate::server::listener_state::ListenerState;

/// Wraps `inner` so that `activity` records each of its requests.
pub(super) fn track_requests<S, B>(
    inner: S,
    activity: Arc<ConnectionActivity>,
    shared: Arc<ListenerState>,
) -> impl Service<Request<Incoming>, Response = Response<TrackedBody<B>>, Error = Infallible, Future: Send>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    service_fn(move |request| {
        activity.request_begins();
        let (guard, shared) = (RequestGuard(activity.clone()), shared.clone());
        let called = catch_unwind(AssertUnwindSafe(|| inner.call(request)));
        async move {
            let answered = match called {
                Ok(answer) => AssertUnwindSafe(answer).catch_unwind().await,
                Err(panic) => Err(panic),
            };
            let mut response = match answered {
                Ok(Ok(response)) => response.map(Either::Left),
                Err(_) => panic_response(&shared).map(Either::Right),
            };
            if shared.is_draining() || guard.0.is_spent(&shared.limits) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| TrackedBody { body, _guard: guard }))
        }
    })
}

fn panic_response(shared: &ListenerState) -> Response<Full<Bytes>> {
    shared.counts.panics.fetch_add(1, Relaxed);
    error!("a request handler panicked and its request was answered with 500");
    refusal_response(StatusCode::INTERNAL_SERVER_ERROR, "outrigger failed on this request; its log says why")
}

/// Body of an answer. Dropping it, after all of it was handed over, ends the request.
#[derive(Debug)]
pub(super) struct TrackedBody<B> {
    body: Either<B, Full<Bytes>>,
    _guard: RequestGuard,
}

#[derive(Debug)]
struct RequestGuard(Arc<ConnectionActivity>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.request_ends();
    }
}

impl<B> Body for TrackedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
