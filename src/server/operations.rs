//! Endpoint for the kubelet and Prometheus: liveness, readiness, metrics.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use tokio_util::sync::CancellationToken;

use super::endpoint::FullResponse;
use crate::kubernetes::inventory::Inventory;
use crate::metrics::Metrics;

/// Endpoint for the kubelet and Prometheus.
#[derive(Debug)]
pub struct OperationsEndpoint {
    /// Inventory whose filled caches make us ready.
    pub inventory: Arc<Inventory>,
    pub metrics: Metrics,
    /// Token that makes us unready once it is cancelled.
    pub stopping: CancellationToken,
}

impl OperationsEndpoint {
    /// Returns the service of one connection.
    pub fn service(
        self: &Arc<Self>,
    ) -> impl Service<Request<Incoming>, Response = FullResponse, Error = Infallible, Future: Send> + Send + use<> {
        let operations = Arc::clone(self);
        service_fn(move |request: Request<Incoming>| {
            let answer = operations.answer(request.uri().path(), request.uri().query().unwrap_or_default());
            std::future::ready(Ok(answer))
        })
    }

    fn answer(&self, path: &str, query: &str) -> FullResponse {
        match path {
            "/livez" => text_response(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.readiness(query.split('&').any(|flag| flag == "verbose" || flag.starts_with("verbose="))),
            "/metrics" => {
                let mut answer = text_response(StatusCode::OK, self.metrics.render());
                let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
                answer.headers_mut().insert(CONTENT_TYPE, kind);
                answer
            }
            _ => text_response(
                StatusCode::NOT_FOUND,
                "nothing is served at this path; try /livez, /readyz or /metrics\n".to_owned(),
            ),
        }
    }

    /// Answers `/readyz`: ready once every cache is filled and until we are asked to stop. `verbose` lists each check.
    fn readiness(&self, verbose: bool) -> FullResponse {
        let mut checks = self.inventory.cache_states();
        checks.push(("not stopping".to_owned(), !self.stopping.is_cancelled()));
        let ready = checks.iter().all(|(_, passed)| *passed);
        let mut lines = String::new();
        for (check, passed) in checks.iter().filter(|(_, passed)| verbose || !passed) {
            let _ = writeln!(lines, "[{}]{check}", if *passed { '+' } else { '-' });
        }
        // A wrong order needs mending, but is no reason to be unready.
        let injectors = self.inventory.injectors.get().filter(|_| verbose);
        let before_us = injectors.as_ref().map(|injectors| injectors.before_us()).unwrap_or_default();
        if !before_us.is_empty() {
            let _ = writeln!(lines, "[!]order: the API server calls {} before us", before_us.join(", "));
        }
        lines.push_str(if ready { "ok\n" } else { "not ready\n" });
        text_response(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, lines)
    }
}

fn text_response(status: StatusCode, body: String) -> FullResponse {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
