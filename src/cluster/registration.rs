//! Our webhook configuration: it carries our authority, is mended when somebody wipes that, and is missed when it is gone.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch::Receiver;
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use super::CALL_TIMEOUT;
use crate::metrics::Metrics;
use crate::resources::names::{WEBHOOK, WEBHOOK_CONFIGURATION};

/// After this, what could not be mended is tried again, and what is gone is reported again.
const RETRY: Duration = Duration::from_secs(10);

/// Keeps the authorities in `trusted`, as PEM, in our webhook configuration. It is never created here: that is not our right.
pub async fn keep(client: Client, mut trusted: Receiver<String>, metrics: Metrics) {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client);
    let mut live = std::pin::pin!(watcher::watch_object(api.clone(), WEBHOOK_CONFIGURATION).default_backoff());
    let mut configuration = None;
    let mut settled = true;
    loop {
        tokio::select! {
            () = tokio::time::sleep(RETRY), if !settled => {}
            event = live.next() => match event {
                Some(Ok(seen)) => configuration = seen,
                Some(Err(error)) => {
                    debug!("the watch on {WEBHOOK_CONFIGURATION} broke, and begins anew: {error}");
                    continue;
                }
                None => return,
            },
            changed = trusted.changed() => if changed.is_err() { return },
        }
        let bundle = trusted.borrow_and_update().clone();
        settled = settle(&api, configuration.as_ref(), &bundle).await;
        metrics.registered.set(i64::from(settled));
    }
}

/// Whether the API server is told to call us with this bundle, once this is done.
async fn settle(
    api: &Api<MutatingWebhookConfiguration>,
    configuration: Option<&MutatingWebhookConfiguration>,
    bundle: &str,
) -> bool {
    let Some(configuration) = configuration else {
        error!(
            "MutatingWebhookConfiguration {WEBHOOK_CONFIGURATION} is gone: no pod reaches us; apply what `outrigger install` prints"
        );
        return false;
    };
    let operations = mending(configuration, bundle);
    if operations.is_empty() {
        let registered = configuration.webhooks.iter().flatten().any(|webhook| webhook.name == WEBHOOK);
        if !registered {
            error!(
                "MutatingWebhookConfiguration {WEBHOOK_CONFIGURATION} has no entry {WEBHOOK}: no pod reaches us; apply what `outrigger install` prints"
            );
        }
        return registered;
    }
    let patch: json_patch::Patch = match serde_json::from_value(json!(operations)) {
        Ok(patch) => patch,
        Err(error) => {
            error!("cannot write the patch that mends {WEBHOOK_CONFIGURATION}: {error}");
            return false;
        }
    };
    let (name, parameters, patch) = (WEBHOOK_CONFIGURATION, PatchParams::default(), Patch::Json::<()>(patch));
    match timeout(CALL_TIMEOUT, api.patch(name, &parameters, &patch)).await {
        Ok(Ok(_)) => {
            info!("wrote our certificate authority into MutatingWebhookConfiguration {WEBHOOK_CONFIGURATION}");
            true
        }
        Ok(Err(error)) => {
            warn!("cannot write our certificate authority into {WEBHOOK_CONFIGURATION}: {error}");
            false
        }
        Err(_) => {
            warn!(
                "cannot write our certificate authority into {WEBHOOK_CONFIGURATION}: the API server does not answer"
            );
            false
        }
    }
}

/// The operations that put the bundle where it is not. Each tests first that the entry is still ours: others may edit the list.
fn mending(configuration: &MutatingWebhookConfiguration, bundle: &str) -> Vec<serde_json::Value> {
    let entries = configuration.webhooks.iter().flatten().enumerate();
    let stale = entries.filter(|(_, webhook)| {
        let has = webhook.client_config.ca_bundle.as_ref().map(|bundle| bundle.0.as_slice());
        webhook.name == WEBHOOK && has != Some(bundle.as_bytes())
    });
    stale
        .flat_map(|(index, _)| {
            let encoded = k8s_openapi::ByteString(bundle.as_bytes().to_vec());
            [
                json!({"op": "test", "path": format!("/webhooks/{index}/name"), "value": WEBHOOK}),
                json!({"op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": encoded}),
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, WebhookClientConfig};

    use super::*;

    fn configuration(entries: &[(&str, Option<&str>)]) -> MutatingWebhookConfiguration {
        let entry = |(name, bundle): &(&str, Option<&str>)| MutatingWebhook {
            name: (*name).to_owned(),
            client_config: WebhookClientConfig {
                ca_bundle: bundle.map(|bundle| ByteString(bundle.as_bytes().to_vec())),
                ..Default::default()
            },
            ..Default::default()
        };
        MutatingWebhookConfiguration { webhooks: Some(entries.iter().map(entry).collect()), ..Default::default() }
    }

    #[test]
    fn a_configuration_that_carries_the_bundle_is_left_alone() {
        assert!(mending(&configuration(&[(WEBHOOK, Some("ours"))]), "ours").is_empty());
    }

    #[test]
    fn only_our_entry_is_mended_wherever_it_stands() {
        let operations = mending(&configuration(&[("other.example.com", None), (WEBHOOK, None)]), "ours");
        assert_eq!(operations[0]["path"], "/webhooks/1/name");
        assert_eq!(operations[1]["path"], "/webhooks/1/clientConfig/caBundle");
        assert_eq!(operations.len(), 2);
    }

    #[test]
    fn a_foreign_bundle_is_replaced() {
        assert_eq!(mending(&configuration(&[(WEBHOOK, Some("theirs"))]), "ours").len(), 2);
    }
}
