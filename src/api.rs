//! HTTP API for people and programs, and the web page: over TLS, for callers with a token that has the rights.
//!
//! Each resource lists its endpoints with handlers and types. The routes and `/openapi.json` are both made from that list.
//! Guarantees: a caller without a token gets only the page's own files and the document. Every attempt to change something is
//! recorded, whatever its outcome. Writes use the caller's own token. Errors are problem details of RFC 9457.
//! Limits: all of them stand in `limits`.

mod audit;
mod audited_object;
mod discovery;
mod document;
mod endpoint;
mod explanation;
mod extract;
mod graph;
pub(crate) mod limits;
mod listener;
mod overrides;
mod overview;
mod page;
mod preview;
mod problem;
mod refusals;
mod request;
mod restarts;
mod session;
mod shares;
mod suspension_events;
mod suspensions;
#[cfg(test)]
mod testing;
mod workload_override;

use std::convert::Infallible;
use std::sync::Arc;

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

use crate::audit::AuditLog;
use crate::features::backend::Backend;
use crate::kernel::clock::Clock;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rules::RuleLimits;
use crate::metrics::Metrics;
use crate::server::listener_state::Peer;
use endpoint::ApiEndpoint;
use limits::{CHANGES, COMPUTATIONS, LISTENERS, READS, RESTART_PLANS, SETTLE_TIMEOUT};
use problem::ApiProblem;
use refusals::RefusalCounter;
use restarts::RestartRegistry;
use shares::FairShares;

/// Shared state of all API handlers.
pub struct ApiState {
    pub inventory: Arc<Inventory>,
    /// Limits that rules are read with.
    pub terms: RuleLimits,
    pub clock: Clock,
    /// Log that attempts are recorded in.
    pub audit: AuditLog,
    /// Rights of callers, and the store of suspensions.
    pub backend: Backend,
    /// Metrics that count requests.
    pub metrics: Metrics,
    refusals: RefusalCounter,
    restarts: RestartRegistry,
    planning_shares: FairShares,
    running_changes: TaskTracker,
    compute_slot: Semaphore,
    change_slots: Semaphore,
    listener_shares: FairShares,
    read_shares: FairShares,
}

impl ApiState {
    /// Creates the state with empty registries and unused limits.
    pub fn new(
        inventory: Arc<Inventory>,
        terms: RuleLimits,
        clock: Clock,
        audit: AuditLog,
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
            refusals: RefusalCounter::default(),
            restarts: RestartRegistry::default(),
            planning_shares: FairShares::new(RESTART_PLANS),
            running_changes: TaskTracker::new(),
            compute_slot: Semaphore::new(COMPUTATIONS),
            change_slots: Semaphore::new(CHANGES),
            listener_shares: FairShares::new(LISTENERS),
            read_shares: FairShares::new(READS),
        }
    }

    /// Runs a long computation: one at a time, on a thread that does not serve the webhook.
    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
        let _turn = self.compute_slot.acquire().await;
        spawn_blocking(work).await
    }

    /// Stops restarts in order, and waits until all running changes are done, or for a few seconds.
    pub async fn settle(&self) {
        self.restarts.stop_all();
        self.running_changes.close();
        if timeout(SETTLE_TIMEOUT, self.running_changes.wait()).await.is_err() {
            error!(
                changes = self.running_changes.len(),
                "changes were still under way at the end, and what came of them is not recorded"
            );
        }
    }
}

/// Returns the endpoints that need a token.
fn endpoints() -> Vec<ApiEndpoint> {
    let resources: [fn() -> Vec<ApiEndpoint>; 10] = [
        discovery::endpoints,
        overview::endpoints,
        explanation::endpoints,
        preview::endpoints,
        workload_override::endpoints,
        overrides::endpoints,
        graph::endpoints,
        audit::endpoints,
        suspensions::endpoints,
        restarts::endpoints,
    ];
    resources.into_iter().flat_map(|endpoints| endpoints()).collect()
}

/// Returns the router of all paths.
pub fn router(api: Arc<ApiState>) -> Router {
    let endpoints = endpoints();
    let document = document::openapi_document(&endpoints);
    page::routes()
        .merge(endpoint::build_router(endpoints, &api.metrics))
        .route(document::DOCUMENT_PATH, get(async move || request::json_response(StatusCode::OK, &document)))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(axum::middleware::map_response(add_security_headers))
        .with_state(api)
}

/// Returns the service of one connection.
pub fn connection_service(
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

async fn unknown_path(request: Request) -> Response {
    let path = crate::kernel::text::sanitize(request.uri().path());
    ApiProblem::not_found(format!("nothing is served at {path}; GET /api/v1 tells what is")).into_response()
}

async fn unknown_method() -> Response {
    ApiProblem::new(405, "this path does not take that method; the header Allow names those that it takes")
        .into_response()
}

/// Adds headers that keep a response from being cached, or taken for another content type.
async fn add_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(nothing);
    response
}
