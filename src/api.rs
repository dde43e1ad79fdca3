//! The API for people and their programs, and the page: over TLS, for whoever shows a token that may.
//!
//! Each resource names its endpoints with their handlers and their types; the paths and `/openapi.json` are made from that.
//! Guarantees: nothing is answered to a caller without a token, apart from the page's own files and the document; every
//! attempt to change something is recorded, whatever came of it; what is written is written with the caller's own token.
//! Errors are problem details of RFC 9457.
//! Limits: bodies of 64 KiB; 8 restarts; 32 that listen, 8 of each user; two that look at everything, one of each user; 32 changes
//! at once. For a turn others wait 20 seconds at most.

mod about;
mod audit;
mod document;
mod endpoint;
mod events;
mod explanation;
mod graph;
mod injection;
mod listener;
mod overrides;
mod overview;
mod page;
mod preview;
mod problem;
mod reading;
mod refusals;
mod request;
mod restarts;
mod session;
mod shares;
mod suspensions;
#[cfg(test)]
mod testing;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::audit::Log;
use crate::features::backend::Backend;
use crate::kernel::clock::Clock;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rules::Terms;
use crate::metrics::Metrics;
use crate::server::shared::Peer;
use endpoint::Endpoint;
use problem::Problem;
use refusals::Refusals;
use restarts::Runs;
use shares::Shares;

/// The largest body: as many as there are connections may be held at once.
const BODY: usize = 64 * 1024;
/// So many changes are made at once.
const AT_ONCE: usize = 32;
/// So many may listen to events, and of each user so many: in some windows with some streams each.
const LISTENERS: (usize, usize) = (32, 8);
/// So many reads look at once, and of each user so many.
const LOOKS: (usize, usize) = (2, 1);
/// So many plan a restart at once, one of each user.
const PLANNED_AT_ONCE: usize = 2;
/// At the end changes that have been begun have so long.
const SETTLING: Duration = Duration::from_secs(5);
/// A change waits so long for its turn.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the API answers from.
pub struct Api {
    /// What is known.
    pub inventory: Arc<Inventory>,
    /// How rules are read.
    pub terms: Terms,
    /// The time.
    pub clock: Clock,
    /// Where attempts are recorded.
    pub audit: Log,
    /// Who may what, and where suspensions are kept.
    pub backend: Backend,
    /// Where requests are counted.
    pub metrics: Metrics,
    refusals: Refusals,
    restarts: Runs,
    planning: Shares,
    under_way: TaskTracker,
    computing: Semaphore,
    changes: Semaphore,
    listeners: Shares,
    looks: Shares,
}

impl Api {
    /// With all that it needs.
    pub fn new(
        inventory: Arc<Inventory>,
        terms: Terms,
        clock: Clock,
        audit: Log,
        backend: Backend,
        metrics: Metrics,
    ) -> Self {
        Self {
            inventory,
            terms,
            clock,
            audit,
            backend,
            metrics,
            refusals: Refusals::default(),
            restarts: Runs::default(),
            planning: Shares::new(PLANNED_AT_ONCE, 1),
            under_way: TaskTracker::new(),
            computing: Semaphore::new(1),
            changes: Semaphore::new(AT_ONCE),
            listeners: Shares::new(LISTENERS.0, LISTENERS.1),
            looks: Shares::new(LOOKS.0, LOOKS.1),
        }
    }

    /// Works out what may take long, one thing at a time and beside the threads that answer the webhook.
    async fn computed<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
        let _turn = self.computing.acquire().await;
        spawn_blocking(work).await
    }

    /// Stops restarts in order, and waits until every change that has been begun is made, or for a few seconds.
    pub async fn settled(&self) {
        self.restarts.stop();
        self.under_way.close();
        if timeout(SETTLING, self.under_way.wait()).await.is_err() {
            error!(
                changes = self.under_way.len(),
                "changes were still under way at the end, and what came of them is not recorded"
            );
        }
    }
}

/// Everything that is answered to whoever shows a token.
fn endpoints() -> Vec<Endpoint> {
    let resources: [fn() -> Vec<Endpoint>; 10] = [
        about::endpoints,
        overview::endpoints,
        explanation::endpoints,
        preview::endpoints,
        injection::endpoints,
        overrides::endpoints,
        graph::endpoints,
        audit::endpoints,
        suspensions::endpoints,
        restarts::endpoints,
    ];
    resources.into_iter().flat_map(|endpoints| endpoints()).collect()
}

/// All paths.
pub fn router(api: Arc<Api>) -> Router {
    let endpoints = endpoints();
    let document = document::document(&endpoints);
    page::routes()
        .merge(endpoint::routed(endpoints, &api.metrics))
        .route(document::PATH, get(async move || request::json_answer(StatusCode::OK, &document)))
        .fallback(nothing_here)
        .method_not_allowed_fallback(no_such_method)
        .layer(axum::middleware::map_response(guarded))
        .with_state(api)
}

/// The service of one connection.
pub fn service(
    router: Router,
    peer: Peer,
) -> impl Service<
    axum::http::Request<Incoming>,
    Response = axum::http::Response<axum::body::Body>,
    Error = Infallible,
    Future: Send,
> + Send {
    let router = TowerToHyperService::new(router);
    service_fn(move |mut request: axum::http::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    })
}

async fn nothing_here(request: Request) -> Response {
    let path = crate::kernel::text::sanitized(request.uri().path());
    Problem::not_found(format!("nothing is served at {path}; GET /api/v1 tells what is")).into_response()
}

async fn no_such_method() -> Response {
    Problem::new(405, "this path does not take that method; the header Allow names those that it takes").into_response()
}

/// What keeps an answer from being stored, or taken for something else.
async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(nothing);
    response
}
