//! What a server keeps of its certificates, wherever it keeps them: the authority, the leaf, and whom clients should trust.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::CertificateError;
use super::bundle::Bundle;
use super::check::check;
use super::issue::{AUTHORITY_LIFE, LEAF_LIFE, Pair, authority, leaf};
use super::read::Certificate;

/// An authority, and a leaf signed by it or by a former one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Signs leaves; the certificates of former authorities that still live follow its own.
    pub authority: Pair,
    /// What the server shows.
    pub leaf: Pair,
}

/// The names under which the four parts are kept, in a Secret or in a directory.
pub const PARTS: [&str; 4] = ["ca.crt", "ca.key", "tls.crt", "tls.key"];

impl Identity {
    /// The identity that these parts make up; `None` unless all are there.
    pub fn from_parts(parts: &BTreeMap<String, String>) -> Option<Self> {
        let [ca_certificate, ca_key, certificate, key] = PARTS.map(|name| parts.get(name).cloned());
        Some(Self {
            authority: Pair { certificate_pem: ca_certificate?, key_pem: ca_key? },
            leaf: Pair { certificate_pem: certificate?, key_pem: key? },
        })
    }

    /// The parts and their names.
    pub fn parts(&self) -> [(&'static str, &str); 4] {
        let Self { authority, leaf } = self;
        let texts = [&authority.certificate_pem, &authority.key_pem, &leaf.certificate_pem, &leaf.key_pem];
        [(PARTS[0], texts[0]), (PARTS[1], texts[1]), (PARTS[2], texts[2]), (PARTS[3], texts[3])]
    }

    /// The kept identity, as far as it is good: with a new leaf once two thirds of the kept one's life are over, and with a
    /// new authority, beside the former ones, long before the kept one ends. A good leaf stays, whichever of them signed
    /// it, so that clients hear of a new authority weeks before it counts.
    ///
    /// # Errors
    ///
    /// When a name is not a name or the cryptography refuses.
    pub fn settled(kept: Option<Self>, names: &[String], now: Timestamp) -> Result<Self, CertificateError> {
        let former = kept.as_ref().map(|kept| kept.trusted(now)).unwrap_or_default();
        let (signing, leaf) = kept.map(|Self { authority, leaf }| (authority, leaf)).unzip();
        let signing = match signing.filter(|signing| lives_long_enough(signing, now)) {
            Some(signing) => signing,
            None => authority(now, AUTHORITY_LIFE)?,
        };
        let settled = Self { authority: signing, leaf: leaf.unwrap_or_default() }.trusting(&former);
        if settled.is_good(names, now) {
            return Ok(settled);
        }
        if let Ok(leaf) = leaf_of(&settled.authority, names, now)
            && (Self { leaf: leaf.clone(), ..settled.clone() }).is_good(names, now)
        {
            return Ok(Self { leaf, ..settled });
        }
        let authority = authority(now, AUTHORITY_LIFE)?;
        let leaf = leaf_of(&authority, names, now)?;
        Ok(Self { authority, leaf }.trusting(&former))
    }

    /// Whom clients should trust: the authority that signs, then the former ones, those that live.
    pub fn trusted(&self, now: Timestamp) -> Bundle {
        let (mut trusted, _) = Bundle::readable_in(self.authority.certificate_pem.as_bytes());
        trusted.remove_ended(now);
        trusted
    }

    /// The same with further authorities to be trusted, after the one that signs.
    #[must_use]
    pub fn trusting(mut self, further: &Bundle) -> Self {
        let (mut trusted, _) = Bundle::readable_in(self.authority.certificate_pem.as_bytes());
        trusted.add_all(further);
        self.authority.certificate_pem = trusted.pem();
        self
    }

    fn is_good(&self, names: &[String], now: Timestamp) -> bool {
        let due = Certificate::first(&self.leaf.certificate_pem).map_or(true, |leaf| leaf.renewal_due(now));
        !due && check(&self.leaf, &self.trusted(now), names, now).is_ok()
    }
}

fn leaf_of(authority: &Pair, names: &[String], now: Timestamp) -> Result<Pair, CertificateError> {
    leaf(authority, names, now, LEAF_LIFE)
}

/// Whether a leaf that this authority signs lives its whole life, and the next one too: by then the next authority is known.
fn lives_long_enough(authority: &Pair, now: Timestamp) -> bool {
    let read = Certificate::first(&authority.certificate_pem);
    read.is_ok_and(|read| read.is_alive(now) && read.not_after.duration_since(now) >= LEAF_LIFE * 2)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn names() -> Vec<String> {
        vec!["outrigger.outrigger-system.svc".to_owned(), "127.0.0.1".to_owned()]
    }

    fn day(day: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * (20_000 + day))
    }

