//! The authorities that a client should trust: for a while the old one and the new one.
//!
//! A new authority is published here before anything it signed is served, and the old one stays until it ends.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::CertificateError;
use super::read::Certificate;

/// Several authorities, each once, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle(Vec<Certificate>);

impl Bundle {
    /// The bundle that a PEM text holds.
    ///
    /// # Errors
    ///
    /// When there is no certificate in it, or one cannot be read.
    pub fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        let mut bundle = Self::default();
        Certificate::all(pem)?.into_iter().for_each(|certificate| bundle.add(certificate));
        Ok(bundle)
    }

    /// The certificates, oldest addition first.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.0
    }

    /// Adds an authority that is not in it yet.
    pub fn add(&mut self, certificate: Certificate) {
        if !self.0.contains(&certificate) {
            self.0.push(certificate);
        }
    }

    /// Adds the authorities of another bundle that are not in it yet.
    pub fn add_all(&mut self, other: &Self) {
        other.0.iter().cloned().for_each(|certificate| self.add(certificate));
    }

    /// Removes the authorities whose life is over.
    pub fn remove_ended(&mut self, now: Timestamp) {
        self.0.retain(|certificate| now <= certificate.not_after);
    }

    /// Whether a client that trusts this bundle trusts all of `other` too.
    #[must_use]
    pub fn contains_all(&self, other: &Self) -> bool {
        other.0.iter().all(|certificate| self.0.contains(certificate))
    }

    /// The bundle as one PEM text; the same certificates always give the same bytes.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, certificate| {
            let encoded = STANDARD.encode(&certificate.der);
            text.push_str("-----BEGIN CERTIFICATE-----\n");
            for line in encoded.as_bytes().chunks(64) {
                let line = str::from_utf8(line).expect("base64 is ASCII");
                writeln!(text, "{line}").expect("writing to a string cannot fail");
            }
            text.push_str("-----END CERTIFICATE-----\n");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::super::issue::authority;
    use super::*;

    fn authority_pem(from: &str) -> String {
        authority(from.parse().unwrap(), SignedDuration::from_hours(48)).unwrap().certificate_pem
    }

    #[test]
    fn old_and_new_stand_side_by_side_until_the_old_one_ends() {
        let old = Bundle::from_pem(&authority_pem("2026-11-22T10:00:00Z")).unwrap();
        let new = Bundle::from_pem(&authority_pem("2026-11-23T10:00:00Z")).unwrap();
        let mut bundle = old.clone();
        assert!(!bundle.contains_all(&new));
        bundle.add_all(&new);
        bundle.add_all(&new);
        assert_eq!(bundle.certificates().len(), 2);
        bundle.remove_ended("2026-11-24T10:00:00Z".parse().unwrap());
        assert!(bundle.contains_all(&old) && bundle.contains_all(&new));
        bundle.remove_ended("2026-11-24T10:00:01Z".parse().unwrap());
        assert_eq!(bundle, new);
    }

    #[test]
    fn its_text_reads_back_the_same() {
        let text = authority_pem("2026-11-22T10:00:00Z") + &authority_pem("2026-11-23T10:00:00Z");
        let bundle = Bundle::from_pem(&text).unwrap();
        assert_eq!(Bundle::from_pem(&bundle.pem()).unwrap(), bundle);
        assert_eq!(bundle.pem(), text.replace("\r\n", "\n"));
    }
}
