//! Issues an authority, and leaf certificates signed by it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};

use super::CertificateError;
use super::read::Certificate;

/// Prefix of the common name of each of our authorities.
pub(super) const AUTHORITY_NAME: &str = "outrigger CA ";

/// Default lifetime of an authority.
pub const AUTHORITY_LIFETIME: SignedDuration = SignedDuration::from_hours(2 * 365 * 24);

/// Default lifetime of a leaf.
pub const LEAF_LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Age of `not_before` on issue, for API servers whose clock is behind ours.
pub const BACKDATING: SignedDuration = SignedDuration::from_mins(10);

/// Certificate and its private key, both as PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CertificatePair {
    /// Certificate, or a chain that begins with the leaf.
    pub certificate_pem: String,
    /// Private key of the first certificate.
    pub key_pem: String,
}

impl fmt::Debug for CertificatePair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { certificate_pem, key_pem: _ } = self;
        formatter.debug_struct("CertificatePair").field("certificate_pem", certificate_pem).finish_non_exhaustive()
    }
}

/// Returns the DNS names of a Service.
#[must_use]
pub fn service_names(service: &str, namespace: &str) -> Vec<String> {
    vec![
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
        format!("{service}.{namespace}"),
        service.to_owned(),
    ]
}

/// Issues an authority that lives for `life` from `now`.
pub fn issue_authority(now: Timestamp, life: SignedDuration) -> Result<CertificatePair, CertificateError> {
    let key = KeyPair::generate()?;
    // The moment distinguishes the old authority from the new one in a bundle of both.
    let mut params = authority_params(&format!("{AUTHORITY_NAME}{now:.0}"));
    set_validity(&mut params, now, now.saturating_add(life).unwrap_or(Timestamp::MAX));
    let certificate = params.self_signed(&key)?;
    Ok(CertificatePair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

/// Issues a leaf for a server with these DNS names and IP addresses. The leaf ends no later than its authority.
///
/// # Errors
///
/// If the authority is not one of ours, or a name is neither a DNS name nor an IP address.
pub fn issue_leaf(
    authority: &CertificatePair,
    names: &[String],
    now: Timestamp,
    life: SignedDuration,
) -> Result<CertificatePair, CertificateError> {
    let signer = Certificate::parse_first(&authority.certificate_pem)?;
    let key = KeyPair::generate()?;
    let mut params = leaf_params(names)?;
    let not_after = now.saturating_add(life).unwrap_or(Timestamp::MAX);
    set_validity(&mut params, now, not_after.min(signer.not_after));
    let certificate = params.signed_by(&key, &issuer(authority, &signer)?)?;
    let issued = CertificatePair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() };
    if Certificate::parse_first(&issued.certificate_pem)?.is_signed_by(&signer) {
        Ok(issued)
    } else {
        Err(CertificateError::ForeignAuthority(signer.common_name))
    }
}

fn issuer(authority: &CertificatePair, signer: &Certificate) -> Result<Issuer<'static, KeyPair>, CertificateError> {
    let key =
        KeyPair::from_pem(&authority.key_pem).map_err(|cause| CertificateError::UnreadableKey(cause.to_string()))?;
    Ok(Issuer::new(authority_params(&signer.common_name), key))
}

fn authority_params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn leaf_params(names: &[String]) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.iter().map(|name| alternative_name(name)).collect::<Result<_, _>>()?;
    params.distinguished_name.push(DnType::CommonName, "outrigger");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn alternative_name(name: &str) -> Result<SanType, CertificateError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let bad_name = || CertificateError::BadName(name.to_owned());
    rustls::pki_types::DnsName::try_from(name.strip_prefix("*.").unwrap_or(name)).map_err(|_| bad_name())?;
    Ok(SanType::DnsName(name.try_into().map_err(|_| bad_name())?))
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, not_after: Timestamp) {
    let epoch = date_time_ymd(1970, 1, 1);
    let seconds = |moment: Timestamp| Duration::from_secs(u64::try_from(moment.as_second()).unwrap_or(0));
    params.not_before = epoch + seconds(now.saturating_sub(BACKDATING).unwrap_or(now));
    params.not_after = epoch + seconds(not_after);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T10:00:00Z".parse().unwrap()
    }

    fn names() -> Vec<String> {
        let mut names = service_names("outrigger", "outrigger-system");
        names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
        names
    }

    #[test]
    fn a_leaf_lives_from_ten_minutes_ago_and_carries_its_names() {
        let authority = issue_authority(now(), AUTHORITY_LIFETIME).unwrap();
        let leaf = issue_leaf(&authority, &names(), now(), LEAF_LIFETIME).unwrap();
        let read = Certificate::parse_first(&leaf.certificate_pem).unwrap();
        assert_eq!(read.not_before, "2026-11-22T09:50:00Z".parse().unwrap());
        assert_eq!(read.not_after, "2027-02-20T10:00:00Z".parse().unwrap());
        assert_eq!(read.names, names());
        assert!(!read.is_authority);
    }

    #[test]
    fn a_leaf_does_not_outlive_its_authority() {
        let authority = issue_authority(now(), SignedDuration::from_hours(5)).unwrap();
        let leaf = issue_leaf(&authority, &names(), now(), LEAF_LIFETIME).unwrap();
        let read = Certificate::parse_first(&leaf.certificate_pem).unwrap();
        assert_eq!(read.not_after, "2026-11-22T15:00:00Z".parse().unwrap());
    }

    #[test]
    fn an_authority_with_the_key_of_another_signs_nothing() {
        let mut mixed = issue_authority(now(), AUTHORITY_LIFETIME).unwrap();
        mixed.key_pem = issue_authority(now(), AUTHORITY_LIFETIME).unwrap().key_pem;
        let refused = issue_leaf(&mixed, &names(), now(), LEAF_LIFETIME).unwrap_err();
        assert!(matches!(refused, CertificateError::ForeignAuthority(_)), "{refused}");
    }

    #[test]
    fn a_name_that_is_no_name_is_refused_by_name() {
        let authority = issue_authority(now(), AUTHORITY_LIFETIME).unwrap();
        let refused = issue_leaf(&authority, &["no spaces".to_owned()], now(), LEAF_LIFETIME).unwrap_err();
        assert_eq!(refused.to_string(), r#""no spaces" is neither a DNS name nor an IP address"#);
    }

    #[test]
    fn the_key_stays_out_of_debug_output() {
        let shown = format!("{:?}", issue_authority(now(), AUTHORITY_LIFETIME).unwrap());
        assert!(shown.contains("BEGIN CERTIFICATE") && !shown.contains("PRIVATE"), "{shown}");
    }
}
