//! The API for people and their programs, and the page: over TLS, for whoever shows a token that may.
//!
//! Guarantees: nothing is answered to a caller without a token, apart from the page's own files; every attempt to change something is recorded, whatever came
//! of it; what is written is written with the caller's own token. Errors are problem details of RFC 9457.
//! Limits: bodies of a megabyte; 32 that listen; two that look at everything; 32 changes at once, for whose turn others wait 20 seconds at most.

mod about;
mod audit;
mod events;
mod explanation;
mod graph;
mod listener;
mod overrides;
mod overview;
mod page;
mod problem;
mod reading;
mod session;
pub mod suspensions;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;

use crate::audit::Log;
use crate::backend::Backend;
use crate::clock::Clock;
use crate::inventory::Inventory;
use crate::inventory::rules::Terms;
use crate::server::listener::Peer;
use problem::Problem;

/// The largest body.
const BODY: usize = 1024 * 1024;
/// So many changes are made at once.
const AT_ONCE: usize = 32;
/// So many may listen to events.
const LISTENERS: usize = 32;
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
    changes: Semaphore,
    listeners: Arc<Semaphore>,
    looks: Arc<Semaphore>,
}

impl Api {
    /// With all that it needs.
    pub fn new(inventory: Arc<Inventory>, terms: Terms, clock: Clock, audit: Log, backend: Backend) -> Self {
        Self {
            inventory,
            terms,
            clock,
            audit,
            backend,
            changes: Semaphore::new(AT_ONCE),
            listeners: Arc::new(Semaphore::new(LISTENERS)),
            looks: Arc::new(Semaphore::new(reading::LOOKS)),
        }
    }
}

/// How to ask for something: the method, the path, and what answers.
type Endpoint = (&'static str, String, MethodRouter<Arc<Api>>);

/// Everything that is answered to whoever shows a token.
fn endpoints() -> Vec<Endpoint> {
    use suspensions::{create, end, extend, list, one};
    let mut endpoints: Vec<Endpoint> = vec![
        ("GET", "".to_owned(), get(about::about)),
        ("GET", "/overview".to_owned(), get(overview::overview)),
        ("GET", "/graph".to_owned(), get(graph::draw)),
        ("GET", "/namespaces/{namespace}/workloads".to_owned(), get(overview::workloads)),
        ("GET", "/namespaces/{namespace}/workloads/{kind}/{name}".to_owned(), get(explanation::explain)),
    ];
    for prefix in ["", "/namespaces/{namespace}"] {
        let of = |path: &str| format!("{prefix}{path}");
        endpoints.extend([
            ("GET", of("/overrides"), get(overrides::list)),
            ("GET", of("/audit"), get(audit::list)),
            ("GET", of("/suspensions"), get(list)),
            ("POST", of("/suspensions"), post(create)),
            ("GET", of("/suspensions/{name}"), get(one)),
            ("POST", of("/suspensions/{name}/extend"), post(extend)),
            ("POST", of("/suspensions/{name}/end"), post(end)),
        ]);
    }
    endpoints.into_iter().map(|(method, path, answers)| (method, format!("/api/v1{path}"), answers)).collect()
}

/// All paths.
pub fn router(api: Arc<Api>) -> Router {
    let mut router = page::routes();
    for (_, path, answers) in endpoints() {
        router = router.route(&path, answers);
    }
    router
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
    let path = crate::decision::reason::sanitized(request.uri().path());
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
