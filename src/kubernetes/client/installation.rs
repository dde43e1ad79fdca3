//! What there is of our own installation in a cluster, read with the rights of whoever asks.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::CALL_TIMEOUT;
use crate::kernel::names::{LEASE, SERVICE, WEBHOOK_CONFIGURATION};

/// Our own installation.
#[derive(Debug)]
pub struct Installation {
    /// The API server's version.
    pub version: Read<String>,
    /// Our webhook configuration.
    pub registration: Read<MutatingWebhookConfiguration>,
    /// The server.
    pub server: Read<Deployment>,
    /// Who leads.
    pub lease: Read<Lease>,
}

/// What came of reading one object.
#[derive(Debug)]
pub enum Read<K> {
    /// It is there.
    Found(Box<K>),
    /// It is not there.
    Absent,
    /// It could not be read, and this is why.
    Unread(String),
}

/// Reads it all.
pub async fn installation(client: &Client, namespace: &str) -> Installation {
    let registrations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let version = tokio::time::timeout(CALL_TIMEOUT, client.apiserver_version()).await;
    Installation {
        version: match version {
            Ok(Ok(version)) => Read::Found(Box::new(version.git_version)),
            Ok(Err(error)) => Read::Unread(error.to_string()),
            Err(_) => Read::Unread("no answer in time".to_owned()),
        },
        registration: read(registrations, WEBHOOK_CONFIGURATION).await,
        server: namespaced(client, namespace, SERVICE).await,
        lease: namespaced(client, namespace, LEASE).await,
    }
}

async fn namespaced<K>(client: &Client, namespace: &str, name: &str) -> Read<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    read(Api::namespaced(client.clone(), namespace), name).await
}

async fn read<K: Clone + DeserializeOwned + std::fmt::Debug>(api: Api<K>, name: &str) -> Read<K> {
    match tokio::time::timeout(CALL_TIMEOUT, api.get_opt(name)).await {
        Ok(Ok(Some(found))) => Read::Found(Box::new(found)),
        Ok(Ok(None)) => Read::Absent,
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Read::Unread("you may not read it".to_owned()),
        Ok(Err(error)) => Read::Unread(error.to_string()),
        Err(_) => Read::Unread("no answer in time".to_owned()),
    }
}
