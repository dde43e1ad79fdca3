//! Keeps our authorities in our webhook configuration, restores them if somebody wipes them, and reports a missing one.
//!
//! Guarantees: authorities of other replicas are not removed. While somebody undoes our writes, the pauses between them
//! grow.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::sync::watch::{Receiver, Sender};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use super::CALL_TIMEOUT;
use crate::certs::bundle::AuthorityBundle;
use crate::kernel::clock::Clock;
use crate::kernel::names::{WEBHOOK, WEBHOOK_CONFIGURATION};
use crate::metrics::Metrics;

/// Pause before a failed write is tried again, or a missing configuration is reported again.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// Keeper of our webhook configuration.
pub struct Registration {
    /// Authorities that the API server should trust.
    pub trusted: Receiver<AuthorityBundle>,
    /// Authorities in the configuration, once they are known.
    pub published: Sender<Option<AuthorityBundle>>,
    pub clock: Clock,
    /// Metrics: whether we are registered, and how often that was written.
    pub metrics: Metrics,
}

impl Registration {
    /// Keeps the configuration for ever. Never creates it: we have no right to.
    pub async fn run(mut self, client: Client) {
        let api: Api<MutatingWebhookConfiguration> = Api::all(client);
        let mut events = std::pin::pin!(watcher::watch_object(api.clone(), WEBHOOK_CONFIGURATION).default_backoff());
        // The configuration is not missing before the watch has answered.
        let mut configuration = None;
        let (mut pace, mut again) = (WritePace::default(), None);
        loop {
            tokio::select! {
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
                event = events.next() => match event {
                    Some(Ok(seen)) => configuration = Some(seen),
                    Some(Err(error)) => {
                        debug!("watch of {WEBHOOK_CONFIGURATION} failed, restarting: {error}");
                        continue;
                    }
                    None => return,
                },
                changed = self.trusted.changed() => if changed.is_err() { return },
            }
            let Some(seen) = &mut configuration else { continue };
            again = self.reconcile(&api, seen, &mut pace).await;
            self.metrics.registered.set(i64::from(again.is_none()));
            let trusted = seen
                .as_ref()
                .and_then(our_entry)
                .map(|webhook| AuthorityBundle::parse_readable(entry_bundle(webhook)).0);
            self.published.send_if_modified(|before| {
                let trusted = Some(trusted.unwrap_or_default());
                std::mem::replace(before, trusted.clone()) != trusted
            });
        }
    }

    /// Writes the authorities if necessary. Returns the time of the next try if the configuration is not right
    /// afterwards.
    async fn reconcile(
        &mut self,
        api: &Api<MutatingWebhookConfiguration>,
        seen: &mut Option<MutatingWebhookConfiguration>,
        pace: &mut WritePace,
    ) -> Option<Instant> {
        let later = Some(Instant::now() + RETRY_PAUSE);
        let Some(configuration) = seen else {
            error!(
                "MutatingWebhookConfiguration {WEBHOOK_CONFIGURATION} does not exist, so pods are not reviewed: apply what `outrigger install` prints"
            );
            return later;
        };
        let Some(webhook) = our_entry(configuration) else {
            error!(
                "MutatingWebhookConfiguration {WEBHOOK_CONFIGURATION} has no entry {WEBHOOK}, so pods are not reviewed: apply what `outrigger install` prints"
            );
            return later;
        };
        let trusted = self.trusted.borrow_and_update().clone();
        let bundle = trusted.replacement_for(entry_bundle(webhook), self.clock.now())?;
        if let Some(next) = pace.next_write().filter(|next| Instant::now() < *next) {
            return Some(next);
        }
        if pace.count_write(Instant::now()) {
            warn!(
                "another writer keeps changing our certificate authorities in {WEBHOOK_CONFIGURATION}: writing them less often"
            );
        }
        match patch_configuration(api, bundle_patch(configuration, &bundle)).await {
            Ok(written) => {
                self.metrics.registrations.inc();
                info!("wrote our certificate authorities into MutatingWebhookConfiguration {WEBHOOK_CONFIGURATION}");
                *seen = Some(written);
                None
            }
            Err(why) => {
                warn!("failed to write our certificate authorities into {WEBHOOK_CONFIGURATION}, retrying: {why}");
                later
            }
        }
    }
}

