//! Our certificates in our own Secret, which all replicas share: whoever writes first decides, the others take what stands there.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use thiserror::Error;

use super::CALL_TIMEOUT;
use crate::certs::CertificateError;
use crate::certs::identity::Identity;
use crate::clock::Clock;
use crate::resources::names::CERTIFICATES_SECRET;

/// Replicas that start together meet here at most this often.
const ATTEMPTS: usize = 10;

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
    /// Others kept changing the Secret.
    #[error("Secret {CERTIFICATES_SECRET} kept changing while certificates were written to it")]
    Contended,
    /// The API server did not answer in time.
    #[error("the API server did not answer about Secret {CERTIFICATES_SECRET} within {} s", CALL_TIMEOUT.as_secs())]
    Silent,
}

/// The identity that the Secret holds, made or renewed if need be.
///
/// # Errors
///
/// When the Secret is not there or cannot be read or written.
pub async fn settled(
    client: &Client,
    namespace: &str,
    names: &[String],
    clock: &Clock,
) -> Result<Identity, NoCertificates> {
    let settling = settling(client, namespace, names, clock);
    tokio::time::timeout(CALL_TIMEOUT, settling).await.unwrap_or(Err(NoCertificates::Silent))
}

async fn settling(
    client: &Client,
    namespace: &str,
    names: &[String],
    clock: &Clock,
) -> Result<Identity, NoCertificates> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    for _ in 0..ATTEMPTS {
        let secret = api.get_opt(CERTIFICATES_SECRET).await?;
        let Some(mut secret) = secret else {
            return Err(NoCertificates::NoSecret { namespace: namespace.to_owned() });
        };
        let kept = Identity::from_parts(&texts(&secret));
        let identity = Identity::settled(kept.clone(), names, clock.now())?;
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
