//! Endpoint of the webhook: refuses requests that are no reviews, reads the body, calls the handler.
//!
//! The API server quotes the text of a refusal to the user, so each refusal is a sentence that tells the remedy.

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

use super::body::{BodyError, BodyReader, ReadBody};
use super::limits::Limits;
use crate::server::listener_state::Peer;

/// Endpoint that takes POSTs of JSON at one path; queries are left to the handler.
#[derive(Debug)]
pub struct WebhookEndpoint<H> {
    path: &'static str,
    bodies: BodyReader,
    body_megabytes: usize,
    handler: H,
}

/// Response in one piece of known length.
pub type FullResponse = Response<Full<Bytes>>;

impl<H, F> WebhookEndpoint<H>
where
    H: Fn(Parts, Bytes, Peer) -> F + Send + Sync + 'static,
    F: Future<Output = FullResponse> + Send + 'static,
{
    /// Makes an endpoint at `path`. All connections of a listener must share it: it bounds their bodies together.
    pub fn new(path: &'static str, limits: &Limits, handler: H) -> Self {
        Self { path, bodies: BodyReader::new(limits), body_megabytes: limits.body_bytes >> 20, handler }
    }

    /// Returns the service of one connection.
    pub fn service(
        self: &Arc<Self>,
        peer: Peer,
    ) -> impl Service<Request<Incoming>, Response = FullResponse, Error = Infallible, Future: Send> + Send + use<H, F>
    {
        let endpoint = self.clone();
        service_fn(move |request| {
            let endpoint = endpoint.clone();
            async move { Ok(endpoint.answer(request, peer).await) }
        })
    }

    async fn answer(&self, request: Request<Incoming>, peer: Peer) -> FullResponse {
        let (head, body) = request.into_parts();
        if let Some(refused) = self.check_head(&head) {
            return refused;
        }
        match self.bodies.read(body).await {
            Ok(ReadBody { bytes, share: _ }) if bytes.is_empty() => {
                refusal_response(StatusCode::BAD_REQUEST, "the body is empty; send an AdmissionReview")
            }
            Ok(ReadBody { bytes, share: _share }) => (self.handler)(head, bytes, peer).await,
            Err(error) => self.refuse_body(error),
        }
    }

    fn check_head(&self, head: &Parts) -> Option<FullResponse> {
        if head.uri.path() != self.path {
            let sentence = format!("nothing is served at this path; the webhook is at {}", self.path);
            return Some(refusal_response(StatusCode::NOT_FOUND, sentence));
        }
        if head.method != Method::POST {
            let refused =
                refusal_response(StatusCode::METHOD_NOT_ALLOWED, "the webhook takes POST and no other method");
            return Some(with_header(refused, ALLOW, "POST"));
        }
        if !is_json(&head.headers) {
            let sentence = "the webhook takes JSON; send the AdmissionReview with Content-Type: application/json";
            return Some(refusal_response(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence));
        }
        if !head.headers.contains_key(CONTENT_LENGTH) && !head.headers.contains_key(TRANSFER_ENCODING) {
            return Some(refusal_response(
                StatusCode::LENGTH_REQUIRED,
                "the body has no length; send a Content-Length",
            ));
        }
        None
    }

    fn refuse_body(&self, error: BodyError) -> FullResponse {
        match error {
            BodyError::TooLarge => {
                let sentence = format!("the body is larger than {} MiB; make the object smaller", self.body_megabytes);
                refusal_response(StatusCode::PAYLOAD_TOO_LARGE, sentence)
            }
            BodyError::TooSlow => {
                refusal_response(StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive; send it again")
            }
            BodyError::Broken => {
                refusal_response(StatusCode::BAD_REQUEST, "the body ended early or is malformed; send it again")
            }
            BodyError::Overload => {
                let sentence = "outrigger holds too many request bytes; try again in a second";
                with_header(refusal_response(StatusCode::SERVICE_UNAVAILABLE, sentence), RETRY_AFTER, "1")
            }
        }
    }
}

/// Makes a refusal in plain text. It closes the connection, because the body may not have been read.
pub fn refusal_response(status: StatusCode, sentence: impl Into<Bytes>) -> FullResponse {
    let mut answer = Response::new(Full::new(sentence.into()));
    *answer.status_mut() = status;
    with_header(with_header(answer, CONTENT_TYPE, "text/plain; charset=utf-8"), CONNECTION, "close")
}

/// Makes a JSON response with status 200.
#[must_use]
pub fn json_response(body: Vec<u8>) -> FullResponse {
    with_header(Response::new(Full::new(body.into())), CONTENT_TYPE, "application/json")
}

fn with_header(mut answer: FullResponse, name: HeaderName, value: &'static str) -> FullResponse {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}

fn is_json(headers: &HeaderMap) -> bool {
    let essence = headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().split(|byte| *byte == b';').next());
    essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}
