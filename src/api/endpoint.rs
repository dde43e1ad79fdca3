//! Table of endpoints. The routes and the OpenAPI document are both made from it, so they cannot differ.

use std::future::ready;
use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::ApiState;
use crate::metrics::Metrics;

/// Function that makes a schema; its components are kept with the generator.
pub(super) type SchemaFn = fn(&mut SchemaGenerator) -> Schema;

/// Endpoint: path, method, handler and description.
pub(super) struct ApiEndpoint {
    pub(super) path: String,
    /// Method in lower case, as OpenAPI writes it.
    pub(super) method: &'static str,
    handler: MethodRouter<Arc<ApiState>>,
    pub(super) operation: OperationSpec,
}

/// Description of an operation for the document.
#[derive(Clone, Default)]
pub(super) struct OperationSpec {
    pub(super) id: &'static str,
    /// Summary in one line.
    pub(super) summary: &'static str,
    /// Schema of the query parameters: an object with a property for each.
    pub(super) query: Option<SchemaFn>,
    /// Headers that the handler reads.
    pub(super) headers: &'static [HeaderSpec],
    /// Schema of the body, and whether a body is required.
    pub(super) body: Option<(SchemaFn, bool)>,
    /// Whether the body may be YAML instead of JSON.
    pub(super) may_be_yaml: bool,
    /// Successful responses.
    pub(super) responses: Vec<ResponseSpec>,
    /// Statuses of problems, besides those of every operation.
    pub(super) problems: &'static [u16],
}

/// Header of a request or a response.
pub(super) struct HeaderSpec {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
}

/// Successful response.
#[derive(Clone)]
pub(super) struct ResponseSpec {
    pub(super) status: u16,
    pub(super) description: &'static str,
    /// Schema of the JSON body; none without a body.
    pub(super) body: Option<SchemaFn>,
    /// Whether the response may be server-sent events instead.
    pub(super) may_stream: bool,
    pub(super) headers: &'static [HeaderSpec],
    /// Operations on the object in the body, addressed by its namespace and name.
    pub(super) linked_operations: Vec<&'static str>,
}

impl ApiEndpoint {
    pub(super) fn get<T: 'static>(
        path: String,
        handler: impl Handler<T, Arc<ApiState>>,
        operation: OperationSpec,
    ) -> Self {
        Self { path, method: "get", handler: on(MethodFilter::GET, handler), operation }
    }

    /// Creates a GET endpoint with an ETag and this response type.
    pub(super) fn cached_get<A: JsonSchema, T: 'static>(
        id: &'static str,
        path: &str,
        summary: &'static str,
        handler: impl Handler<T, Arc<ApiState>>,
    ) -> Self {
        const TAG: HeaderSpec = HeaderSpec { name: "ETag", description: "Tag of this response, for If-None-Match." };
        let responses = vec![
            ResponseSpec {
                headers: &[TAG],
                ..ResponseSpec::json::<A>(200, "Known state; partial is true if it is incomplete.")
            },
            ResponseSpec::empty(304, "Unchanged since the response that If-None-Match names."),
        ];
        const KNOWN: HeaderSpec = HeaderSpec {
            name: "If-None-Match",
            description: "ETag of an earlier response: an unchanged one has no body.",
        };
        Self::get(
            path.to_owned(),
            handler,
            OperationSpec { id, summary, headers: &[KNOWN], responses, ..OperationSpec::default() },
        )
    }

    pub(super) fn with_query(mut self, query: SchemaFn) -> Self {
        self.operation.query = Some(query);
        self
    }

    /// Allows server-sent events as the response.
    pub(super) fn with_stream(mut self) -> Self {
        self.operation.responses[0].may_stream = true;
        self
    }

    pub(super) fn put<T: 'static>(
        path: String,
        handler: impl Handler<T, Arc<ApiState>>,
        operation: OperationSpec,
    ) -> Self {
        Self { path, method: "put", handler: on(MethodFilter::PUT, handler), operation }
    }

    pub(super) fn post<T: 'static>(
        path: String,
        handler: impl Handler<T, Arc<ApiState>>,
        operation: OperationSpec,
    ) -> Self {
        Self { path, method: "post", handler: on(MethodFilter::POST, handler), operation }
    }
}

impl ResponseSpec {
    pub(super) fn json<T: JsonSchema>(status: u16, description: &'static str) -> Self {
        Self { body: Some(component_schema::<T>), ..Self::empty(status, description) }
    }

    pub(super) fn empty(status: u16, description: &'static str) -> Self {
        Self { status, description, body: None, may_stream: false, headers: &[], linked_operations: Vec::new() }
    }
}

/// Returns a reference to the schema of a type.
pub(super) fn component_schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Returns the schema of a type itself.
pub(super) fn inline_schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// Builds the router of all endpoints; counts each response.
pub(super) fn build_router(endpoints: Vec<ApiEndpoint>, metrics: &Metrics) -> Router<Arc<ApiState>> {
    endpoints.into_iter().fold(Router::new(), |router, ApiEndpoint { path, handler, operation, .. }| {
        let metrics = metrics.clone();
        let counted = map_response(move |response: Response| {
            metrics.api_requests(operation.id, response.status().as_u16()).inc();
            ready(response)
        });
        router.route(&path, handler.layer(counted))
    })
}
