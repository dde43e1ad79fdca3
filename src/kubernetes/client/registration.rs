//! Our webhook configuration: it carries our authorities, is mended when somebody wipes them, and is missed when it is gone.
//!
//! Guarantees: what another replica serves with is not taken away; writes keep a growing distance while somebody undoes them.

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
use crate::certs::bundle::Bundle;
use crate::kernel::clock::Clock;
use crate::kernel::names::{WEBHOOK, WEBHOOK_CONFIGURATION};
use crate::metrics::Metrics;

/// After this, what could not be mended is tried again, and what is gone is reported again.
const RETRY: Duration = Duration::from_secs(10);

/// Keeps our webhook configuration.
pub struct Registration {
    /// Whom the API server should trust.
    pub wanted: Receiver<Bundle>,
    /// Whom it is told to trust, once that is known.
    pub live: Sender<Option<Bundle>>,
    /// What time it is.
    pub clock: Clock,
    /// Where it is told whether we are registered, and how often that was written.
    pub metrics: Metrics,
}

impl Registration {
    /// Keeps it for ever. It is never created here: that is not our right.
    pub async fn keep(mut self, client: Client) {
        let api: Api<MutatingWebhookConfiguration> = Api::all(client);
        let mut events = std::pin::pin!(watcher::watch_object(api.clone(), WEBHOOK_CONFIGURATION).default_backoff());
        // Nothing is missed before the watch has answered.
        let mut configuration = None;
        let (mut pace, mut again) = (Pace::default(), None);
        loop {
            tokio::select! {
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
                event = events.next() => match event {
                    Some(Ok(seen)) => configuration = Some(seen),
                    Some(Err(error)) => {
                        debug!("the watch on {WEBHOOK_CONFIGURATION} broke, and begins anew: {error}");
                        continue;
                    }
                    None => return,
                },
                changed = self.wanted.changed() => if changed.is_err() { return },
            }
            let Some(seen) = &mut configuration else { continue };
            again = self.settle(&api, seen, &mut pace).await;
            self.metrics.registered.set(i64::from(again.is_none()));
            let trusted = seen.as_ref().and_then(ours).map(|webhook| Bundle::readable_in(bundle_of(webhook)).0);
            self.live.send_if_modified(|before| {
                let trusted = Some(trusted.unwrap_or_default());
                std::mem::replace(before, trusted.clone()) != trusted
            });
        }
    }

    /// Has the API server call us and trust whom it should; tells when to look again, if that is not so once this is done.
    async fn settle(
        &mut self,
        api: &Api<MutatingWebhookConfiguration>,
        seen: &mut Option<MutatingWebhookConfiguration>,
        pace: &mut Pace,
    ) -> Option<Instant> {
        let later = Some(Instant::now() + RETRY);
        let Some(configuration) = seen else {
            error!(
                "MutatingWebhookConfiguration {WEBHOOK_CONFIGURATION} is gone: no pod reaches us; apply what `outrigger install` prints"
            );
            return later;
        };
        let Some(webhook) = ours(configuration) else {
            error!(
                "MutatingWebhookConfiguration {WEBHOOK_CONFIGURATION} has no entry {WEBHOOK}: no pod reaches us; apply what `outrigger install` prints"
            );
            return later;
        };
        let wanted = self.wanted.borrow_and_update().clone();
        let bundle = wanted.published_over(bundle_of(webhook), self.clock.now())?;
        if let Some(next) = pace.next_write().filter(|next| Instant::now() < *next) {
            return Some(next);
        }
        if pace.write(Instant::now()) {
            warn!(
                "somebody keeps changing our certificate authorities in {WEBHOOK_CONFIGURATION}; they are written less and less often"
            );
        }
        match write(api, mending(configuration, &bundle)).await {
            Ok(written) => {
                self.metrics.registrations.inc();
                info!("wrote our certificate authorities into MutatingWebhookConfiguration {WEBHOOK_CONFIGURATION}");
                *seen = Some(written);
                None
            }
            Err(why) => {
                warn!("cannot write our certificate authorities into {WEBHOOK_CONFIGURATION}: {why}");
                later
            }
        }
    }
}

async fn write(
    api: &Api<MutatingWebhookConfiguration>,
    operations: serde_json::Value,
) -> Result<MutatingWebhookConfiguration, String> {
    let patch: json_patch::Patch = serde_json::from_value(operations).map_err(|error| error.to_string())?;
    let (parameters, patch) = (PatchParams::default(), Patch::Json::<()>(patch));
    match timeout(CALL_TIMEOUT, api.patch(WEBHOOK_CONFIGURATION, &parameters, &patch)).await {
        Ok(written) => written.map_err(|error| error.to_string()),
        Err(_) => Err("the API server does not answer".to_owned()),
    }
}

fn ours(configuration: &MutatingWebhookConfiguration) -> Option<&MutatingWebhook> {
    configuration.webhooks.iter().flatten().find(|webhook| webhook.name == WEBHOOK)
}

fn bundle_of(webhook: &MutatingWebhook) -> &[u8] {
    webhook.client_config.ca_bundle.as_ref().map(|bundle| bundle.0.as_slice()).unwrap_or_default()
}

/// The operations that put the bundle into our entry. They test first that nobody has written since: it may have been
/// another replica, whose authority is not to be lost.
fn mending(configuration: &MutatingWebhookConfiguration, bundle: &Bundle) -> serde_json::Value {
    let index = configuration.webhooks.iter().flatten().position(|webhook| webhook.name == WEBHOOK).unwrap_or_default();
    json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": configuration.resource_version()},
        {"op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": ByteString(bundle.pem().into_bytes())},
    ])
}

/// How often may be written: at once after a quiet time, then with pauses that grow while there is none.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    pause: Duration,
}

impl Pace {
    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(60);
    /// So long after a write, nobody is against it.
    const QUIET: Duration = Duration::from_secs(300);
    /// Replicas that start together come to such a pause; beyond it, somebody is working against us.
    const SUSPECT: Duration = Duration::from_secs(8);

    /// The earliest moment of the next write.
    fn next_write(&self) -> Option<Instant> {
        self.last.map(|last| last + self.pause)
    }

    /// Counts a write; true when by this one it is certain that somebody undoes them.
    fn write(&mut self, now: Instant) -> bool {
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
        let operations = mending(&configuration, &Bundle::default());
        assert_eq!(operations[0], json!({"op": "test", "path": "/metadata/resourceVersion", "value": "7"}));
        assert_eq!(operations[1]["path"], "/webhooks/1/clientConfig/caBundle");
        assert_eq!(operations.as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn writes_that_are_undone_become_rare_and_are_complained_about_once() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        assert_eq!(pace.next_write(), None);
        let mut now = start;
        let written: Vec<_> = (0..9)
            .map(|_| {
                now = pace.next_write().unwrap_or(now);
                (pace.write(now), (now - start).as_secs())
            })
            .collect();
        assert_eq!(written.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        assert_eq!(written.iter().position(|(complain, _)| *complain), Some(3));
        assert_eq!(written.iter().filter(|(complain, _)| *complain).count(), 1);
        now += Pace::QUIET;
        assert!(!pace.write(now) && pace.next_write() == Some(now + Pace::SHORTEST));
    }
}
