//! Key being served, which can be swapped while connections are open.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::check::{KeyFault, certified_key};
use super::issue::CertificatePair;

/// Certificate and key being served. Clones share them: a swap reaches each handshake that begins after it.
#[derive(Clone, Debug)]
pub struct ServingKey(Arc<ArcSwap<CertifiedKey>>);

impl ServingKey {
    /// Starts with this pair.
    ///
    /// # Errors
    ///
    /// If the pair cannot be read or the key does not belong to the certificate.
    pub fn new(pair: &CertificatePair) -> Result<Self, KeyFault> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(certified_key(pair)?))))
    }

    /// Serves this pair from now on. Open connections stay open.
    ///
    /// # Errors
    ///
    /// As [`Self::new`]; the former pair then stays in place.
    pub fn swap(&self, pair: &CertificatePair) -> Result<(), KeyFault> {
        self.0.store(Arc::new(certified_key(pair)?));
        Ok(())
    }
}

impl ResolvesServerCert for ServingKey {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}
