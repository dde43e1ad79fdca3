//! Writes and removes the routing that suspends traffic, and the finalizer that waits for its removal.
//!
//! Guarantees: foreign objects are never touched. Objects are created, never applied over existing ones; they are changed or
//! removed only by UID.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::kernel::api_error::ApiError;
use crate::kernel::names::ROUTING_FINALIZER;
use crate::kubernetes::client::call::{call_api, resource, suspension_api};
use crate::kubernetes::inventory::routing::RoutingKind;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Field manager, as shown in `managedFields`.
const FIELD_MANAGER: &str = "outrigger";

/// Writes routing objects and finalizers; cheap to clone.
#[derive(Clone)]
pub struct RouteWriter {
    client: Client,
}

impl RouteWriter {
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Creates a routing object.
    ///
    /// # Errors
    ///
    /// Returns [`ApiError::Exists`] if an object of that name exists.
    pub async fn create(&self, kind: RoutingKind, object: &Value) -> Result<(), ApiError> {
        let created = self.api(kind, namespace_of(object));
        let object: DynamicObject = serde_json::from_value(object.clone()).expect("it has a kind and metadata");
        let parameters = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.to_owned()) };
        call_api(created.create(&parameters, &object)).await.map(drop)
    }

    /// Restores an object of ours, and overwrites the changes of others.
    ///
    /// # Errors
    ///
    /// Fails if the object has been replaced by one of another UID.
    pub async fn repair(&self, kind: RoutingKind, object: &Value, uid: &str) -> Result<(), ApiError> {
        let api = self.api(kind, namespace_of(object));
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let mut applied = object.clone();
        applied["metadata"]["uid"] = json!(uid);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let existing = call_api(api.patch(name, &parameters, &Patch::Apply(&applied))).await?;
        if existing.data["spec"] == object["spec"] {
            return Ok(());
        }
        // Applying leaves additions of others in the spec.
        let replaced = json!([
            {"op": "replace", "path": "/metadata/uid", "value": uid},
            {"op": "replace", "path": "/spec", "value": object["spec"]},
        ]);
        let patch: Patch<DynamicObject> = Patch::Json(serde_json::from_value(replaced).expect("it is a JSON Patch"));
        let manager = Some(FIELD_MANAGER.to_owned());
        let parameters = PatchParams { field_manager: manager, ..PatchParams::default() };
        call_api(api.patch(name, &parameters, &patch)).await.map(drop)
    }

    /// Removes the object of this UID; succeeds if it is gone, or has been replaced by another.
    pub async fn remove(
        &self,
        kind: RoutingKind,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
    ) -> Result<(), ApiError> {
        let preconditions = Preconditions { uid: uid.map(str::to_owned), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match call_api(self.api(kind, namespace).delete(name, &parameters)).await {
            Ok(_) | Err(ApiError::NotFound(_) | ApiError::Changed(_)) => Ok(()),
            Err(why) => Err(why),
        }
    }

    /// Returns whether a suspension exists and has our finalizer.
    pub async fn has_finalizer(&self, suspension: &SuspensionObject) -> Result<bool, ApiError> {
        let api = suspension_api(self.client.clone(), suspension.namespace.as_deref());
        match call_api(api.get_metadata(&suspension.name)).await {
            Ok(existing) => {
                let ObjectMeta { uid, finalizers, .. } = existing.metadata;
                let is_ours = |finalizer: &String| finalizer == ROUTING_FINALIZER;
                Ok(uid == suspension.uid && finalizers.iter().flatten().any(is_ours))
            }
            Err(ApiError::NotFound(_)) => Ok(false),
            Err(why) => Err(why),
        }
    }

    /// Adds our finalizer to a suspension, or removes it; removal succeeds if the suspension is gone.
    ///
    /// # Errors
    ///
    /// Returns [`ApiError::Changed`] if somebody else changes the suspension at this moment.
    pub async fn set_finalizer(&self, suspension: &SuspensionObject, present: bool) -> Result<(), ApiError> {
        let SuspensionObject { name, uid, .. } = suspension;
        let api = suspension_api(self.client.clone(), suspension.namespace.as_deref());
        let existing = match call_api(api.get_metadata(name)).await {
            Err(ApiError::NotFound(_)) if !present => return Ok(()),
            existing => existing?.metadata,
        };
        if existing.uid != *uid {
            return if present {
                Err(ApiError::NotFound(format!("{} is another by now", suspension.describe())))
            } else {
                Ok(())
            };
        }
        let mut finalizers = existing.finalizers.unwrap_or_default();
        let has_it = finalizers.iter().any(|one| one == ROUTING_FINALIZER);
        match (has_it, present) {
            (true, false) => finalizers.retain(|one| one != ROUTING_FINALIZER),
            (false, true) => finalizers.push(ROUTING_FINALIZER.to_owned()),
            (true, true) | (false, false) => return Ok(()),
        }
        let metadata = json!({"uid": uid, "resourceVersion": existing.resource_version, "finalizers": finalizers});
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let manager = Some(FIELD_MANAGER.to_owned());
        let parameters = PatchParams { field_manager: manager, ..PatchParams::default() };
        match call_api(api.patch_metadata(name, &parameters, &patch)).await {
            Ok(_) => Ok(()),
            Err(ApiError::NotFound(_)) if !present => Ok(()),
            Err(why) => Err(why),
        }
    }

    fn api(&self, kind: RoutingKind, namespace: &str) -> Api<DynamicObject> {
        let [group, version, plural, name] = kind.names();
        Api::namespaced_with(self.client.clone(), namespace, &resource(group, version, name, plural))
    }
}

fn namespace_of(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}