async fn patch_configuration(
    api: &Api<MutatingWebhookConfiguration>,
    operations: serde_json::Value,
) -> Result<MutatingWebhookConfiguration, String> {
    let patch: json_patch::Patch = serde_json::from_value(operations).map_err(|error| error.to_string())?;
    let (parameters, patch) = (PatchParams::default(), Patch::Json::<()>(patch));
    match timeout(CALL_TIMEOUT, api.patch(WEBHOOK_CONFIGURATION, &parameters, &patch)).await {
        Ok(written) => written.map_err(|error| error.to_string()),
        Err(_) => Err("the API server did not answer in time".to_owned()),
    }
}

fn our_entry(configuration: &MutatingWebhookConfiguration) -> Option<&MutatingWebhook> {
    configuration.webhooks.iter().flatten().find(|webhook| webhook.name == WEBHOOK)
}

fn entry_bundle(webhook: &MutatingWebhook) -> &[u8] {
    webhook.client_config.ca_bundle.as_ref().map(|bundle| bundle.0.as_slice()).unwrap_or_default()
}

/// Returns the JSON Patch that puts the bundle into our entry. It first tests that the configuration is unchanged:
/// another replica may have added its authority, which must not be lost.
fn bundle_patch(configuration: &MutatingWebhookConfiguration, bundle: &AuthorityBundle) -> serde_json::Value {
    let index = configuration.webhooks.iter().flatten().position(|webhook| webhook.name == WEBHOOK).unwrap_or_default();
    json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": configuration.resource_version()},
        {"op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": ByteString(bundle.to_pem().into_bytes())},
    ])
}

/// WritePace of writes: at once after a quiet time, then with growing pauses until the next quiet time.
#[derive(Debug, Default)]
struct WritePace {
    last: Option<Instant>,
    pause: Duration,
}

impl WritePace {
    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(60);
    /// Time without a write after which nobody is undoing ours.
    const QUIET: Duration = Duration::from_secs(300);
    /// Longest pause that replicas that start together come to; beyond it, somebody is working against us.
    const SUSPECT: Duration = Duration::from_secs(8);

    /// Returns the earliest moment of the next write.
    fn next_write(&self) -> Option<Instant> {
        self.last.map(|last| last + self.pause)
    }

    /// Counts a write. Returns `true` if this one makes it certain that somebody undoes our writes.
    fn count_write(&mut self, now: Instant) -> bool {
        let contested = self.last.is_some_and(|last| now < last + Self::QUIET);
        let before = if contested { self.pause } else { Duration::ZERO };
        self.pause = (before * 2).clamp(Self::SHORTEST, Self::LONGEST);
        self.last = Some(now);
        before < Self::SUSPECT && self.pause >= Self::SUSPECT
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::WebhookClientConfig;

    use super::*;

    fn configuration(entries: &[&str]) -> MutatingWebhookConfiguration {
        let entry = |name: &&str| MutatingWebhook {
            name: (*name).to_owned(),
            client_config: WebhookClientConfig {
                ca_bundle: Some(ByteString(b"theirs".to_vec())),
                ..Default::default()
            },
            ..Default::default()
        };
        MutatingWebhookConfiguration { webhooks: Some(entries.iter().map(entry).collect()), ..Default::default() }
    }

    #[test]
    fn only_our_entry_is_mended_wherever_it_stands_and_nothing_that_changed_meanwhile() {
        let mut configuration = configuration(&["other.example.com", WEBHOOK]);
        configuration.metadata.resource_version = Some("7".to_owned());
        let operations = bundle_patch(&configuration, &AuthorityBundle::default());
        assert_eq!(operations[0], json!({"op": "test", "path": "/metadata/resourceVersion", "value": "7"}));
        assert_eq!(operations[1]["path"], "/webhooks/1/clientConfig/caBundle");
        assert_eq!(operations.as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn writes_that_are_undone_become_rare_and_are_complained_about_once() {
        let (start, mut pace) = (Instant::now(), WritePace::default());
        assert_eq!(pace.next_write(), None);
        let mut now = start;
        let written: Vec<_> = (0..9)
            .map(|_| {
                now = pace.next_write().unwrap_or(now);
                (pace.count_write(now), (now - start).as_secs())
            })
            .collect();
        assert_eq!(written.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        assert_eq!(written.iter().position(|(complain, _)| *complain), Some(3));
        assert_eq!(written.iter().filter(|(complain, _)| *complain).count(), 1);
        now += WritePace::QUIET;
        assert!(!pace.count_write(now) && pace.next_write() == Some(now + WritePace::SHORTEST));
    }
}
