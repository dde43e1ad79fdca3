//! Our certificates in our own Secret, which all replicas share: whoever writes first decides, the others take what stands there.
//!
//! Guarantees: an authority that a replica serves with stays in the Secret and is published; a new leaf is served only
//! once the API server has been told to trust it, unless it does not trust the one being served either.

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
use crate::certs::bundle::Bundle;
use crate::certs::check::{KeyFault, check};
use crate::certs::identity::Identity;
use crate::certs::issue::Pair;
use crate::certs::read::Certificate;
use crate::kernel::clock::Clock;
use crate::kernel::names::CERTIFICATES_SECRET;
use crate::metrics::Metrics;
use crate::server::tls::ServingKey;

/// Replicas that start together meet here at most this often.
const ATTEMPTS: usize = 10;
/// How often the Secret is read, besides whenever the webhook configuration changes.
const EVERY: Duration = Duration::from_secs(3600);
/// After this, what failed is tried again.
const RETRY: Duration = Duration::from_secs(60);
/// The Secret is not read more often than this, however often the webhook configuration changes.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// API servers hear of a changed configuration one after the other, the last of them within this.
const HEARD_BY_ALL: SignedDuration = SignedDuration::from_secs(10);

/// Why there are no certificates to serve with.
#[derive(Debug, Error)]
pub enum NoCertificates {
    /// The Secret is not there, and we have no right to create one.
    #[error("there is no Secret {namespace}/{CERTIFICATES_SECRET}; apply what `outrigger install` prints")]
    NoSecret {
        /// Where it should be.
        namespace: String,
    },
    /// The API server refused, or did not answer.
    #[error("cannot keep the certificates in Secret {CERTIFICATES_SECRET}: {0}")]
    Api(#[from] kube::Error),
    /// They cannot be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// They cannot be served.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// Others kept changing the Secret.
    #[error("Secret {CERTIFICATES_SECRET} kept changing while certificates were written to it")]
    Contended,
    /// The API server did not answer in time.
    #[error("the API server did not answer about Secret {CERTIFICATES_SECRET} within {} s", CALL_TIMEOUT.as_secs())]
    Silent,
}

/// Where the certificates are kept, and for whom.
#[derive(Clone, Debug)]
pub struct Place {
    /// The namespace of the Secret.
    pub namespace: String,
    /// The names that the leaf covers.
    pub names: Vec<String>,
}

/// Keeps the certificates of this replica fresh, and in step with those of the others.
pub struct Keeper {
    client: Client,
    place: Place,
    clock: Clock,
    metrics: Metrics,
    identity: Identity,
    serving: Serving,
}

impl Keeper {
    /// Begins with the identity that the Secret holds, made or renewed if need be.
    ///
    /// # Errors
    ///
    /// When the Secret is not there or cannot be read or written.
    pub async fn begin(client: Client, place: Place, clock: Clock, metrics: Metrics) -> Result<Self, NoCertificates> {
        let identity = settled(&client, &place, None, &clock).await?;
        let key = ServingKey::new(&identity.leaf)?;
        let serving = Serving { key, leaf: identity.leaf.clone(), trusted_since: None };
        let keeper = Self { client, place, clock, metrics, identity, serving };
        keeper.tell_end();
        Ok(keeper)
    }

    /// What is served; it changes with time.
    pub fn key(&self) -> ServingKey {
        self.serving.key.clone()
    }

    /// Whom the API server should trust.
    pub fn wanted(&self) -> Bundle {
        self.identity.trusted(self.clock.now())
    }

    /// Tells `wanted` whom the API server should trust, and serves what it does trust: `live`, once that is known.
    pub async fn keep(mut self, wanted: Sender<Bundle>, mut live: Receiver<Option<Bundle>>) {
        let mut pause = AT_MOST_EVERY;
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                changed = live.changed() => if changed.is_err() { return },
            }
            let settled = settled(&self.client, &self.place, Some(&self.identity), &self.clock).await;
            pause = if settled.is_ok() { EVERY } else { RETRY };
            match settled {
                Ok(identity) => self.identity = identity,
                Err(cause) => self.go_on_without_the_secret(&cause),
            }
            let bundle = self.wanted();
            wanted.send_if_modified(|before| std::mem::replace(before, bundle.clone()) != bundle);
            let trusted = live.borrow_and_update().clone();
            match self.serving.look(&self.identity.leaf, trusted.as_ref(), &self.place.names, self.clock.now()) {
                Ok(Look::Served) => {}
                Ok(Look::Swapped) => {
                    info!("serving with a new certificate");
                    self.tell_end();
                }
                Ok(Look::Waiting) => pause = HEARD_BY_ALL.unsigned_abs(),
                Err(cause) => error!("cannot serve with the new certificate: {cause}"),
            }
            sleep(AT_MOST_EVERY).await;
        }
    }

    /// Renews the leaf here alone once there is no other way to serve with one that lives.
    fn go_on_without_the_secret(&mut self, cause: &NoCertificates) {
        error!("cannot look after the certificates, and go on with those there are: {cause}");
        let now = self.clock.now();
        let lives = Certificate::first(&self.identity.leaf.certificate_pem).is_ok_and(|leaf| leaf.is_alive(now));
        if !lives && let Ok(renewed) = Identity::settled(Some(self.identity.clone()), &self.place.names, now) {
            self.identity = renewed;
        }
    }

    fn tell_end(&self) {
        if let Ok(leaf) = Certificate::first(&self.serving.leaf.certificate_pem) {
            self.metrics.certificate_ends_seconds.set(leaf.not_after.as_second());
        }
    }
}

