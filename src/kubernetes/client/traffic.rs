//! Writes and removes the routing that suspends traffic, and the finalizer that waits for its removal.
//!
//! Guarantees: what is not ours is never touched. An object is created, never applied over one that stands; it is changed or
//! removed only as the one of a UID.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::kernel::api_error::ApiError;
use crate::kernel::names::{GROUP, ROUTING_FINALIZER, VERSION};
use crate::kubernetes::client::call::answered;
use crate::kubernetes::client::call::resource;
use crate::kubernetes::inventory::routing::Kind;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Who owns the fields, as `managedFields` tell.
const FIELD_MANAGER: &str = "outrigger";

/// Writes routing; cheap to clone.
#[derive(Clone)]
pub struct Routes {
    client: Client,
}

impl Routes {
    /// With the rights of this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Creates an object.
    ///
    /// # Errors
    ///
    /// When one of its name stands there, or the API server refuses it.
    pub async fn create(&self, kind: Kind, object: &Value) -> Result<(), ApiError> {
        let created = self.api(kind, namespace_of(object));
        let object: DynamicObject = serde_json::from_value(object.clone()).expect("it has a kind and metadata");
        let parameters = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.to_owned()) };
        answered(created.create(&parameters, &object)).await.map(drop)
    }

    /// Makes an object of ours what it should be, whatever others made of it.
    ///
    /// # Errors
    ///
    /// When it is another object by now, or the API server refuses it.
    pub async fn repair(&self, kind: Kind, object: &Value, uid: &str) -> Result<(), ApiError> {
        let api = self.api(kind, namespace_of(object));
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let mut applied = object.clone();
        applied["metadata"]["uid"] = json!(uid);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let stands = answered(api.patch(name, &parameters, &Patch::Apply(&applied))).await?;
        if stands.data["spec"] == object["spec"] {
            return Ok(());
        }
        // Applying leaves what others have added.
        let replaced = json!([
            {"op": "replace", "path": "/metadata/uid", "value": uid},
            {"op": "replace", "path": "/spec", "value": object["spec"]},
        ]);
        let patch: Patch<DynamicObject> = Patch::Json(serde_json::from_value(replaced).expect("it is a JSON Patch"));
        let manager = Some(FIELD_MANAGER.to_owned());
        let parameters = PatchParams { field_manager: manager, ..PatchParams::default() };
        answered(api.patch(name, &parameters, &patch)).await.map(drop)
    }

    /// Removes the object of this UID; one that is gone, or is another by now, needs nothing.
    ///
    /// # Errors
    ///
    /// When it may not be removed, or nobody answers.
    pub async fn remove(&self, kind: Kind, namespace: &str, name: &str, uid: Option<&str>) -> Result<(), ApiError> {
        let preconditions = Preconditions { uid: uid.map(str::to_owned), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match answered(self.api(kind, namespace).delete(name, &parameters)).await {
            Ok(_) | Err(ApiError::NotFound(_) | ApiError::Changed(_)) => Ok(()),
            Err(why) => Err(why),
        }
    }

    /// Whether a suspension stands and carries our finalizer.
    ///
    /// # Errors
    ///
    /// When it may not be read, or nobody answers.
    pub async fn is_held(&self, suspension: &SuspensionObject) -> Result<bool, ApiError> {
        let api = self.suspensions(suspension.namespace.as_deref());
        match answered(api.get_metadata(&suspension.name)).await {
            Ok(stands) => {
                let ObjectMeta { uid, finalizers, .. } = stands.metadata;
                let is_ours = |finalizer: &String| finalizer == ROUTING_FINALIZER;
                Ok(uid == suspension.uid && finalizers.iter().flatten().any(is_ours))
            }
            Err(ApiError::NotFound(_)) => Ok(false),
            Err(why) => Err(why),
        }
    }

    /// Puts our finalizer on a suspension, or takes it off; one that is gone needs none.
    ///
    /// # Errors
    ///
    /// When it may not be changed, or somebody else changes it at this moment.
    pub async fn set_finalizer(&self, suspension: &SuspensionObject, wanted: bool) -> Result<(), ApiError> {
        let SuspensionObject { name, uid, .. } = suspension;
        let api = self.suspensions(suspension.namespace.as_deref());
        let stands = match answered(api.get_metadata(name)).await {
            Err(ApiError::NotFound(_)) if !wanted => return Ok(()),
            stands => stands?.metadata,
        };
        if stands.uid != *uid {
            return if wanted {
                Err(ApiError::NotFound(format!("{} is another by now", suspension.named())))
            } else {
                Ok(())
            };
        }
        let mut finalizers = stands.finalizers.unwrap_or_default();
        let has_it = finalizers.iter().any(|one| one == ROUTING_FINALIZER);
        match (has_it, wanted) {
            (true, false) => finalizers.retain(|one| one != ROUTING_FINALIZER),
            (false, true) => finalizers.push(ROUTING_FINALIZER.to_owned()),
            (true, true) | (false, false) => return Ok(()),
        }
        let metadata = json!({"uid": uid, "resourceVersion": stands.resource_version, "finalizers": finalizers});
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let manager = Some(FIELD_MANAGER.to_owned());
        let parameters = PatchParams { field_manager: manager, ..PatchParams::default() };
        match answered(api.patch_metadata(name, &parameters, &patch)).await {
            Ok(_) => Ok(()),
            Err(ApiError::NotFound(_)) if !wanted => Ok(()),
            Err(why) => Err(why),
        }
    }

    fn suspensions(&self, namespace: Option<&str>) -> Api<DynamicObject> {
        let of = |kind, plural| resource(GROUP, VERSION, kind, plural);
        match namespace {
            Some(namespace) => {
                let kind = of("SuspensionPolicy", "suspensionpolicies");
                Api::namespaced_with(self.client.clone(), namespace, &kind)
            }
            None => Api::all_with(self.client.clone(), &of("ClusterSuspensionPolicy", "clustersuspensionpolicies")),
        }
    }

    fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        let [group, version, plural, name] = kind.names();
        Api::namespaced_with(self.client.clone(), namespace, &resource(group, version, name, plural))
    }
}

fn namespace_of(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}
