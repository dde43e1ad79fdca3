//! Bundle of the authorities that a client should trust: for a while the old one and the new one.
//!
//! A new authority is published before any certificate that it signed is served. The old authority stays until it ends.
//! Several servers publish the union of their bundles in one place, so that none removes the authority of another.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::CertificateError;
use super::read::Certificate;

/// Maximum size of a union with published authorities, so that it cannot grow without end.
const MAX_AUTHORITIES: usize = 16;

/// Authorities, each once, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorityBundle(Vec<Certificate>);

impl AuthorityBundle {
    /// Parses the bundle of a PEM text.
    ///
    /// # Errors
    ///
    /// If there is no certificate in it, or one cannot be read.
    pub fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        let mut bundle = Self::default();
        Certificate::parse_all(pem)?.into_iter().for_each(|certificate| bundle.add(certificate));
        Ok(bundle)
    }

    /// Parses the readable certificates of a text, and tells whether all of them were readable.
    #[must_use]
    pub fn parse_readable(pem: &[u8]) -> (Self, bool) {
        let (mut bundle, mut whole) = (Self::default(), true);
        for der in CertificateDer::pem_slice_iter(pem) {
            match der.map(Certificate::from_der) {
                Ok(Ok(certificate)) => bundle.add(certificate),
                _ => whole = false,
            }
        }
        (bundle, whole)
    }

    /// Returns the bundle that should replace the published one, so that its clients trust this bundle; `None` if they
    /// do.
    ///
    /// Valid authorities like ours stay, whoever published them: another server may be serving with them. Others are
    /// removed.
    #[must_use]
    pub fn replacement_for(&self, published: &[u8], now: Timestamp) -> Option<Self> {
        let (published, whole) = Self::parse_readable(published);
        let belongs = |one: &Certificate| self.0.contains(one) || one.looks_like_ours();
        // An ended authority is no reason to write: clocks differ, and it does no harm.
        if whole && published.contains_all(self) && published.0.iter().all(belongs) {
            return None;
        }
        let mut union = self.clone();
        let mut others = published.0;
        others.retain(|one| one.looks_like_ours() && now <= one.not_after);
        others.sort_by_key(|one| std::cmp::Reverse(one.not_before));
        others.into_iter().for_each(|one| union.add_if_room(one));
        Some(union)
    }

    fn add_if_room(&mut self, certificate: Certificate) {
        if self.0.len() < MAX_AUTHORITIES {
            self.add(certificate);
        }
    }

    /// Returns the certificates, oldest addition first.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.0
    }

    /// Adds an authority unless it is in the bundle already.
    pub fn add(&mut self, certificate: Certificate) {
        if !self.0.contains(&certificate) {
            self.0.push(certificate);
        }
    }

    /// Adds the authorities of another bundle that are not in this one yet, as long as there is room.
    pub fn add_all(&mut self, other: &Self) {
        other.0.iter().cloned().for_each(|certificate| self.add_if_room(certificate));
    }

    /// Removes the authorities that have ended.
    pub fn remove_ended(&mut self, now: Timestamp) {
        self.0.retain(|certificate| now <= certificate.not_after);
    }

    /// Returns whether a client that trusts this bundle trusts all of `other` too.
    #[must_use]
    pub fn contains_all(&self, other: &Self) -> bool {
        other.0.iter().all(|certificate| self.0.contains(certificate))
    }

    /// Returns the bundle as one PEM text. The same certificates always give the same bytes.
    #[must_use]
    pub fn to_pem(&self) -> String {
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

    use super::super::issue::issue_authority;
    use super::*;

    fn authority_pem(from: &str) -> String {
        issue_authority(from.parse().unwrap(), SignedDuration::from_hours(48)).unwrap().certificate_pem
    }

    #[test]
    fn old_and_new_stand_side_by_side_until_the_old_one_ends() {
        let old = AuthorityBundle::from_pem(&authority_pem("2026-11-22T10:00:00Z")).unwrap();
        let new = AuthorityBundle::from_pem(&authority_pem("2026-11-23T10:00:00Z")).unwrap();
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

    fn bundle_of(text: &str) -> AuthorityBundle {
        AuthorityBundle::from_pem(text).unwrap()
    }

    #[test]
    fn two_servers_with_different_authorities_come_to_one_union_and_leave_it_alone() {
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let (one, other) =
            (bundle_of(&authority_pem("2026-11-22T10:00:00Z")), bundle_of(&authority_pem("2026-11-23T09:00:00Z")));
        let first = one.replacement_for(b"", now).unwrap();
        assert_eq!(first, one);
        let both = other.replacement_for(first.to_pem().as_bytes(), now).unwrap();
        assert!(both.contains_all(&one) && both.contains_all(&other));
        for wanted in [one, other] {
            assert_eq!(wanted.replacement_for(both.to_pem().as_bytes(), now), None);
        }
    }

    #[test]
    fn what_is_not_ours_or_unreadable_is_replaced_and_what_has_ended_goes_along() {
        let (now, later) = ("2026-11-23T10:00:00Z".parse().unwrap(), "2026-11-25T09:30:00Z".parse().unwrap());
        let (ended, ours) = (authority_pem("2026-11-23T08:00:00Z"), bundle_of(&authority_pem("2026-11-23T09:59:00Z")));
        let foreign = foreign_pem();
        let published = [ended.clone(), foreign, ours.to_pem()].concat();
        assert_eq!(ours.replacement_for(published.as_bytes(), later), Some(ours.clone()));
        assert_eq!(ours.replacement_for(published.as_bytes(), now).unwrap().certificates().len(), 2);
        let broken = ours.to_pem() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(ours.replacement_for(broken.as_bytes(), now), Some(ours.clone()));
        let with_ended = ended + &ours.to_pem();
        assert_eq!(ours.replacement_for(with_ended.as_bytes(), later), None, "what has ended is no reason to write");
    }

    #[test]
    fn a_union_does_not_grow_without_end() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let many = (0..30).map(|minute| authority_pem(&format!("2026-11-23T09:{minute:02}:00Z"))).collect::<String>();
        let ours = bundle_of(&authority_pem("2026-11-23T08:00:00Z"));
        let union = ours.replacement_for(many.as_bytes(), now).unwrap();
        assert_eq!(union.certificates().len(), MAX_AUTHORITIES);
        assert!(union.contains_all(&ours) && union.contains_all(&bundle_of(&many[many.len() - ours.to_pem().len()..])));
    }

    /// An authority of somebody else.
    fn foreign_pem() -> String {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "their CA");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn its_text_reads_back_the_same() {
        let text = authority_pem("2026-11-22T10:00:00Z") + &authority_pem("2026-11-23T10:00:00Z");
        let bundle = AuthorityBundle::from_pem(&text).unwrap();
        assert_eq!(AuthorityBundle::from_pem(&bundle.to_pem()).unwrap(), bundle);
        assert_eq!(bundle.to_pem(), text.replace("\r\n", "\n"));
    }
}
