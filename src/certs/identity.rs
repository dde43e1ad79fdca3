//! What a server keeps of its certificates, wherever it keeps them: the authority, the leaf, and whom clients should trust.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::CertificateError;
use super::bundle::Bundle;
use super::check::check;
use super::issue::{AUTHORITY_LIFE, LEAF_LIFE, Pair, authority, leaf};
use super::read::Certificate;

/// An authority and a leaf signed by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Signs leaves.
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

    /// The kept identity, if it is good for these names for a third of its life yet; otherwise a new leaf, and a new
    /// authority only where the kept one cannot sign any more, because clients have to be told of that first.
    ///
    /// # Errors
    ///
    /// When a name is not a name or the cryptography refuses.
    pub fn settled(kept: Option<Self>, names: &[String], now: Timestamp) -> Result<Self, CertificateError> {
        if let Some(kept) = kept {
            if kept.is_good(names, now) {
                return Ok(kept);
            }
            if let Ok(leaf) = leaf(&kept.authority, names, now, LEAF_LIFE)
                && (Self { leaf: leaf.clone(), ..kept.clone() }).is_good(names, now)
            {
                return Ok(Self { leaf, ..kept });
            }
        }
        let authority = authority(now, AUTHORITY_LIFE)?;
        let leaf = leaf(&authority, names, now, LEAF_LIFE)?;
        Ok(Self { authority, leaf })
    }

    fn is_good(&self, names: &[String], now: Timestamp) -> bool {
        let Ok(trusted) = Bundle::from_pem(&self.authority.certificate_pem) else { return false };
        let due = Certificate::first(&self.leaf.certificate_pem).map_or(true, |leaf| leaf.renewal_due(now));
        !due && check(&self.leaf, &trusted, names, now).is_ok()
    }
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
    fn parts_make_up_the_identity_they_came_from() {
        let first = Identity::settled(None, &names(), day(0)).unwrap();
        let parts = first.parts().map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(Identity::from_parts(&BTreeMap::from(parts.clone())), Some(first));
        assert_eq!(Identity::from_parts(&parts.into_iter().take(3).collect()), None);
    }
}
