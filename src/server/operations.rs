//! What the kubelet and Prometheus ask: is it alive, is it ready, what does it count.

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

use super::endpoint::Answer;
use crate::kubernetes::inventory::Inventory;
use crate::metrics::Metrics;

/// What the answers are made from.
#[derive(Debug)]
pub struct Operations {
    /// Its caches make us ready.
    pub inventory: Arc<Inventory>,
    /// What is counted.
    pub metrics: Metrics,
    /// Once cancelled, we are not ready any more.
    pub stopping: CancellationToken,
}

impl Operations {
    /// The service of one connection.
    pub fn service(
        self: &Arc<Self>,
    ) -> impl Service<Request<Incoming>, Response = Answer, Error = Infallible, Future: Send> + Send + use<> {
        let operations = Arc::clone(self);
        service_fn(move |request: Request<Incoming>| {
            let answer = operations.answer(request.uri().path(), request.uri().query().unwrap_or_default());
            std::future::ready(Ok(answer))
        })
    }

    fn answer(&self, path: &str, query: &str) -> Answer {
        match path {
            "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.ready(query.split('&').any(|flag| flag == "verbose" || flag.starts_with("verbose="))),
            "/metrics" => {
                let mut answer = text(StatusCode::OK, self.metrics.render());
                let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
                answer.headers_mut().insert(CONTENT_TYPE, kind);
                answer
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "nothing is served at this path; try /livez, /readyz or /metrics\n".to_owned(),
            ),
        }
    }

    /// Ready when every cache that exists has been filled, and nobody has asked us to stop. `verbose` names each.
    fn ready(&self, verbose: bool) -> Answer {
        let mut checks = self.inventory.synced();
        checks.push(("not stopping".to_owned(), !self.stopping.is_cancelled()));
        let ready = checks.iter().all(|(_, passed)| *passed);
        let mut lines = String::new();
        for (check, passed) in checks.iter().filter(|(_, passed)| verbose || !passed) {
            let _ = writeln!(lines, "[{}]{check}", if *passed { '+' } else { '-' });
        }
        // Something to mend, and no reason to be asked less.
        let injectors = self.inventory.injectors.get().filter(|_| verbose);
        let before_us = injectors.as_ref().map(|injectors| injectors.before_us()).unwrap_or_default();
        if !before_us.is_empty() {
            let _ = writeln!(lines, "[!]order: the API server calls {} before us", before_us.join(", "));
        }
        lines.push_str(if ready { "ok\n" } else { "not ready\n" });
        text(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, lines)
    }
}

fn text(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
