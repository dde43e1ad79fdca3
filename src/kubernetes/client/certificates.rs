//! Keeps our certificates in a Secret that all replicas share. The first writer decides; the others adopt its identity.
//!
//! Guarantees: an authority that a replica serves with stays in the Secret and is published. A new leaf is served only
//! once the API server has been told to trust it, unless the API server does not trust the served one either.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use thiserror::Error;
use tokio::sync::watch::{Receiver, Sender};
use tokio::time::sleep;
use tracing::{error, info};

use super::CALL_TIMEOUT;
use crate::certs::CertificateError;
use crate::certs::bundle::AuthorityBundle;
use crate::certs::check::{KeyFault, check_certificate};
use crate::certs::identity::ServerIdentity;
use crate::certs::issue::CertificatePair;
use crate::certs::read::Certificate;
use crate::certs::serving_key::ServingKey;
use crate::kernel::clock::Clock;
use crate::kernel::names::CERTIFICATES_SECRET;
use crate::metrics::Metrics;

/// Maximum of write conflicts in a row, from replicas that start together.
const ATTEMPTS: usize = 10;
/// Interval of reading the Secret. It is also read whenever the webhook configuration changes.
const READ_INTERVAL: Duration = Duration::from_secs(3600);
/// Pause before a failed read is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(60);
/// Minimum interval of reading the Secret, however often the webhook configuration changes.
const MIN_READ_INTERVAL: Duration = Duration::from_secs(1);
/// Time within which all API servers hear of a changed configuration.
const PROPAGATION_TIME: SignedDuration = SignedDuration::from_secs(10);

/// Failure to get certificates to serve with.
#[derive(Debug, Error)]
pub enum CertificateStoreError {
    /// The Secret does not exist, and we have no right to create it.
    #[error("Secret {namespace}/{CERTIFICATES_SECRET} does not exist: apply what `outrigger install` prints")]
    NoSecret {
        /// Namespace that should have the Secret.
        namespace: String,
    },
    /// The API server refused, or was not reachable.
    #[error("failed to read or write Secret {CERTIFICATES_SECRET}: {0}")]
    Api(#[from] kube::Error),
    /// The certificates cannot be issued.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The certificates cannot be served.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// Other writers kept changing the Secret.
    #[error("failed to write Secret {CERTIFICATES_SECRET}: other writers kept changing it")]
    Contended,
    /// The API server did not answer in time.
    #[error("the API server did not answer about Secret {CERTIFICATES_SECRET} within {} s", CALL_TIMEOUT.as_secs())]
    Timeout,
}

/// Namespace of the certificates' Secret, and names that they cover.
#[derive(Clone, Debug)]
pub struct CertificateLocation {
    pub namespace: String,
    /// Names that the leaf covers.
    pub names: Vec<String>,
}

/// Renews the certificates of this replica, and keeps them in step with those of the others.
pub struct CertificateKeeper {
    client: Client,
    place: CertificateLocation,
    clock: Clock,
    metrics: Metrics,
    identity: ServerIdentity,
    serving: ServedLeaf,
}

impl CertificateKeeper {
    /// Starts with the identity in the Secret; makes or renews it if necessary.
    ///
    /// # Errors
    ///
    /// If the Secret does not exist, or cannot be read or written.
    pub async fn start(
        client: Client,
        place: CertificateLocation,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Self, CertificateStoreError> {
        let identity = renew_stored_identity(&client, &place, None, &clock).await?;
        let key = ServingKey::new(&identity.leaf)?;
        let serving = ServedLeaf { key, leaf: identity.leaf.clone(), trusted_since: None };
        let keeper = Self { client, place, clock, metrics, identity, serving };
        keeper.report_expiry();
        Ok(keeper)
    }

    /// Returns the key to serve with; renewals swap it.
    pub fn key(&self) -> ServingKey {
        self.serving.key.clone()
    }

    /// Returns the authorities that the API server should trust.
    pub fn trusted_authorities(&self) -> AuthorityBundle {
        self.identity.trusted_authorities(self.clock.now())
    }

    /// Sends the authorities that the API server should trust to `requested`. Serves only a leaf that it trusts:
    /// `published` has the published authorities, once they are known.
    pub async fn run(mut self, requested: Sender<AuthorityBundle>, mut published: Receiver<Option<AuthorityBundle>>) {
        let mut pause = MIN_READ_INTERVAL;
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                changed = published.changed() => if changed.is_err() { return },
            }
            let renewed_identity =
                renew_stored_identity(&self.client, &self.place, Some(&self.identity), &self.clock).await;
            pause = if renewed_identity.is_ok() { READ_INTERVAL } else { RETRY_PAUSE };
            match renewed_identity {
                Ok(identity) => self.identity = identity,
                Err(cause) => self.renew_without_secret(&cause),
            }
            let bundle = self.trusted_authorities();
            requested.send_if_modified(|before| std::mem::replace(before, bundle.clone()) != bundle);
            let trusted = published.borrow_and_update().clone();
            match self.serving.update(&self.identity.leaf, trusted.as_ref(), &self.place.names, self.clock.now()) {
                Ok(LeafUpdate::Served) => {}
                Ok(LeafUpdate::Swapped) => {
                    info!("serving a new certificate");
                    self.report_expiry();
                }
                Ok(LeafUpdate::Waiting) => pause = PROPAGATION_TIME.unsigned_abs(),
                Err(cause) => error!("failed to serve the new certificate, keeping the present one: {cause}"),
            }
            sleep(MIN_READ_INTERVAL).await;
        }
    }

