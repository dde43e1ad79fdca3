//! Calls for restarts, with the rights of the client's credentials. They return objects of Kubernetes, or the parts of
//! them that the caller keeps.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{DeleteParams, DynamicObject, EvictParams, ListParams, PatchParams, Preconditions};
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::trimmed::{FieldPath, MANAGED_FIELDS, TrimmedReader};
use super::{CALL_TIMEOUT, NoClient};
use crate::kernel::api_error::ApiError;
use crate::kernel::text::sanitize;
use crate::kubernetes::client::call::{call_api, resource};
use crate::kubernetes::inventory::owner_kind::OwnerKind;

/// Owner of our fields in `managedFields`.
const FIELD_MANAGER: &str = "outrigger-restart";
/// Fields of a workload that nobody needs. They may be most of the object.
const SKIPPED_WORKLOAD_FIELDS: &[FieldPath] =
    &[MANAGED_FIELDS, &["spec", "template", "spec"], &["spec", "jobTemplate", "spec"]];
/// All fields of an object but its specification.
pub(crate) const WITHOUT_SPEC: &[FieldPath] = &[MANAGED_FIELDS, &["spec"]];
/// All fields of an object that users or controllers write.
pub(crate) const WITH_SPEC: &[FieldPath] = &[MANAGED_FIELDS];

/// Client for restarts. Cheap to clone.
#[derive(Clone)]
pub struct RestartClient {
    client: Client,
}

/// Result of an eviction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvictionResult {
    /// The pod is ending.
    Evicted,
    /// Something holds the pod at present. Holds the reason.
    Held(String),
}

impl RestartClient {
    /// Makes a client with these credentials.
    pub fn new(mut config: Config) -> Result<Self, NoClient> {
        // A retrying client would repeat an eviction silently while a budget holds the pod.
        config.default_retry = false;
        Ok(Self { client: Client::try_from(config)? })
    }

    /// Returns the names of all readable namespaces if `name` is not among them, and `None` if it exists. A namespace
    /// that may not be read is taken to exist.
    pub async fn namespaces_if_missing(&self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        match call_api(namespaces.get(name)).await {
            Ok(_) | Err(ApiError::Forbidden(_)) => Ok(None),
            Err(ApiError::NotFound(_)) => {
                let keep = |one: Namespace| one.metadata.name;
                let all = self.reader(namespaces.resource_url(), WITH_SPEC).list(ListParams::default(), keep).await;
                Ok(Some(all.unwrap_or_default()))
            }
            Err(why) => Err(why),
        }
    }

    /// Lists the workloads of a kind, and returns the kept part of each.
    pub(crate) async fn list_objects<T: Send + 'static>(
        &self,
        kind: &OwnerKind,
        namespace: &str,
        params: ListParams,
        keep: impl Fn(DynamicObject) -> Option<T> + Clone + Send + 'static,
    ) -> Result<Vec<T>, ApiError> {
        let api = self.api_of_kind(namespace, kind);
        self.reader(api.resource_url(), SKIPPED_WORKLOAD_FIELDS).list(params, keep).await
    }

    pub(crate) async fn get_object(
        &self,
        kind: &OwnerKind,
        namespace: &str,
        name: &str,
    ) -> Result<DynamicObject, ApiError> {
        self.reader(self.api_of_kind(namespace, kind).resource_url(), SKIPPED_WORKLOAD_FIELDS).get(name).await
    }

    /// Applies a merge patch to a workload, and returns the result.
    pub(crate) async fn patch_object(
        &self,
        kind: &OwnerKind,
        (namespace, name): (&str, &str),
        patch: Value,
        dry_run: bool,
    ) -> Result<DynamicObject, ApiError> {
        let manager = Some(FIELD_MANAGER.to_owned());
        let params = PatchParams { dry_run, field_manager: manager, ..PatchParams::default() };
        let api = self.api_of_kind(namespace, kind);
        self.reader(api.resource_url(), SKIPPED_WORKLOAD_FIELDS).patch(name, &params, patch).await
    }

    /// Lists objects of a built-in kind without the `skipped` fields, and returns the kept part of each.
    pub(crate) async fn list_built_in<K, T: Send + 'static>(
        &self,
        namespace: &str,
        skipped: &'static [FieldPath],
        params: ListParams,
        keep: impl Fn(K) -> Option<T> + Clone + Send + 'static,
    ) -> Result<Vec<T>, ApiError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        self.reader(api.resource_url(), skipped).list(params, keep).await
    }

    /// Evicts a pod, if its budgets allow it.
    pub(crate) async fn evict(&self, namespace: &str, name: &str, uid: &str) -> Result<EvictionResult, ApiError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        // A StatefulSet gives the successor of a pod the same name.
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let delete = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let params = EvictParams { delete_options: Some(delete), ..EvictParams::default() };
        let Ok(evicted) = timeout(CALL_TIMEOUT, pods.evict(name, &params)).await else {
            return Err(ApiError::Unavailable("the API server does not answer".to_owned()));
        };
        match evicted {
            // 429: a budget allows no eviction at present. 500: two budgets cover the pod.
            Err(kube::Error::Api(status)) if [429, 500].contains(&status.code) => {
                Ok(EvictionResult::Held(sanitize(&status.message)))
            }
            evicted => match call_api(async { evicted }).await {
                Ok(_) | Err(ApiError::NotFound(_) | ApiError::Changed(_)) => Ok(EvictionResult::Evicted),
                Err(why) => Err(why),
            },
        }
    }

    fn reader<'a>(&'a self, url: &'a str, skipped: &'static [FieldPath]) -> TrimmedReader<'a> {
        TrimmedReader { client: &self.client, url, skipped }
    }

    fn api_of_kind(&self, namespace: &str, kind: &OwnerKind) -> Api<DynamicObject> {
        let OwnerKind { group, version, plural, kind, .. } = kind;
        Api::namespaced_with(self.client.clone(), namespace, &resource(group, version, kind, plural))
    }
}
