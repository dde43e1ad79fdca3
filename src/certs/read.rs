//! What stands in a certificate, and when it should be renewed.

use std::net::IpAddr;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::CertificateError;
use super::issue::{AUTHORITY_LIFE, AUTHORITY_NAME, BACKDATED};

/// A certificate that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its subject's common name, which nothing verifies.
    pub common_name: String,
    /// The DNS names and IP addresses it covers, in their order.
    pub names: Vec<String>,
    /// The first moment of its life.
    pub not_before: Timestamp,
    /// The last moment of its life.
    pub not_after: Timestamp,
    /// Whether it may sign others.
    pub is_authority: bool,
    pub(super) subject: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    pub(super) der: CertificateDer<'static>,
}

impl Certificate {
    /// The first certificate of a PEM text: the leaf of a chain.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot be read.
    pub fn first(pem: &str) -> Result<Self, CertificateError> {
        Ok(Self::all(pem)?.swap_remove(0))
    }

    /// All certificates of a PEM text, at least one, in their order.
    ///
    /// # Errors
    ///
    /// When there is none, or one cannot be read.
    pub fn all(pem: &str) -> Result<Vec<Self>, CertificateError> {
        let read = CertificateDer::pem_slice_iter(pem.as_bytes())
            .map(|der| Self::from_der(der.map_err(unreadable)?))
            .collect::<Result<Vec<_>, _>>()?;
        if read.is_empty() { Err(unreadable("the text holds no PEM certificate")) } else { Ok(read) }
    }

    /// Whether two thirds of its life are over.
    #[must_use]
    pub fn renewal_due(&self, now: Timestamp) -> bool {
        let life = self.not_after.duration_since(self.not_before);
        now.duration_since(self.not_before) >= life / 3 * 2
    }

    /// Whether `now` lies in its life.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whether it is an authority as we issue them. That proves nothing about who made it, but bounds how long it lives.
    #[must_use]
    pub fn looks_like_ours(&self) -> bool {
        let life = self.not_after.duration_since(self.not_before);
        let ours = self.common_name.starts_with(AUTHORITY_NAME) && life <= AUTHORITY_LIFE + BACKDATED;
        ours && self.is_authority && self.subject == self.issuer
    }

    /// Whether `authority` signed it, judged by names and signature alone.
    pub(super) fn signed_by(&self, authority: &Self) -> bool {
        // The verifier wants a moment and a name, so it is asked about those of this certificate itself.
        self.issuer == authority.subject
            && self.names.first().is_some_and(|name| {
                super::check::verify(self, &[], std::slice::from_ref(authority), name, self.not_before).is_ok()
            })
    }

    pub(super) fn from_der(der: CertificateDer<'static>) -> Result<Self, CertificateError> {
        let (_, parsed) = X509Certificate::from_der(&der).map_err(unreadable)?;
        let common_name = parsed.subject().iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or_default();
        Ok(Self {
            common_name: common_name.to_owned(),
            names: names_of(&parsed)?,
            not_before: Timestamp::from_second(parsed.validity().not_before.timestamp()).map_err(unreadable)?,
            not_after: Timestamp::from_second(parsed.validity().not_after.timestamp()).map_err(unreadable)?,
            is_authority: parsed.is_ca(),
            subject: parsed.subject().as_raw().to_vec(),
            issuer: parsed.issuer().as_raw().to_vec(),
            der: der.clone(),
        })
    }
}

fn names_of(parsed: &X509Certificate<'_>) -> Result<Vec<String>, CertificateError> {
    let extension = parsed.subject_alternative_name().map_err(unreadable)?;
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    Ok(names.filter_map(text_of).collect())
}

fn text_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
        },
        _ => None,
    }
}

fn unreadable(cause: impl ToString) -> CertificateError {
    CertificateError::Unreadable(cause.to_string())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::super::issue::authority;
    use super::*;

    #[test]
    fn renewal_is_due_after_two_thirds_of_the_life() {
        let now: Timestamp = "2026-11-22T10:10:00Z".parse().unwrap();
        let pair = authority(now, SignedDuration::from_mins(290)).unwrap();
        let read = Certificate::first(&pair.certificate_pem).unwrap();
        assert!(read.is_authority && !read.renewal_due(now));
        assert!(!read.renewal_due("2026-11-22T13:19:59Z".parse().unwrap()));
        assert!(read.renewal_due("2026-11-22T13:20:00Z".parse().unwrap()));
        assert!(!read.renewal_due(Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn a_text_without_a_certificate_is_an_error_not_an_empty_list() {
        assert!(Certificate::all("nothing here").is_err());
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(Certificate::all(broken), Err(CertificateError::Unreadable(_))));
    }
}
