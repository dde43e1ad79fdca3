//! Removes the parts of Outrigger for which a plain `kubectl delete` would hang, or would leave something in force.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep};

use crate::kernel::api_error::ApiError;
use crate::kernel::names::{DEPLOYMENT, WEBHOOK_CONFIGURATION};
use crate::kubernetes::client::call::call_api;

/// Time that the pods of the server may take to end.
const POD_TIMEOUT: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Removes the webhook configuration, so that no pod waits for the server; succeeds if it is gone.
pub async fn remove_webhook(client: &Client) -> Result<(), ApiError> {
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    ignore_missing(call_api(configurations.delete(WEBHOOK_CONFIGURATION, &DeleteParams::default())).await.map(drop))
}

/// Removes the Deployment, and waits until its pods are gone: they could write what is removed next.
///
/// # Errors
///
/// Returns [`ApiError::Unavailable`] if pods remain after `POD_TIMEOUT`.
pub async fn remove_server(client: &Client, namespace: &str) -> Result<(), ApiError> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    ignore_missing(call_api(deployments.delete(DEPLOYMENT, &DeleteParams::foreground())).await.map(drop))?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let ours = ListParams::default().labels("app.kubernetes.io/name=outrigger");
    let begun = Instant::now();
    while !call_api(pods.list(&ours)).await?.items.is_empty() {
        if begun.elapsed() > POD_TIMEOUT {
            let sentence = format!("pods of outrigger in {namespace} do not end; see to them, and try again");
            return Err(ApiError::Unavailable(sentence));
        }
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

fn ignore_missing(removed: Result<(), ApiError>) -> Result<(), ApiError> {
    match removed {
        Err(ApiError::NotFound(_)) => Ok(()),
        removed => removed,
    }
}
