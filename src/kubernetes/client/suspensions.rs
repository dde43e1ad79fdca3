//! Suspensions in the cluster, read and written with the rights of whoever's client this is.
//!
//! Guarantees: a change is made to the state that was read or not at all; what others wrote beside the spec stays.

use crate::kubernetes::client::call::answered;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::features::suspension::stored::StoredSuspension;
use crate::kernel::api_error::ApiError;
use crate::kernel::names::{GROUP, VERSION};
use crate::kubernetes::client::call::resource;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::kubernetes::resources::suspension_object::SuspensionObject;
use crate::kubernetes::resources::suspension_policy::SuspensionPolicy;

/// Who owns the fields, as `managedFields` tell.
const FIELD_MANAGER: &str = "outrigger-api";

/// Reads and writes suspensions; cheap to clone.
#[derive(Clone)]
pub struct Suspensions {
    client: Client,
}

impl Suspensions {
    /// With the rights of this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// One suspension; of the cluster without a namespace.
    ///
    /// # Errors
    ///
    /// When there is none, or it may not be read.
    pub async fn get(&self, namespace: Option<&str>, name: &str) -> Result<StoredSuspension, ApiError> {
        live(answered(self.api(namespace).get(name)).await?)
    }

    /// Stores a new one.
    ///
    /// # Errors
    ///
    /// When there is one of its name, or the API server refuses it.
    pub async fn create(&self, suspension: &SuspensionObject, dry_run: bool) -> Result<StoredSuspension, ApiError> {
        let object = serde_json::from_value(suspension.to_json()).expect("it has a kind and metadata");
        let parameters = PostParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()) };
        live(answered(self.api(suspension.namespace.as_deref()).create(&parameters, &object)).await?)
    }

    /// Puts a spec in place of the one that was read.
    ///
    /// # Errors
    ///
    /// When somebody has changed it since, or the API server refuses it.
    pub async fn replace(&self, live: &StoredSuspension, wanted: &SuspensionObject, dry_run: bool) -> Result<StoredSuspension, ApiError> {
        let StoredSuspension { object, version } = live;
        // With these two in it the API server refuses to change anything but that state of that object.
        let patch = json!([
            {"op": "replace", "path": "/metadata/uid", "value": object.uid},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            {"op": "replace", "path": "/spec", "value": wanted.to_json()["spec"]},
        ]);
        let patch: Patch<DynamicObject> = Patch::Json(serde_json::from_value(patch).expect("it is a JSON Patch"));
        let manager = Some(FIELD_MANAGER.to_owned());
        let parameters = PatchParams { dry_run, field_manager: manager, ..PatchParams::default() };
        let api = self.api(object.namespace.as_deref());
        self::live(answered(api.patch(&object.name, &parameters, &patch)).await?)
    }

    /// Deletes the one that was read.
    ///
    /// # Errors
    ///
    /// When somebody has changed it since, or it may not be deleted.
    pub async fn delete(&self, live: &StoredSuspension, dry_run: bool) -> Result<(), ApiError> {
        let StoredSuspension { object, version } = live;
        let preconditions = Preconditions { uid: object.uid.clone(), resource_version: Some(version.clone()) };
        let parameters = DeleteParams { dry_run, preconditions: Some(preconditions), ..DeleteParams::default() };
        answered(self.api(object.namespace.as_deref()).delete(&object.name, &parameters)).await.map(drop)
    }

    fn api(&self, namespace: Option<&str>) -> Api<DynamicObject> {
        let of = |kind, plural| resource(GROUP, VERSION, kind, plural);
        match namespace {
            Some(namespace) => {
                let kind = of("SuspensionPolicy", "suspensionpolicies");
                Api::namespaced_with(self.client.clone(), namespace, &kind)
            }
            None => Api::all_with(self.client.clone(), &of("ClusterSuspensionPolicy", "clustersuspensionpolicies")),
        }
    }
}

fn live(object: DynamicObject) -> Result<StoredSuspension, ApiError> {
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