    /// Renews the leaf in this replica alone, once the served one has ended.
    fn renew_without_secret(&mut self, cause: &CertificateStoreError) {
        error!("failed to renew the certificates, keeping the present ones: {cause}");
        let now = self.clock.now();
        let lives = Certificate::parse_first(&self.identity.leaf.certificate_pem).is_ok_and(|leaf| leaf.is_alive(now));
        if !lives
            && let Ok(renewed) = ServerIdentity::renew_or_issue(Some(self.identity.clone()), &self.place.names, now)
        {
            self.identity = renewed;
        }
    }

    fn report_expiry(&self) {
        if let Ok(leaf) = Certificate::parse_first(&self.serving.leaf.certificate_pem) {
            self.metrics.certificate_ends_seconds.set(leaf.not_after.as_second());
        }
    }
}

/// Leaf that is served, and the time since when the next one is trusted.
struct ServedLeaf {
    key: ServingKey,
    leaf: CertificatePair,
    trusted_since: Option<Timestamp>,
}

/// Result of trying to serve a leaf.
#[derive(Debug, PartialEq, Eq)]
enum LeafUpdate {
    /// The leaf was being served already.
    Served,
    /// The leaf is being served from now on.
    Swapped,
    /// The leaf has to wait, because some API server may not trust it yet.
    Waiting,
}

impl ServedLeaf {
    fn update(
        &mut self,
        fresh: &CertificatePair,
        published: Option<&AuthorityBundle>,
        names: &[String],
        now: Timestamp,
    ) -> Result<LeafUpdate, KeyFault> {
        if self.leaf == *fresh {
            self.trusted_since = None;
            return Ok(LeafUpdate::Served);
        }
        let lives = Certificate::parse_first(&self.leaf.certificate_pem).is_ok_and(|leaf| leaf.is_alive(now));
        let trusted = |leaf: &CertificatePair| {
            published.is_some_and(|published| check_certificate(leaf, published, names, now).is_ok())
        };
        let nothing_to_lose = !lives || published.is_some() && !trusted(&self.leaf);
        if trusted(fresh) || nothing_to_lose {
            let since = *self.trusted_since.get_or_insert(now);
            if nothing_to_lose || now.duration_since(since) >= PROPAGATION_TIME {
                self.key.swap(fresh)?;
                *self = Self { key: self.key.clone(), leaf: fresh.clone(), trusted_since: None };
                return Ok(LeafUpdate::Swapped);
            }
        } else {
            self.trusted_since = None;
        }
        Ok(LeafUpdate::Waiting)
    }
}

/// Returns the identity in the Secret; makes or renews it if necessary. An empty Secret gets our own identity. If the
/// Secret has another one, our own authorities are added to it, since we are serving with them.
async fn renew_stored_identity(
    client: &Client,
    place: &CertificateLocation,
    own: Option<&ServerIdentity>,
    clock: &Clock,
) -> Result<ServerIdentity, CertificateStoreError> {
    let unbounded = renew_stored_identity_unbounded(client, place, own, clock);
    tokio::time::timeout(CALL_TIMEOUT, unbounded).await.unwrap_or(Err(CertificateStoreError::Timeout))
}

