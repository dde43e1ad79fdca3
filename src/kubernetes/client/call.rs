//! Timeout and errors of calls to the API server.

use super::CALL_TIMEOUT;
use crate::kernel::api_error::ApiError;
use crate::kernel::names::{GROUP, ResourceNames, VERSION, suspension_names};
use crate::kernel::text::sanitize;
use kube::api::{ApiResource, DynamicObject};
use kube::core::{GroupVersionKind, Status};
use kube::{Api, Client};
use tokio::time::timeout;

/// Awaits a call for `CALL_TIMEOUT` at most, and classifies its error.
pub(crate) async fn call_api<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
    match timeout(CALL_TIMEOUT, request).await {
        Ok(answer) => answer.map_err(classify_error),
        Err(_) => Err(ApiError::Unavailable("the API server does not answer".to_owned())),
    }
}

pub(crate) fn classify_error(error: kube::Error) -> ApiError {
    let kube::Error::Api(status) = error else {
        return ApiError::Unavailable(format!("the API server cannot be asked: {error}"));
    };
    let Status { code, reason, message, .. } = *status;
    let message = sanitize(&message);
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

/// Returns the endpoint of suspensions: of one namespace, or of the cluster.
pub(crate) fn suspension_api(client: Client, namespace: Option<&str>) -> Api<DynamicObject> {
    let resource = own_resource(suspension_names(namespace.is_some()));
    match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    }
}

/// Describes a resource of ours.
pub(crate) fn own_resource(names: ResourceNames) -> ApiResource {
    resource(GROUP, VERSION, names.kind, names.plural)
}

/// Describes a resource by its names.
pub(crate) fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}
