//! Calls to the API server: their timeout, and their error.

use super::CALL_TIMEOUT;
use crate::kernel::api_error::ApiError;
use crate::kernel::text::sanitized;
use kube::api::ApiResource;
use kube::core::GroupVersionKind;
use kube::core::Status;
use tokio::time::timeout;

/// What the API server answers in time, or why it does not.
pub(crate) async fn answered<T>(asked: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
    match timeout(CALL_TIMEOUT, asked).await {
        Ok(answer) => answer.map_err(unstored),
        Err(_) => Err(ApiError::Unavailable("the API server does not answer".to_owned())),
    }
}

pub(crate) fn unstored(error: kube::Error) -> ApiError {
    let kube::Error::Api(status) = error else {
        return ApiError::Unavailable(format!("the API server cannot be asked: {error}"));
    };
    let Status { code, reason, message, .. } = *status;
    let message = sanitized(&message);
    match code {
        401 => ApiError::Unauthorized("the API server does not know this token, or not any more".to_owned()),
        403 => ApiError::Forbidden(message),
        404 => ApiError::NotFound(message),
        409 if reason == "AlreadyExists" => ApiError::Exists(message),
        409 => ApiError::Changed(message),
        400 | 413 | 415 | 422 => ApiError::Invalid(message),
        _ => ApiError::Unavailable(format!("the API server answers {code}: {message}")),
    }
}

/// A resource by its names.
pub(crate) fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}