async fn renew_stored_identity_unbounded(
    client: &Client,
    CertificateLocation { namespace, names }: &CertificateLocation,
    own: Option<&ServerIdentity>,
    clock: &Clock,
) -> Result<ServerIdentity, CertificateStoreError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    for _ in 0..ATTEMPTS {
        let secret = api.get_opt(CERTIFICATES_SECRET).await?;
        let Some(mut secret) = secret else {
            return Err(CertificateStoreError::NoSecret { namespace: namespace.clone() });
        };
        let stored = ServerIdentity::from_parts(&secret_texts(&secret));
        let now = clock.now();
        let identity = ServerIdentity::renew_or_issue(stored.clone().or_else(|| own.cloned()), names, now)?;
        let identity = own.iter().fold(identity, |identity, own| identity.with_trusted(&own.trusted_authorities(now)));
        if stored.as_ref() == Some(&identity) {
            return Ok(identity);
        }
        let parts = identity.parts().map(|(name, text)| (name.to_owned(), ByteString(text.as_bytes().to_vec())));
        secret.data.get_or_insert_default().extend(parts);
        // The write carries the resourceVersion that was read, so that it cannot overwrite a change made in between.
        match api.replace(CERTIFICATES_SECRET, &PostParams::default(), &secret).await {
            Ok(_) => return Ok(identity),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(CertificateStoreError::Contended)
}

fn secret_texts(secret: &Secret) -> BTreeMap<String, String> {
    let text = |(name, ByteString(bytes)): (&String, &ByteString)| {
        String::from_utf8(bytes.clone()).ok().map(|text| (name.clone(), text))
    };
    secret.data.iter().flatten().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["outrigger.outrigger-system.svc".to_owned()]
    }

    fn start() -> Timestamp {
        "2026-11-22T10:00:00Z".parse().unwrap()
    }

    fn identity() -> ServerIdentity {
        ServerIdentity::renew_or_issue(None, &names(), start()).unwrap()
    }

    fn serving(identity: &ServerIdentity) -> ServedLeaf {
        let leaf = identity.leaf.clone();
        ServedLeaf { key: ServingKey::new(&leaf).unwrap(), leaf, trusted_since: None }
    }

    #[test]
    fn a_leaf_of_another_authority_is_served_once_every_api_server_has_heard_of_that() {
        let (old, new) = (identity(), identity());
        let both = old.clone().with_trusted(&new.trusted_authorities(start())).trusted_authorities(start());
        let (only_old, mut serving) = (old.trusted_authorities(start()), serving(&old));
        let mut update = |published: Option<&AuthorityBundle>, seconds| {
            serving.update(&new.leaf, published, &names(), start() + SignedDuration::from_secs(seconds)).unwrap()
        };
        assert_eq!(update(None, 0), LeafUpdate::Waiting, "what is trusted is not known yet");
        assert_eq!(update(Some(&only_old), 100), LeafUpdate::Waiting);
        assert_eq!(update(Some(&both), 200), LeafUpdate::Waiting);
        assert_eq!(update(Some(&only_old), 205), LeafUpdate::Waiting, "somebody took it back");
        assert_eq!(update(Some(&both), 210), LeafUpdate::Waiting);
        assert_eq!(update(Some(&both), 219), LeafUpdate::Waiting);
        assert_eq!(update(Some(&both), 220), LeafUpdate::Swapped);
        assert_eq!(update(Some(&both), 221), LeafUpdate::Served);
    }

    #[test]
    fn what_nobody_trusts_or_what_has_ended_is_served_no_longer() {
        let (old, new) = (identity(), identity());
        let update = |serving: &mut ServedLeaf, published: Option<&AuthorityBundle>, days: i64| {
            serving.update(&new.leaf, published, &names(), start() + SignedDuration::from_hours(24 * days)).unwrap()
        };
        assert_eq!(update(&mut serving(&old), Some(&new.trusted_authorities(start())), 0), LeafUpdate::Swapped);
        assert_eq!(update(&mut serving(&old), Some(&AuthorityBundle::default()), 0), LeafUpdate::Swapped);
        assert_eq!(update(&mut serving(&old), None, 89), LeafUpdate::Waiting);
        assert_eq!(update(&mut serving(&old), None, 91), LeafUpdate::Swapped);
    }
}
