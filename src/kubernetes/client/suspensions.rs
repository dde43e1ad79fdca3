//! Suspensions in the cluster, read and written with the rights of the given client.
//!
//! Guarantees: a change applies to the state that was read, or fails; fields beside the spec stay as others wrote them.

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::call::{call_api, suspension_api};
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::kubernetes::resources::stored_suspension::StoredSuspension;
use crate::kubernetes::resources::suspension_object::SuspensionObject;
use crate::kubernetes::resources::suspension_policy::SuspensionPolicy;

/// Field manager, as shown in `managedFields`.
const FIELD_MANAGER: &str = "outrigger-api";

/// Reads and writes suspensions; cheap to clone.
#[derive(Clone)]
pub struct ClusterSuspensions {
    client: Client,
}

impl ClusterSuspensions {
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Reads a suspension; without a namespace, one of the cluster.
    pub async fn get(&self, namespace: Option<&str>, name: &str) -> Result<StoredSuspension, ApiError> {
        stored_suspension(call_api(self.api(namespace).get(name)).await?)
    }

    /// Creates a suspension.
    pub async fn create(&self, suspension: &SuspensionObject, dry_run: bool) -> Result<StoredSuspension, ApiError> {
        let object = serde_json::from_value(suspension.to_json()).expect("it has a kind and metadata");
        let parameters = PostParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()) };
        stored_suspension(call_api(self.api(suspension.namespace.as_deref()).create(&parameters, &object)).await?)
    }

    /// Replaces the spec of a suspension.
    ///
    /// # Errors
    ///
    /// Returns [`ApiError::Changed`] if the object has changed since it was read.
    pub async fn replace(
        &self,
        stored: &StoredSuspension,
        changed: &SuspensionObject,
        dry_run: bool,
    ) -> Result<StoredSuspension, ApiError> {
        let StoredSuspension { object, version } = stored;
        // With UID and resourceVersion, the API server refuses to change any other object or state.
        let patch = json!([
            {"op": "replace", "path": "/metadata/uid", "value": object.uid},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            {"op": "replace", "path": "/spec", "value": changed.to_json()["spec"]},
        ]);
        let patch: Patch<DynamicObject> = Patch::Json(serde_json::from_value(patch).expect("it is a JSON Patch"));
        let manager = Some(FIELD_MANAGER.to_owned());
        let parameters = PatchParams { dry_run, field_manager: manager, ..PatchParams::default() };
        let api = self.api(object.namespace.as_deref());
        self::stored_suspension(call_api(api.patch(&object.name, &parameters, &patch)).await?)
    }

    /// Deletes a suspension.
    ///
    /// # Errors
    ///
    /// Returns [`ApiError::Changed`] if the object has changed since it was read.
    pub async fn delete(&self, stored: &StoredSuspension, dry_run: bool) -> Result<(), ApiError> {
        let StoredSuspension { object, version } = stored;
        let preconditions = Preconditions { uid: object.uid.clone(), resource_version: Some(version.clone()) };
        let parameters = DeleteParams { dry_run, preconditions: Some(preconditions), ..DeleteParams::default() };
        call_api(self.api(object.namespace.as_deref()).delete(&object.name, &parameters)).await.map(drop)
    }

    fn api(&self, namespace: Option<&str>) -> Api<DynamicObject> {
        suspension_api(self.client.clone(), namespace)
    }
}

fn stored_suspension(object: DynamicObject) -> Result<StoredSuspension, ApiError> {
    fn typed<K: DeserializeOwned>(object: DynamicObject) -> Result<K, ApiError> {
        let value = serde_json::to_value(object).expect("an object is JSON");
        serde_json::from_value(value).map_err(|error| {
            ApiError::Invalid(format!("it cannot be read, and has to be mended or deleted with kubectl: {error}"))
        })
    }
    let version = object.metadata.resource_version.clone().unwrap_or_default();
    let object = match object.metadata.namespace {
        Some(_) => SuspensionObject::from(&typed::<SuspensionPolicy>(object)?),
        None => SuspensionObject::from(&typed::<ClusterSuspensionPolicy>(object)?),
    };
    Ok(StoredSuspension { object, version })
}
