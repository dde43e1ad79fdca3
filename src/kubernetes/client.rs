//! The only owner of a client of the Kubernetes API: watches, short reads, our own registration, and which replica leads.

pub mod access;
pub mod any_kind;
pub mod call;
pub mod certificates;
pub mod events;
pub mod evictions;
pub mod installation;
pub mod lease;
pub mod metadata_edit;
pub mod overrides;
pub(crate) mod parallel;
pub mod registration;
pub mod removal;
pub mod restarts;
pub mod status;
pub mod suspensions;
pub mod traffic;
pub mod trimmed;
pub mod webhook_order;
pub mod workload;

use std::time::Duration;

use kube::{Client, Config};
use thiserror::Error;

/// A single call may take this long. Watches bound their own silence, the admission path its reads.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Longer than a watch may be silent; what is silent for longer is a connection that nobody serves any more.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(330);

/// Why there is no client.
#[derive(Debug, Error)]
pub enum NoClient {
    /// Neither a service account nor a kubeconfig tells of a cluster.
    #[error("found no cluster, neither by a service account nor by a kubeconfig: {0}")]
    NoCluster(#[from] kube::config::InferConfigError),
    /// What they tell cannot be used.
    #[error("cannot use the configuration of the cluster: {0}")]
    Unusable(#[from] kube::Error),
}

/// A client of the cluster that we run in, or that the kubeconfig names.
///
/// # Errors
///
/// When there is no cluster to be found, or its credentials cannot be read.
pub async fn client() -> Result<Client, NoClient> {
    Ok(Client::try_from(config().await?)?)
}

/// The same, which asks once and takes a refusal for an answer: any other asks 15 times more where it is told to come later.
pub(crate) async fn client_without_retries() -> Result<Client, NoClient> {
    let mut config = config().await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// The configuration of such a client.
pub(crate) async fn config() -> Result<Config, NoClient> {
    let mut config = Config::infer().await?;
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    Ok(config)
}
