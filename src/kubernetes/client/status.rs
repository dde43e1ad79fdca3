//! Writes the status of our resources, and no other part of them.
//!
//! Uses server-side apply: fields that others write into the same status stay.

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use thiserror::Error;
use tokio::time::timeout;

use super::CALL_TIMEOUT;
use crate::kubernetes::client::call::own_resource;
use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind};
use crate::kubernetes::resources::status::RuleStatus;

/// Owner of the fields in `managedFields`.
const FIELD_MANAGER: &str = "outrigger";

/// Writer of statuses; cheap to clone.
#[derive(Clone)]
pub struct StatusWriter {
    client: Client,
}

/// Failure to write a status.
#[derive(Debug, Error)]
pub enum StatusError {
    /// The API server refuses, or is not reachable.
    #[error(transparent)]
    Refused(#[from] kube::Error),
    /// The API server takes too long to answer.
    #[error("the API server did not answer in time")]
    Timeout,
}

impl StatusWriter {
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Puts a status on the object of this name and UID. An object that is gone is no error.
    pub async fn write(
        &self,
        kind: RuleKind,
        (namespace, name): &NamespacedName,
        uid: Option<&str>,
        status: &RuleStatus,
    ) -> Result<(), StatusError> {
        let resource = own_resource(kind.names());
        let api: Api<DynamicObject> = match &**namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        };
        let mut applied = json!({
            "apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, "status": status,
        });
        if let Some(uid) = uid {
            applied["metadata"]["uid"] = uid.into();
        }
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        match timeout(CALL_TIMEOUT, api.patch_status(name, &parameters, &Patch::Apply(&applied))).await {
            // A later object of the same name is another one; the watch will report it.
            Ok(Err(kube::Error::Api(answer))) if matches!(answer.code, 404 | 409) => Ok(()),
            Ok(written) => Ok(written.map(drop)?),
            Err(_) => Err(StatusError::Timeout),
        }
    }
}