    #[test]
    fn an_identity_is_kept_until_two_thirds_of_the_leafs_life() {
        let first = Identity::settled(None, &names(), day(0)).unwrap();
        assert_eq!(Identity::settled(Some(first.clone()), &names(), day(59)).unwrap(), first);
        let renewed = Identity::settled(Some(first.clone()), &names(), day(61)).unwrap();
        assert_eq!(renewed.authority, first.authority);
        assert_ne!(renewed.leaf, first.leaf);
    }

    #[test]
    fn another_name_needs_another_leaf_and_no_other_authority() {
        let first = Identity::settled(None, &names(), day(0)).unwrap();
        let further = [names(), vec!["localhost".to_owned()]].concat();
        let second = Identity::settled(Some(first.clone()), &further, day(0)).unwrap();
        assert_eq!(second.authority, first.authority);
        assert_ne!(second.leaf, first.leaf);
    }

    #[test]
    fn what_cannot_be_used_is_made_anew() {
        let first = Identity::settled(None, &names(), day(0)).unwrap();
        let mut broken = first.clone();
        broken.authority.key_pem = "nonsense".to_owned();
        broken.leaf.key_pem = "nonsense".to_owned();
        assert_ne!(Identity::settled(Some(broken), &names(), day(0)).unwrap().authority, first.authority);
    }

    #[test]
    fn an_authority_is_replaced_in_time_and_its_successor_is_known_long_before_it_signs() {
        for minutes in [7, 37] {
            let first = Identity::settled(None, &names(), day(0)).unwrap();
            let (mut identity, mut known_since) = (first.clone(), None);
            let mut now = day(400) + SignedDuration::from_mins(minutes);
            // Looked at every six hours, as a server does more often, beyond the end of the first authority.
            while now < day(735) {
                let next = Identity::settled(Some(identity.clone()), &names(), now).unwrap();
                let leaf = Certificate::first(&next.leaf.certificate_pem).unwrap();
                let life = leaf.not_after.duration_since(leaf.not_before);
                assert!(leaf.is_alive(now + SignedDuration::from_hours(24)), "day {now}: the leaf ends");
                assert!(life >= LEAF_LIFE, "day {now}: a leaf's life was cut short");
                check(&next.leaf, &next.trusted(now), &names(), now).unwrap();
                if next.authority.key_pem != identity.authority.key_pem {
                    assert_eq!(next.leaf, identity.leaf, "the new authority is to be known before it counts");
                    assert!(next.trusted(now).contains_all(&identity.trusted(now)));
                    known_since = Some(now);
                }
                if next.leaf != identity.leaf && next.authority.key_pem != first.authority.key_pem {
                    let known_for = now.duration_since(known_since.unwrap());
                    // The leaf could be renewed the moment after; whoever serves it waits until it is trusted.
                    assert!(known_for > SignedDuration::ZERO, "day {now}: known for {known_for}");
                }
                identity = next;
                now += SignedDuration::from_hours(6);
            }
            assert_ne!(identity.authority.key_pem, first.authority.key_pem);
            assert_eq!(identity.trusted(now).certificates().len(), 1, "what has ended is dropped");
        }
    }

    #[test]
    fn an_authority_that_can_sign_no_more_stays_trusted_beside_its_successor() {
        let first = Identity::settled(None, &names(), day(0)).unwrap();
        let mut broken = first.clone();
        broken.authority.key_pem = "nonsense".to_owned();
        assert_eq!(Identity::settled(Some(broken.clone()), &names(), day(1)).unwrap(), broken, "the leaf is good");
        let second = Identity::settled(Some(broken), &names(), day(61)).unwrap();
        assert!(second.trusted(day(61)).contains_all(&first.trusted(day(61))));
        assert_eq!(second.trusted(day(61)).certificates().len(), 2);
    }

    #[test]
    fn parts_make_up_the_identity_they_came_from() {
        let first = Identity::settled(None, &names(), day(0)).unwrap();
        let parts = first.parts().map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(Identity::from_parts(&BTreeMap::from(parts.clone())), Some(first));
        assert_eq!(Identity::from_parts(&parts.into_iter().take(3).collect()), None);
    }
}
