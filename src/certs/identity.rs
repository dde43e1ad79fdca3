//! Identity of a server: its authority, its leaf, and the authorities that clients should trust. Independent of
//! storage.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::CertificateError;
use super::bundle::AuthorityBundle;
use super::check::check_certificate;
use super::issue::{AUTHORITY_LIFETIME, CertificatePair, LEAF_LIFETIME, issue_authority, issue_leaf};
use super::read::Certificate;

/// Authority, and a leaf signed by it or by a former one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerIdentity {
    /// Authority that signs leaves. Certificates of former authorities that are still valid follow its own.
    pub authority: CertificatePair,
    /// Leaf that the server shows.
    pub leaf: CertificatePair,
}

/// Names of the four parts, in a Secret or in a directory.
pub const PART_NAMES: [&str; 4] = ["ca.crt", "ca.key", "tls.crt", "tls.key"];

impl ServerIdentity {
    /// Makes an identity of its parts; returns `None` unless all are there.
    pub fn from_parts(parts: &BTreeMap<String, String>) -> Option<Self> {
        let [ca_certificate, ca_key, certificate, key] = PART_NAMES.map(|name| parts.get(name).cloned());
        Some(Self {
            authority: CertificatePair { certificate_pem: ca_certificate?, key_pem: ca_key? },
            leaf: CertificatePair { certificate_pem: certificate?, key_pem: key? },
        })
    }

    /// Returns the parts and their names.
    pub fn parts(&self) -> [(&'static str, &str); 4] {
        let Self { authority, leaf } = self;
        let texts = [&authority.certificate_pem, &authority.key_pem, &leaf.certificate_pem, &leaf.key_pem];
        [(PART_NAMES[0], texts[0]), (PART_NAMES[1], texts[1]), (PART_NAMES[2], texts[2]), (PART_NAMES[3], texts[3])]
    }

    /// Renews the stored identity, or makes one. Issues a new leaf once two thirds of the stored one's lifetime are
    /// over, and a new authority, beside the former ones, long before the stored one ends. A good leaf stays, whichever
    /// authority signed it, so that clients hear of a new authority weeks before it signs.
    ///
    /// # Errors
    ///
    /// If a name is neither a DNS name nor an IP address.
    pub fn renew_or_issue(stored: Option<Self>, names: &[String], now: Timestamp) -> Result<Self, CertificateError> {
        let former = stored.as_ref().map(|stored| stored.trusted_authorities(now)).unwrap_or_default();
        let (signing, leaf) = stored.map(|Self { authority, leaf }| (authority, leaf)).unzip();
        let signing = match signing.filter(|signing| outlives_two_leaves(signing, now)) {
            Some(signing) => signing,
            None => issue_authority(now, AUTHORITY_LIFETIME)?,
        };
        let candidate = Self { authority: signing, leaf: leaf.unwrap_or_default() }.with_trusted(&former);
        if candidate.is_servable(names, now) {
            return Ok(candidate);
        }
        if let Ok(leaf) = issue_full_leaf(&candidate.authority, names, now)
            && (Self { leaf: leaf.clone(), ..candidate.clone() }).is_servable(names, now)
        {
            return Ok(Self { leaf, ..candidate });
        }
        let authority = issue_authority(now, AUTHORITY_LIFETIME)?;
        let leaf = issue_full_leaf(&authority, names, now)?;
        Ok(Self { authority, leaf }.with_trusted(&former))
    }

    /// Returns the valid authorities that clients should trust: the signing one, then the former ones.
    pub fn trusted_authorities(&self, now: Timestamp) -> AuthorityBundle {
        let (mut trusted, _) = AuthorityBundle::parse_readable(self.authority.certificate_pem.as_bytes());
        trusted.remove_ended(now);
        trusted
    }

    /// Adds authorities that clients should trust, after the signing one.
    #[must_use]
    pub fn with_trusted(mut self, further: &AuthorityBundle) -> Self {
        let (mut trusted, _) = AuthorityBundle::parse_readable(self.authority.certificate_pem.as_bytes());
        trusted.add_all(further);
        self.authority.certificate_pem = trusted.to_pem();
        self
    }

    fn is_servable(&self, names: &[String], now: Timestamp) -> bool {
        let due = Certificate::parse_first(&self.leaf.certificate_pem).map_or(true, |leaf| leaf.is_renewal_due(now));
        !due && check_certificate(&self.leaf, &self.trusted_authorities(now), names, now).is_ok()
    }
}

fn issue_full_leaf(
    authority: &CertificatePair,
    names: &[String],
    now: Timestamp,
) -> Result<CertificatePair, CertificateError> {
    issue_leaf(authority, names, now, LEAF_LIFETIME)
}

/// Returns whether two full lifetimes of a leaf fit into the rest of this authority's: by then clients know the next
/// one.
fn outlives_two_leaves(authority: &CertificatePair, now: Timestamp) -> bool {
    let read = Certificate::parse_first(&authority.certificate_pem);
    read.is_ok_and(|read| read.is_alive(now) && read.not_after.duration_since(now) >= LEAF_LIFETIME * 2)
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
        let first = ServerIdentity::renew_or_issue(None, &names(), day(0)).unwrap();
        assert_eq!(ServerIdentity::renew_or_issue(Some(first.clone()), &names(), day(59)).unwrap(), first);
        let renewed = ServerIdentity::renew_or_issue(Some(first.clone()), &names(), day(61)).unwrap();
        assert_eq!(renewed.authority, first.authority);
        assert_ne!(renewed.leaf, first.leaf);
    }

