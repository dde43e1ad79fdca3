//! Evictions of drifting pods within their disruption budgets, and a look at their workloads first.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::api::{DynamicObject, PostParams};
use kube::core::Status;
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::timeout;

use super::{NoClient, client_without_retries};
use crate::decision::facts::RunningPod;
use crate::kubernetes::client::call::resource;
use crate::kubernetes::inventory::owner_kind::OwnerKind;

/// Short, because the caller has more to do than to wait.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Client for evictions. Cheap to clone.
#[derive(Clone)]
pub struct EvictionClient {
    client: Client,
}

/// Result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvictionOutcome {
    /// The pod is ending.
    Evicted,
    /// The pod is gone, or another pod has its name.
    Gone,
    /// A disruption budget allows no eviction at present. Holds the API server's message.
    Held(String),
    /// The eviction is forbidden, or nobody answers.
    Failed(String),
}

impl EvictionClient {
    /// Connects with the rights of the server.
    pub async fn connect() -> Result<Self, NoClient> {
        // A retrying client takes status 429 of a budget for an overload.
        Ok(Self { client: client_without_retries().await? })
    }

    /// Reads the stored workload.
    pub async fn get_workload(&self, kind: &OwnerKind, namespace: &str, name: &str) -> Result<Value, String> {
        let resource = resource(&kind.group, &kind.version, &kind.kind, &kind.plural);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let found = timeout(TIMEOUT, api.get(name)).await;
        let found = found.map_err(|_| "the API server does not answer".to_owned())?.map_err(|why| why.to_string())?;
        serde_json::to_value(found).map_err(|why| why.to_string())
    }

    /// Evicts this pod, and no successor with the same name.
    pub async fn evict(&self, pod: &RunningPod) -> EvictionOutcome {
        let RunningPod { uid, name, pod, .. } = pod;
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let preconditions = Preconditions { uid: Some(uid.to_string()), resource_version: None };
        let eviction = Eviction {
            metadata: ObjectMeta { name: Some(name.to_string()), ..ObjectMeta::default() },
            delete_options: Some(DeleteOptions { preconditions: Some(preconditions), ..DeleteOptions::default() }),
        };
        let parameters = PostParams::default();
        let evicted = api.create_subresource::<Eviction, Status>("eviction", name, &parameters, &eviction);
        match timeout(TIMEOUT, evicted).await {
            Ok(Ok(_)) => EvictionOutcome::Evicted,
            Ok(Err(kube::Error::Api(answer))) if matches!(answer.code, 404 | 409) => EvictionOutcome::Gone,
            Ok(Err(kube::Error::Api(answer))) if answer.code == 429 => EvictionOutcome::Held(answer.message),
            Ok(Err(why)) => EvictionOutcome::Failed(why.to_string()),
            Err(_) => EvictionOutcome::Failed("the API server does not answer".to_owned()),
        }
    }
}
