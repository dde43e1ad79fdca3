//! Problem details of RFC 9457: a status for programs and a sentence for people.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::features::suspension::apply::SuspensionFailure;
use crate::features::suspension::change::SuspensionRefusal;
use crate::features::suspension::traffic::RefusalSeverity;
use crate::kernel::api_error::ApiError;

/// Problem details of RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct ApiProblem {
    /// Type of the problem: always `about:blank`.
    r#type: &'static str,
    /// Name of the status.
    title: String,
    /// Status of the response.
    pub(super) status: u16,
    /// Cause of the problem, and how to solve it.
    pub(super) detail: String,
}

impl ApiProblem {
    pub(super) fn new(status: u16, detail: impl Into<String>) -> Self {
        let known = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        Self { r#type: "about:blank", title: known.unwrap_or("Problem").to_owned(), status, detail: detail.into() }
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(404, detail)
    }

    /// Adds the number of earlier problems of the same caller that were not recorded.
    pub(super) fn with_unrecorded(mut self, unrecorded: u64, whose: &str) -> Self {
        if unrecorded > 0 {
            self.detail += &format!("; {unrecorded} earlier ones of {whose} have no entry of their own");
        }
        self
    }

    /// Whether the server failed, and not the caller.
    pub(super) fn is_server_error(&self) -> bool {
        self.status >= 500
    }
}

impl From<ApiError> for ApiProblem {
    fn from(why: ApiError) -> Self {
        let status = match &why {
            ApiError::NotFound(_) => 404,
            ApiError::Exists(_) | ApiError::Changed(_) => 409,
            ApiError::Invalid(_) => 422,
            ApiError::Unauthorized(_) => 401,
            ApiError::Forbidden(_) => 403,
            ApiError::Unavailable(_) => 503,
        };
        Self::new(status, why.to_string())
    }
}

impl From<SuspensionRefusal> for ApiProblem {
    fn from(why: SuspensionRefusal) -> Self {
        let status = match why.severity() {
            RefusalSeverity::Invalid => 422,
            RefusalSeverity::Conflict => 409,
            RefusalSeverity::Unknown => 503,
        };
        Self::new(status, why.to_string())
    }
}

impl From<SuspensionFailure> for ApiProblem {
    fn from(why: SuspensionFailure) -> Self {
        match why {
            SuspensionFailure::Refused(why) => why.into(),
            SuspensionFailure::Failed(why) => why.into(),
        }
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let mut set =
            |name: HeaderName, value| drop(response.headers_mut().insert(name, HeaderValue::from_static(value)));
        set(CONTENT_TYPE, "application/problem+json");
        match self.status {
            401 => set(WWW_AUTHENTICATE, "Bearer realm=\"outrigger\""),
            503 => set(RETRY_AFTER, "1"),
            _ => {}
        }
        response
    }
}
