//! Checks that a certificate, its key, its authorities and the required names belong together.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError as Flaw, Error, RootCertStore};

use super::CertificateError;
use super::bundle::AuthorityBundle;
use super::issue::CertificatePair;
use super::read::Certificate;

/// Fault of a certificate, from the point of view of a client that is about to call.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// The certificate or its authority has ended.
    #[error("the certificate ended at {0}")]
    Ended(Timestamp),
    /// The certificate is not valid yet.
    #[error("the certificate begins at {0}: check the clock")]
    NotYet(Timestamp),
    /// The certificate does not cover a required name.
    #[error("the certificate does not cover {0}")]
    NotCovered(String),
    /// None of the authorities signed it.
    #[error("the certificate was signed by none of the given authorities")]
    UnknownAuthority,
    /// The private key belongs to another certificate.
    #[error("the private key does not belong to the certificate")]
    OtherKey,
    /// Any other objection of a verifier, in its words.
    #[error("the certificate cannot be used: {0}")]
    Unusable(String),
}

/// Checks that `pair` can serve `names` to a client that trusts `authorities`, at `now`.
///
/// # Errors
///
/// The first fault.
pub fn check_certificate(
    pair: &CertificatePair,
    authorities: &AuthorityBundle,
    names: &[String],
    now: Timestamp,
) -> Result<(), CertificateFault> {
    certified_key(pair).map_err(|cause| match cause {
        KeyFault::Mismatch => CertificateFault::OtherKey,
        KeyFault::Unreadable(cause) => CertificateFault::Unusable(cause.to_string()),
    })?;
    let chain = Certificate::parse_all(&pair.certificate_pem).map_err(unusable)?;
    let (leaf, intermediates) = chain.split_first().expect("a chain that was read holds at least one certificate");
    // The verifier does not check the dates of a root; Go does.
    let alive: Vec<_> = authorities.certificates().iter().filter(|root| root.is_alive(now)).cloned().collect();
    names.iter().try_for_each(|name| verify_leaf(leaf, intermediates, &alive, name, now))
}

/// Reason why a certificate and a key make no [`CertifiedKey`].
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    /// The certificate or the key cannot be read.
    #[error(transparent)]
    Unreadable(#[from] CertificateError),
}

/// Converts the pair for the TLS library.
pub fn certified_key(pair: &CertificatePair) -> Result<CertifiedKey, KeyFault> {
    let unreadable_key = |cause: String| CertificateError::UnreadableKey(cause);
    let chain = Certificate::parse_all(&pair.certificate_pem)?.into_iter().map(|certificate| certificate.der).collect();
    let key =
        PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).map_err(|cause| unreadable_key(cause.to_string()))?;
    match CertifiedKey::from_der(chain, key, &provider()) {
        Err(Error::InconsistentKeys(_)) => Err(KeyFault::Mismatch),
        Err(cause) => Err(unreadable_key(cause.to_string()).into()),
        Ok(certified) => Ok(certified),
    }
}

pub(super) fn verify_leaf(
    leaf: &Certificate,
    intermediates: &[Certificate],
    authorities: &[Certificate],
    name: &str,
    now: Timestamp,
) -> Result<(), CertificateFault> {
    let server_name = ServerName::try_from(name).map_err(|_| CertificateFault::NotCovered(name.to_owned()))?;
    let moment = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0)));
    let chain: Vec<CertificateDer<'_>> = intermediates.iter().map(|certificate| certificate.der.clone()).collect();
    match verifier(authorities)?.verify_server_cert(&leaf.der, &chain, &server_name, &[], moment) {
        Ok(_) => Ok(()),
        Err(Error::InvalidCertificate(flaw)) => Err(fault_from_flaw(flaw, leaf, name)),
        Err(cause) => Err(unusable(cause)),
    }
}

fn verifier(authorities: &[Certificate]) -> Result<Arc<WebPkiServerVerifier>, CertificateFault> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.der.clone()).map_err(unusable)?;
    }
    if roots.is_empty() {
        return Err(CertificateFault::UnknownAuthority);
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider())).build().map_err(unusable)
}

