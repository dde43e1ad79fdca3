//! Reads certificates, and tells when one should be renewed.

use std::net::IpAddr;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::CertificateError;
use super::issue::{AUTHORITY_LIFETIME, AUTHORITY_NAME, BACKDATING};

/// Certificate that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Common name of the subject; nothing verifies it.
    pub common_name: String,
    /// DNS names and IP addresses that the certificate covers, in their order.
    pub names: Vec<String>,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
    /// Whether the certificate may sign others.
    pub is_authority: bool,
    pub(super) subject: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    pub(super) der: CertificateDer<'static>,
}

impl Certificate {
    /// Parses the first certificate of a PEM text: the leaf of a chain.
    pub fn parse_first(pem: &str) -> Result<Self, CertificateError> {
        Ok(Self::parse_all(pem)?.swap_remove(0))
    }

    /// Parses all certificates of a PEM text, at least one, in their order.
    ///
    /// # Errors
    ///
    /// If there is none, or one cannot be read.
    pub fn parse_all(pem: &str) -> Result<Vec<Self>, CertificateError> {
        let read = CertificateDer::pem_slice_iter(pem.as_bytes())
            .map(|der| Self::from_der(der.map_err(unreadable_error)?))
            .collect::<Result<Vec<_>, _>>()?;
        if read.is_empty() { Err(unreadable_error("the text holds no PEM certificate")) } else { Ok(read) }
    }

    /// Returns whether two thirds of the lifetime are over.
    #[must_use]
    pub fn is_renewal_due(&self, now: Timestamp) -> bool {
        let life = self.not_after.duration_since(self.not_before);
        now.duration_since(self.not_before) >= life / 3 * 2
    }

    /// Returns whether the certificate is valid at `now`.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Returns whether the certificate is an authority like ours. That proves nothing about its issuer, but bounds its
    /// lifetime.
    #[must_use]
    pub fn looks_like_ours(&self) -> bool {
        let life = self.not_after.duration_since(self.not_before);
        let ours = self.common_name.starts_with(AUTHORITY_NAME) && life <= AUTHORITY_LIFETIME + BACKDATING;
        ours && self.is_authority && self.subject == self.issuer
    }

    /// Returns whether `authority` signed the certificate, judged by names and signature alone.
    pub(super) fn is_signed_by(&self, authority: &Self) -> bool {
        // The verifier needs a moment and a name, so it gets those of this certificate itself.
        self.issuer == authority.subject
            && self.names.first().is_some_and(|name| {
                super::check::verify_leaf(self, &[], std::slice::from_ref(authority), name, self.not_before).is_ok()
            })
    }

    pub(super) fn from_der(der: CertificateDer<'static>) -> Result<Self, CertificateError> {
        let (_, parsed) = X509Certificate::from_der(&der).map_err(unreadable_error)?;
        let common_name = parsed.subject().iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or_default();
        Ok(Self {
            common_name: common_name.to_owned(),
            names: parse_names(&parsed)?,
            not_before: Timestamp::from_second(parsed.validity().not_before.timestamp()).map_err(unreadable_error)?,
            not_after: Timestamp::from_second(parsed.validity().not_after.timestamp()).map_err(unreadable_error)?,
            is_authority: parsed.is_ca(),
            subject: parsed.subject().as_raw().to_vec(),
            issuer: parsed.issuer().as_raw().to_vec(),
            der: der.clone(),
        })
    }
}

fn parse_names(parsed: &X509Certificate<'_>) -> Result<Vec<String>, CertificateError> {
    let extension = parsed.subject_alternative_name().map_err(unreadable_error)?;
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    Ok(names.filter_map(format_general_name).collect())
}

fn format_general_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
        },
        _ => None,
    }
}

fn unreadable_error(cause: impl ToString) -> CertificateError {
    CertificateError::Unreadable(cause.to_string())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::super::issue::issue_authority;
    use super::*;

    #[test]
    fn renewal_is_due_after_two_thirds_of_the_life() {
        let now: Timestamp = "2026-11-22T10:10:00Z".parse().unwrap();
        let pair = issue_authority(now, SignedDuration::from_mins(290)).unwrap();
        let read = Certificate::parse_first(&pair.certificate_pem).unwrap();
        assert!(read.is_authority && !read.is_renewal_due(now));
        assert!(!read.is_renewal_due("2026-11-22T13:19:59Z".parse().unwrap()));
        assert!(read.is_renewal_due("2026-11-22T13:20:00Z".parse().unwrap()));
        assert!(!read.is_renewal_due(Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn a_text_without_a_certificate_is_an_error_not_an_empty_list() {
        assert!(Certificate::parse_all("nothing here").is_err());
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(Certificate::parse_all(broken), Err(CertificateError::Unreadable(_))));
    }
}
