//! The authorities that a client should trust: for a while the old one and the new one.
//!
//! A new authority is published here before anything it signed is served, and the old one stays until it ends. What
//! several servers publish in one place is the union of what they know, so that none takes away what another serves with.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::CertificateError;
use super::read::Certificate;

/// A union takes no more than this from elsewhere, so that it cannot grow without end.
const MOST: usize = 16;

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

    /// The certificates that can be read in a text, and whether that was all there was in it.
    #[must_use]
    pub fn readable_in(pem: &[u8]) -> (Self, bool) {
        let (mut bundle, mut whole) = (Self::default(), true);
        for der in CertificateDer::pem_slice_iter(pem) {
            match der.map(Certificate::from_der) {
                Ok(Ok(certificate)) => bundle.add(certificate),
                _ => whole = false,
            }
        }
        (bundle, whole)
    }

    /// What should stand where `live` stands, for clients there to trust this bundle; `None` where that is so already.
    ///
    /// Authorities like ours that live stay, whoever put them there: another server may be serving with them. Others go.
    #[must_use]
    pub fn published_over(&self, live: &[u8], now: Timestamp) -> Option<Self> {
        let (live, whole) = Self::readable_in(live);
        let belongs = |one: &Certificate| self.0.contains(one) || one.looks_like_ours();
        // That one has ended is no reason to write: clocks differ, and it harms nobody.
        if whole && live.contains_all(self) && live.0.iter().all(belongs) {
            return None;
        }
        let mut union = self.clone();
        let mut others = live.0;
        others.retain(|one| one.looks_like_ours() && now <= one.not_after);
        others.sort_by_key(|one| std::cmp::Reverse(one.not_before));
        others.into_iter().for_each(|one| union.add_up_to_most(one));
        Some(union)
    }

    fn add_up_to_most(&mut self, certificate: Certificate) {
        if self.0.len() < MOST {
            self.add(certificate);
        }
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

    /// Adds the authorities of another bundle that are not in it yet, as long as there is room.
    pub fn add_all(&mut self, other: &Self) {
        other.0.iter().cloned().for_each(|certificate| self.add_up_to_most(certificate));
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

    fn bundle_of(text: &str) -> Bundle {
        Bundle::from_pem(text).unwrap()
    }

    #[test]
    fn two_servers_with_different_authorities_come_to_one_union_and_leave_it_alone() {
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let (one, other) =
            (bundle_of(&authority_pem("2026-11-22T10:00:00Z")), bundle_of(&authority_pem("2026-11-23T09:00:00Z")));
        let first = one.published_over(b"", now).unwrap();
        assert_eq!(first, one);
        let both = other.published_over(first.pem().as_bytes(), now).unwrap();
        assert!(both.contains_all(&one) && both.contains_all(&other));
        for wanted in [one, other] {
            assert_eq!(wanted.published_over(both.pem().as_bytes(), now), None);
        }
    }

    #[test]
    fn what_is_not_ours_or_unreadable_is_replaced_and_what_has_ended_goes_along() {
        let (now, later) = ("2026-11-23T10:00:00Z".parse().unwrap(), "2026-11-25T09:30:00Z".parse().unwrap());
        let (ended, ours) = (authority_pem("2026-11-23T08:00:00Z"), bundle_of(&authority_pem("2026-11-23T09:59:00Z")));
        let foreign = foreign_pem();
        let live = [ended.clone(), foreign, ours.pem()].concat();
        assert_eq!(ours.published_over(live.as_bytes(), later), Some(ours.clone()));
        assert_eq!(ours.published_over(live.as_bytes(), now).unwrap().certificates().len(), 2);
        let broken = ours.pem() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(ours.published_over(broken.as_bytes(), now), Some(ours.clone()));
        let with_ended = ended + &ours.pem();
        assert_eq!(ours.published_over(with_ended.as_bytes(), later), None, "what has ended is no reason to write");
    }

    #[test]
    fn a_union_does_not_grow_without_end() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let many = (0..30).map(|minute| authority_pem(&format!("2026-11-23T09:{minute:02}:00Z"))).collect::<String>();
        let ours = bundle_of(&authority_pem("2026-11-23T08:00:00Z"));
        let union = ours.published_over(many.as_bytes(), now).unwrap();
        assert_eq!(union.certificates().len(), MOST);
        assert!(union.contains_all(&ours) && union.contains_all(&bundle_of(&many[many.len() - ours.pem().len()..])));
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
        let bundle = Bundle::from_pem(&text).unwrap();
        assert_eq!(Bundle::from_pem(&bundle.pem()).unwrap(), bundle);
        assert_eq!(bundle.pem(), text.replace("\r\n", "\n"));
    }
}
