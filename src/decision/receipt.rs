//! The annotation that a decision leaves on a pod: what was written there by us, and by which rule.
//!
//! Two forms: `Enable by ClusterInjectionPolicy mesh, revision stable` beside a marker of ours, with the revision only where
//! one was written; and `revision stable for the pod's own marker` where only the revision label is ours.

use super::Action;
use super::reason::Rule;

/// A receipt on a pod. It grants nothing: what it stands beside is an old mark of ours, or a copy of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt<'r>(pub &'r str);

/// Stands between the rule and the revision.
const REVISION: &str = ", revision ";
const REVISION_ONLY: &str = "revision ";
const FOR_OWN_MARKER: &str = " for the pod's own marker";

impl<'r> Receipt<'r> {
    /// The revision that it says was written.
    pub fn revision(self) -> Option<&'r str> {
        match self.only_revision() {
            Some(revision) => Some(revision),
            None => self.0.rsplit_once(REVISION).map(|(_, revision)| revision),
        }
    }

    /// Whether it says that the marker was written by us.
    pub fn claims_marker(self) -> bool {
        self.only_revision().is_none()
    }

    fn only_revision(self) -> Option<&'r str> {
        self.0.strip_prefix(REVISION_ONLY)?.strip_suffix(FOR_OWN_MARKER)
    }
}

/// The receipt for a marker of ours, and the revision if one was written with it.
pub(super) fn for_marker(action: Action, rule: &Rule<'_>, revision: Option<&str>) -> String {
    let receipt = format!("{} by {rule}", action.as_str());
    match revision {
        Some(revision) => receipt + REVISION + revision,
        None => receipt,
    }
}

/// The receipt for a revision that was written beside the pod's own marker.
pub(super) fn for_revision(revision: &str) -> String {
    format!("{REVISION_ONLY}{revision}{FOR_OWN_MARKER}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_tells_what_was_written() {
        for (text, claims_marker, revision) in [
            ("Enable by ClusterInjectionPolicy mesh", true, None),
            ("Enable by ClusterInjectionPolicy mesh, revision stable", true, Some("stable")),
            ("revision stable for the pod's own marker", false, Some("stable")),
            ("revision stable", true, None),
            ("", true, None),
        ] {
            let receipt = Receipt(text);
            assert_eq!((receipt.claims_marker(), receipt.revision()), (claims_marker, revision), "{text}");
        }
        assert_eq!(Receipt(&for_revision("a")).revision(), Some("a"));
    }
}
