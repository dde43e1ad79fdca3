//! Reads our own installation in a cluster, with the rights of the caller.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::CALL_TIMEOUT;
use crate::kernel::names::{LEASE, SERVICE, WEBHOOK_CONFIGURATION};

/// Our own installation, as far as it could be read.
#[derive(Debug)]
pub struct Installation {
    /// Version of the API server.
    pub version: ObjectRead<String>,
    /// Our webhook configuration.
    pub registration: ObjectRead<MutatingWebhookConfiguration>,
    /// Deployment of our server.
    pub server: ObjectRead<Deployment>,
    /// Lease of the leader.
    pub lease: ObjectRead<Lease>,
}

/// Result of reading one object.
#[derive(Debug)]
pub enum ObjectRead<K> {
    /// The object exists.
    Found(Box<K>),
    /// The object does not exist.
    Absent,
    /// The object could not be read, for this reason.
    Unread(String),
}

/// Reads all parts of the installation.
pub async fn read_installation(client: &Client, namespace: &str) -> Installation {
    let registrations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let version = tokio::time::timeout(CALL_TIMEOUT, client.apiserver_version()).await;
    Installation {
        version: match version {
            Ok(Ok(version)) => ObjectRead::Found(Box::new(version.git_version)),
            Ok(Err(error)) => ObjectRead::Unread(error.to_string()),
            Err(_) => ObjectRead::Unread("no answer in time".to_owned()),
        },
        registration: read_object(registrations, WEBHOOK_CONFIGURATION).await,
        server: read_namespaced(client, namespace, SERVICE).await,
        lease: read_namespaced(client, namespace, LEASE).await,
    }
}

async fn read_namespaced<K>(client: &Client, namespace: &str, name: &str) -> ObjectRead<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    read_object(Api::namespaced(client.clone(), namespace), name).await
}

async fn read_object<K: Clone + DeserializeOwned + std::fmt::Debug>(api: Api<K>, name: &str) -> ObjectRead<K> {
    match tokio::time::timeout(CALL_TIMEOUT, api.get_opt(name)).await {
        Ok(Ok(Some(found))) => ObjectRead::Found(Box::new(found)),
        Ok(Ok(None)) => ObjectRead::Absent,
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => ObjectRead::Unread("you may not read it".to_owned()),
        Ok(Err(error)) => ObjectRead::Unread(error.to_string()),
        Err(_) => ObjectRead::Unread("no answer in time".to_owned()),
    }
}