    #[test]
    fn another_name_needs_another_leaf_and_no_other_authority() {
        let first = ServerIdentity::renew_or_issue(None, &names(), day(0)).unwrap();
        let further = [names(), vec!["localhost".to_owned()]].concat();
        let second = ServerIdentity::renew_or_issue(Some(first.clone()), &further, day(0)).unwrap();
        assert_eq!(second.authority, first.authority);
        assert_ne!(second.leaf, first.leaf);
    }

    #[test]
    fn what_cannot_be_used_is_made_anew() {
        let first = ServerIdentity::renew_or_issue(None, &names(), day(0)).unwrap();
        let mut broken = first.clone();
        broken.authority.key_pem = "nonsense".to_owned();
        broken.leaf.key_pem = "nonsense".to_owned();
        assert_ne!(ServerIdentity::renew_or_issue(Some(broken), &names(), day(0)).unwrap().authority, first.authority);
    }

    #[test]
    fn an_authority_is_replaced_in_time_and_its_successor_is_known_long_before_it_signs() {
        for minutes in [7, 37] {
            let first = ServerIdentity::renew_or_issue(None, &names(), day(0)).unwrap();
            let (mut identity, mut known_since) = (first.clone(), None);
            let mut now = day(400) + SignedDuration::from_mins(minutes);
            // Looked at every six hours, as a server does more often, beyond the end of the first authority.
            while now < day(735) {
                let next = ServerIdentity::renew_or_issue(Some(identity.clone()), &names(), now).unwrap();
                let leaf = Certificate::parse_first(&next.leaf.certificate_pem).unwrap();
                let life = leaf.not_after.duration_since(leaf.not_before);
                assert!(leaf.is_alive(now + SignedDuration::from_hours(24)), "day {now}: the leaf ends");
                assert!(life >= LEAF_LIFETIME, "day {now}: a leaf's life was cut short");
                check_certificate(&next.leaf, &next.trusted_authorities(now), &names(), now).unwrap();
                if next.authority.key_pem != identity.authority.key_pem {
                    assert_eq!(next.leaf, identity.leaf, "the new authority is to be known before it counts");
                    assert!(next.trusted_authorities(now).contains_all(&identity.trusted_authorities(now)));
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
            assert_eq!(identity.trusted_authorities(now).certificates().len(), 1, "what has ended is dropped");
        }
    }

    #[test]
    fn an_authority_that_can_sign_no_more_stays_trusted_beside_its_successor() {
        let first = ServerIdentity::renew_or_issue(None, &names(), day(0)).unwrap();
        let mut broken = first.clone();
        broken.authority.key_pem = "nonsense".to_owned();
        assert_eq!(
            ServerIdentity::renew_or_issue(Some(broken.clone()), &names(), day(1)).unwrap(),
            broken,
            "the leaf is good"
        );
        let second = ServerIdentity::renew_or_issue(Some(broken), &names(), day(61)).unwrap();
        assert!(second.trusted_authorities(day(61)).contains_all(&first.trusted_authorities(day(61))));
        assert_eq!(second.trusted_authorities(day(61)).certificates().len(), 2);
    }

    #[test]
    fn parts_make_up_the_identity_they_came_from() {
        let first = ServerIdentity::renew_or_issue(None, &names(), day(0)).unwrap();
        let parts = first.parts().map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(ServerIdentity::from_parts(&BTreeMap::from(parts.clone())), Some(first));
        assert_eq!(ServerIdentity::from_parts(&parts.into_iter().take(3).collect()), None);
    }
}
