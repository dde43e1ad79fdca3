//! Evicts pods, so that their disruption budgets hold, and looks at their workloads before.

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

/// Whoever asks has more to do than to wait.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Evicts; cheap to clone.
#[derive(Clone)]
pub struct Evictions {
    client: Client,
}

/// What comes of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The pod is on its way out.
    Evicted,
    /// It is gone, or is another by now.
    Gone,
    /// A disruption budget allows none at present, in the API server's words.
    Held(String),
    /// It may not be evicted, or nobody answers.
    Failed(String),
}

impl Evictions {
    /// With the rights of the server.
    ///
    /// # Errors
    ///
    /// When there is no cluster to be found.
    pub async fn begin() -> Result<Self, NoClient> {
        // That a budget allows none is said with the same status as that there is too much to do.
        Ok(Self { client: client_without_retries().await? })
    }

    /// The workload of this kind as it is stored at this moment.
    ///
    /// # Errors
    ///
    /// When it is not there, may not be read, or nobody answers.
    pub async fn workload(&self, kind: &OwnerKind, namespace: &str, name: &str) -> Result<Value, String> {
        let resource = resource(&kind.group, &kind.version, &kind.kind, &kind.plural);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let found = timeout(TIMEOUT, api.get(name)).await;
        let found = found.map_err(|_| "the API server does not answer".to_owned())?.map_err(|why| why.to_string())?;
        serde_json::to_value(found).map_err(|why| why.to_string())
    }

    /// Evicts this pod, and no later one of its name.
    pub async fn evict(&self, pod: &RunningPod) -> Attempt {
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
            Ok(Ok(_)) => Attempt::Evicted,
            Ok(Err(kube::Error::Api(answer))) if matches!(answer.code, 404 | 409) => Attempt::Gone,
            Ok(Err(kube::Error::Api(answer))) if answer.code == 429 => Attempt::Held(answer.message),
            Ok(Err(why)) => Attempt::Failed(why.to_string()),
            Err(_) => Attempt::Failed("the API server does not answer".to_owned()),
        }
    }
}
