//! Takes Outrigger out of a cluster, as far as a plain `kubectl delete` would hang or leave something in force.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep};

use crate::kernel::api_error::ApiError;
use crate::kernel::names::{DEPLOYMENT, WEBHOOK_CONFIGURATION};
use crate::kubernetes::client::call::answered;

/// How long the server's pods may take to end.
const PATIENCE: Duration = Duration::from_secs(90);
const AGAIN: Duration = Duration::from_millis(500);

/// Removes the webhook configuration, so that no pod waits for us; one that is gone is fine.
///
/// # Errors
///
/// When it may not be removed.
pub async fn remove_webhook(client: &Client) -> Result<(), ApiError> {
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    gone(answered(configurations.delete(WEBHOOK_CONFIGURATION, &DeleteParams::default())).await.map(drop))
}

/// Removes the Deployment, and waits until no pod of it is left that could write what is removed next.
///
/// # Errors
///
/// When it may not be removed, or its pods do not end.
pub async fn remove_server(client: &Client, namespace: &str) -> Result<(), ApiError> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    gone(answered(deployments.delete(DEPLOYMENT, &DeleteParams::foreground())).await.map(drop))?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let ours = ListParams::default().labels("app.kubernetes.io/name=outrigger");
    let begun = Instant::now();
    while !answered(pods.list(&ours)).await?.items.is_empty() {
        if begun.elapsed() > PATIENCE {
            let sentence = format!("pods of outrigger in {namespace} do not end; see to them, and try again");
            return Err(ApiError::Unavailable(sentence));
        }
        sleep(AGAIN).await;
    }
    Ok(())
}

fn gone(removed: Result<(), ApiError>) -> Result<(), ApiError> {
    match removed {
        Err(ApiError::NotFound(_)) => Ok(()),
        removed => removed,
    }
}
