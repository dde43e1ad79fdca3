//! The one endpoint of the webhook: refuses what is not a review, reads the body, asks the handler.
//!
//! The API server quotes the text of a refusal to the user, so each is a sentence that says what to do.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};

use super::body::{BodyReader, Held, Unread};
use super::limits::Limits;
use crate::server::shared::Peer;

/// An endpoint that takes POSTs of JSON at one path; a query is left to the handler.
#[derive(Debug)]
pub struct Endpoint<H> {
    path: &'static str,
    bodies: BodyReader,
    body_megabytes: usize,
    handler: H,
}

/// What is answered: one piece, whose length is known.
pub type Answer = Response<Full<Bytes>>;

impl<H, F> Endpoint<H>
where
    H: Fn(Parts, Bytes, Peer) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    /// An endpoint at `path`. All connections of a listener must share one: it bounds their bodies together.
    pub fn new(path: &'static str, limits: &Limits, handler: H) -> Self {
        Self { path, bodies: BodyReader::new(limits), body_megabytes: limits.body_bytes >> 20, handler }
    }

    /// The service of one connection.
    pub fn service(
        self: &Arc<Self>,
        peer: Peer,
    ) -> impl Service<Request<Incoming>, Response = Answer, Error = Infallible, Future: Send> + Send + use<H, F> {
        let endpoint = self.clone();
        service_fn(move |request| {
            let endpoint = endpoint.clone();
            async move { Ok(endpoint.answer(request, peer).await) }
        })
    }

    async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Answer {
        let (head, body) = request.into_parts();
        if let Some(refused) = self.refused(&head) {
            return refused;
        }
        match self.bodies.read(body).await {
            Ok(Held { bytes, share: _ }) if bytes.is_empty() => {
                refusal(StatusCode::BAD_REQUEST, "the body is empty; send an AdmissionReview")
            }
            Ok(Held { bytes, share: _share }) => (self.handler)(head, bytes, peer).await,
            Err(unread) => self.unread(unread),
        }
    }

    fn refused(&self, head: &Parts) -> Option<Answer> {
        if head.uri.path() != self.path {
            let sentence = format!("nothing is served at this path; the webhook is at {}", self.path);
            return Some(refusal(StatusCode::NOT_FOUND, sentence));
        }
        if head.method != Method::POST {
            let refused = refusal(StatusCode::METHOD_NOT_ALLOWED, "the webhook takes POST and no other method");
            return Some(with(refused, ALLOW, "POST"));
        }
        if !is_json(&head.headers) {
            let sentence = "the webhook takes JSON; send the AdmissionReview with Content-Type: application/json";
            return Some(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence));
        }
        if !head.headers.contains_key(CONTENT_LENGTH) && !head.headers.contains_key(TRANSFER_ENCODING) {
            return Some(refusal(StatusCode::LENGTH_REQUIRED, "the body has no length; send a Content-Length"));
        }
        None
    }

    fn unread(&self, unread: Unread) -> Answer {
        match unread {
            Unread::TooLarge => {
                let sentence = format!("the body is larger than {} MiB; make the object smaller", self.body_megabytes);
                refusal(StatusCode::PAYLOAD_TOO_LARGE, sentence)
            }
            Unread::TooSlow => refusal(StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive; send it again"),
            Unread::Broken => refusal(StatusCode::BAD_REQUEST, "the body ended early or is malformed; send it again"),
            Unread::Overload => {
                let sentence = "outrigger holds as many request bytes as it may; try again in a second";
                with(refusal(StatusCode::SERVICE_UNAVAILABLE, sentence), RETRY_AFTER, "1")
            }
        }
    }
}

/// A refusal in plain text. It closes the connection, because the body may not have been read.
pub fn refusal(status: StatusCode, sentence: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(sentence.into()));
    *answer.status_mut() = status;
    with(with(answer, CONTENT_TYPE, "text/plain; charset=utf-8"), CONNECTION, "close")
}

/// An answer of JSON.
#[must_use]
pub fn json(body: Vec<u8>) -> Answer {
    with(Response::new(Full::new(body.into())), CONTENT_TYPE, "application/json")
}

fn with(mut answer: Answer, name: HeaderName, value: &'static str) -> Answer {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}

fn is_json(headers: &HeaderMap) -> bool {
    let essence = headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().split(|byte| *byte == b';').next());
    essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}