fn fault_from_flaw(flaw: Flaw, leaf: &Certificate, name: &str) -> CertificateFault {
    match flaw {
        Flaw::Expired | Flaw::ExpiredContext { .. } => CertificateFault::Ended(leaf.not_after),
        Flaw::NotValidYet | Flaw::NotValidYetContext { .. } => CertificateFault::NotYet(leaf.not_before),
        Flaw::NotValidForName | Flaw::NotValidForNameContext { .. } => CertificateFault::NotCovered(name.to_owned()),
        Flaw::UnknownIssuer | Flaw::BadSignature => CertificateFault::UnknownAuthority,
        other => unusable(other),
    }
}

fn unusable(cause: impl ToString) -> CertificateFault {
    CertificateFault::Unusable(cause.to_string())
}

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

#[cfg(test)]
mod tests {
    use super::super::issue::{AUTHORITY_LIFETIME, LEAF_LIFETIME, issue_authority, issue_leaf};
    use super::*;

    const NAME: &str = "outrigger.outrigger-system.svc";

    fn now() -> Timestamp {
        "2026-11-22T10:00:00Z".parse().unwrap()
    }

    fn at(moment: &str) -> Timestamp {
        moment.parse().unwrap()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn issued() -> (CertificatePair, AuthorityBundle) {
        let authority = issue_authority(now(), AUTHORITY_LIFETIME).unwrap();
        let leaf = issue_leaf(&authority, &names(&[NAME, "127.0.0.1"]), now(), LEAF_LIFETIME).unwrap();
        (leaf, AuthorityBundle::from_pem(&authority.certificate_pem).unwrap())
    }

    #[test]
    fn what_is_issued_passes_from_the_first_moment_to_the_last() {
        let (leaf, authorities) = issued();
        let both = names(&[NAME, "127.0.0.1"]);
        check_certificate(&leaf, &authorities, &both, now()).unwrap();
        check_certificate(&leaf, &authorities, &both, at("2026-11-22T09:50:00Z")).unwrap();
        check_certificate(&leaf, &authorities, &both, at("2027-02-20T10:00:00Z")).unwrap();
    }

    #[test]
    fn a_life_that_is_over_or_has_not_begun_is_a_fault_with_its_moment() {
        let (leaf, authorities) = issued();
        let faults = ["2027-02-20T10:00:01Z", "2026-11-22T09:49:59Z"]
            .map(|moment| check_certificate(&leaf, &authorities, &names(&[NAME]), at(moment)).unwrap_err());
        let end = at("2027-02-20T10:00:00Z");
        // The authority had not begun either at the second moment, so nothing is trusted yet.
        assert_eq!(faults, [CertificateFault::Ended(end), CertificateFault::UnknownAuthority]);
    }

    #[test]
    fn a_name_that_is_not_covered_is_named() {
        let (leaf, authorities) = issued();
        let fault = check_certificate(&leaf, &authorities, &names(&[NAME, "localhost"]), now()).unwrap_err();
        assert_eq!(fault, CertificateFault::NotCovered("localhost".to_owned()));
    }

    #[test]
    fn another_authority_is_not_trusted_and_a_bundle_of_both_is() {
        let (leaf, authorities) = issued();
        let (_, mut others) = issued();
        assert_eq!(check_certificate(&leaf, &others, &names(&[NAME]), now()), Err(CertificateFault::UnknownAuthority));
        others.add_all(&authorities);
        check_certificate(&leaf, &others, &names(&[NAME]), now()).unwrap();
    }

    #[test]
    fn a_dead_authority_is_not_trusted() {
        let authority = issue_authority(now(), AUTHORITY_LIFETIME).unwrap();
        let authorities = AuthorityBundle::from_pem(&authority.certificate_pem).unwrap();
        let late = at("2028-11-21T09:00:00Z");
        let leaf = issue_leaf(&authority, &names(&[NAME]), late, LEAF_LIFETIME).unwrap();
        check_certificate(&leaf, &authorities, &names(&[NAME]), late).unwrap();
        let fault = check_certificate(&leaf, &authorities, &names(&[NAME]), at("2028-11-22T10:00:01Z")).unwrap_err();
        assert_eq!(fault, CertificateFault::UnknownAuthority);
    }

    #[test]
    fn the_key_of_another_certificate_is_noticed() {
        let (mut leaf, authorities) = issued();
        leaf.key_pem = issued().0.key_pem;
        assert_eq!(check_certificate(&leaf, &authorities, &names(&[NAME]), now()), Err(CertificateFault::OtherKey));
    }
}
