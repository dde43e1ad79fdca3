//! The table of what is served: the paths and the document are both made from it, so that neither tells of what the other lacks.

use std::future::ready;
use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::Api;
use crate::metrics::Metrics;

/// The schema of something, whose parts are kept with the generator.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One operation: where it is, who does it, and what the document says of it.
pub(super) struct Endpoint {
    pub(super) path: String,
    /// The method, as the document writes it.
    pub(super) method: &'static str,
    handler: MethodRouter<Arc<Api>>,
    pub(super) operation: Operation,
}

/// What the document says of one operation.
#[derive(Clone, Default)]
pub(super) struct Operation {
    /// What programs call it.
    pub(super) id: &'static str,
    /// What it does, in one line.
    pub(super) summary: &'static str,
    /// The parameters of its query: an object, of which each property is one.
    pub(super) query: Option<SchemaOf>,
    /// The headers that it reads.
    pub(super) headers: &'static [Header],
    /// Its body, and whether it needs one.
    pub(super) body: Option<(SchemaOf, bool)>,
    /// Whether that may be YAML instead of JSON.
    pub(super) may_be_yaml: bool,
    /// What it answers when all is well.
    pub(super) answers: Vec<Answer>,
    /// The statuses of its problems, besides those that every operation may have.
    pub(super) problems: &'static [u16],
}

/// A header, of a request or of an answer.
pub(super) struct Header {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
}

/// One answer when all is well.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) description: &'static str,
    /// Its body in JSON; there is none without.
    pub(super) body: Option<SchemaOf>,
    /// Whether it may be server-sent events instead.
    pub(super) may_stream: bool,
    pub(super) headers: &'static [Header],
    /// The operations on what it tells of, by the namespace and the name in its body.
    pub(super) leads_to: Vec<&'static str>,
}

impl Endpoint {
    /// One that reads.
    pub(super) fn get<T: 'static>(path: String, handler: impl Handler<T, Arc<Api>>, operation: Operation) -> Self {
        Self { path, method: "get", handler: on(MethodFilter::GET, handler), operation }
    }

    /// One that reads what a type tells.
    pub(super) fn reading<A: JsonSchema, T: 'static>(
        id: &'static str,
        path: &str,
        summary: &'static str,
        handler: impl Handler<T, Arc<Api>>,
    ) -> Self {
        const TAG: Header = Header { name: "ETag", description: "Names this answer, for If-None-Match." };
        let answers = vec![
            Answer { headers: &[TAG], ..Answer::json::<A>(200, "What is known; partial says whether that is all.") },
            Answer::empty(304, "It is what If-None-Match names."),
        ];
        const KNOWN: Header =
            Header { name: "If-None-Match", description: "What ETag said, to be told of what is new alone." };
        Self::get(
            path.to_owned(),
            handler,
            Operation { id, summary, headers: &[KNOWN], answers, ..Operation::default() },
        )
    }

    /// The same with parameters.
    pub(super) fn with_query(mut self, query: SchemaOf) -> Self {
        self.operation.query = Some(query);
        self
    }

    /// The same, which can be listened to.
    pub(super) fn with_stream(mut self) -> Self {
        self.operation.answers[0].may_stream = true;
        self
    }

    /// One that puts something in the place of what stands there.
    pub(super) fn put<T: 'static>(path: String, handler: impl Handler<T, Arc<Api>>, operation: Operation) -> Self {
        Self { path, method: "put", handler: on(MethodFilter::PUT, handler), operation }
    }

    /// One that makes or changes something.
    pub(super) fn post<T: 'static>(path: String, handler: impl Handler<T, Arc<Api>>, operation: Operation) -> Self {
        Self { path, method: "post", handler: on(MethodFilter::POST, handler), operation }
    }
}

impl Answer {
    /// An answer with a body in JSON.
    pub(super) fn json<T: JsonSchema>(status: u16, description: &'static str) -> Self {
        Self { body: Some(schema_of::<T>), ..Self::empty(status, description) }
    }

    /// An answer without a body.
    pub(super) fn empty(status: u16, description: &'static str) -> Self {
        Self { status, description, body: None, may_stream: false, headers: &[], leads_to: Vec::new() }
    }
}

/// The schema of a type, by name.
pub(super) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The schema of a type, in its place.
pub(super) fn schema_of_inline<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// The paths of the table; each answer is counted.
pub(super) fn routed(endpoints: Vec<Endpoint>, metrics: &Metrics) -> Router<Arc<Api>> {
    endpoints.into_iter().fold(Router::new(), |router, Endpoint { path, handler, operation, .. }| {
        let metrics = metrics.clone();
        let counted = map_response(move |response: Response| {
            metrics.api_requests(operation.id, response.status().as_u16()).inc();
            ready(response)
        });
        router.route(&path, handler.layer(counted))
    })
}