/// The leaf that is served, and since when the next one is trusted.
struct Serving {
    key: ServingKey,
    leaf: Pair,
    trusted_since: Option<Timestamp>,
}

/// What came of looking whether a leaf can be served.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// It is being served.
    Served,
    /// It is being served from now on.
    Swapped,
    /// It is not, because not every API server may trust it yet.
    Waiting,
}

impl Serving {
    fn look(
        &mut self,
        fresh: &Pair,
        live: Option<&Bundle>,
        names: &[String],
        now: Timestamp,
    ) -> Result<Look, KeyFault> {
        if self.leaf == *fresh {
            self.trusted_since = None;
            return Ok(Look::Served);
        }
        let lives = Certificate::first(&self.leaf.certificate_pem).is_ok_and(|leaf| leaf.is_alive(now));
        let trusted = |leaf: &Pair| live.is_some_and(|live| check(leaf, live, names, now).is_ok());
        let nothing_to_lose = !lives || live.is_some() && !trusted(&self.leaf);
        if trusted(fresh) || nothing_to_lose {
            let since = *self.trusted_since.get_or_insert(now);
            if nothing_to_lose || now.duration_since(since) >= HEARD_BY_ALL {
                self.key.swap(fresh)?;
                *self = Self { key: self.key.clone(), leaf: fresh.clone(), trusted_since: None };
                return Ok(Look::Swapped);
            }
        } else {
            self.trusted_since = None;
        }
        Ok(Look::Waiting)
    }
}

/// The identity that the Secret holds, made or renewed if need be. Without one, it gets our own; with another than our
/// own, whoever trusts the Secret trusts our own too, since we are serving with it.
async fn settled(
    client: &Client,
    place: &Place,
    own: Option<&Identity>,
    clock: &Clock,
) -> Result<Identity, NoCertificates> {
    let settling = settling(client, place, own, clock);
    tokio::time::timeout(CALL_TIMEOUT, settling).await.unwrap_or(Err(NoCertificates::Silent))
}

async fn settling(
    client: &Client,
    Place { namespace, names }: &Place,
    own: Option<&Identity>,
    clock: &Clock,
) -> Result<Identity, NoCertificates> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    for _ in 0..ATTEMPTS {
        let secret = api.get_opt(CERTIFICATES_SECRET).await?;
        let Some(mut secret) = secret else {
            return Err(NoCertificates::NoSecret { namespace: namespace.clone() });
        };
        let kept = Identity::from_parts(&texts(&secret));
        let now = clock.now();
        let identity = Identity::settled(kept.clone().or_else(|| own.cloned()), names, now)?;
        let identity = own.iter().fold(identity, |identity, own| identity.trusting(&own.trusted(now)));
        if kept.as_ref() == Some(&identity) {
            return Ok(identity);
        }
        let parts = identity.parts().map(|(name, text)| (name.to_owned(), ByteString(text.as_bytes().to_vec())));
        secret.data.get_or_insert_default().extend(parts);
        // The resourceVersion that was read goes along: whoever wrote in between keeps what they wrote.
        match api.replace(CERTIFICATES_SECRET, &PostParams::default(), &secret).await {
            Ok(_) => return Ok(identity),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(NoCertificates::Contended)
}

fn texts(secret: &Secret) -> BTreeMap<String, String> {
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

    fn identity() -> Identity {
        Identity::settled(None, &names(), start()).unwrap()
    }

    fn serving(identity: &Identity) -> Serving {
        let leaf = identity.leaf.clone();
        Serving { key: ServingKey::new(&leaf).unwrap(), leaf, trusted_since: None }
    }

    #[test]
    fn a_leaf_of_another_authority_is_served_once_every_api_server_has_heard_of_that() {
        let (old, new) = (identity(), identity());
        let both = old.clone().trusting(&new.trusted(start())).trusted(start());
        let (only_old, mut serving) = (old.trusted(start()), serving(&old));
        let mut look = |live: Option<&Bundle>, seconds| {
            serving.look(&new.leaf, live, &names(), start() + SignedDuration::from_secs(seconds)).unwrap()
        };
        assert_eq!(look(None, 0), Look::Waiting, "what is trusted is not known yet");
        assert_eq!(look(Some(&only_old), 100), Look::Waiting);
        assert_eq!(look(Some(&both), 200), Look::Waiting);
        assert_eq!(look(Some(&only_old), 205), Look::Waiting, "somebody took it back");
        assert_eq!(look(Some(&both), 210), Look::Waiting);
        assert_eq!(look(Some(&both), 219), Look::Waiting);
        assert_eq!(look(Some(&both), 220), Look::Swapped);
        assert_eq!(look(Some(&both), 221), Look::Served);
    }

    #[test]
    fn what_nobody_trusts_or_what_has_ended_is_served_no_longer() {
        let (old, new) = (identity(), identity());
        let look = |serving: &mut Serving, live: Option<&Bundle>, days: i64| {
            serving.look(&new.leaf, live, &names(), start() + SignedDuration::from_hours(24 * days)).unwrap()
        };
        assert_eq!(look(&mut serving(&old), Some(&new.trusted(start())), 0), Look::Swapped);
        assert_eq!(look(&mut serving(&old), Some(&Bundle::default()), 0), Look::Swapped);
        assert_eq!(look(&mut serving(&old), None, 89), Look::Waiting);
        assert_eq!(look(&mut serving(&old), None, 91), Look::Swapped);
    }
}
