//! Receipt: the annotation on a pod that records our marks and the rule that caused them.
//!
//! Two forms: `Enable by ClusterInjectionPolicy mesh, revision stable` beside a marker of ours (with the revision only
//! if one was written), and `revision stable for the pod's own marker` if only the revision label is ours.

use super::Action;
use super::reason::DecisionRule;

/// Receipt on a pod. It grants nothing: the marks beside it are old marks of ours, or copies of such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt<'r>(pub &'r str);

/// Separator between the rule and the revision.
const REVISION: &str = ", revision ";
const REVISION_ONLY: &str = "revision ";
const FOR_OWN_MARKER: &str = " for the pod's own marker";

impl<'r> Receipt<'r> {
    /// Returns the revision that was written, according to the receipt.
    pub fn revision(self) -> Option<&'r str> {
        match self.revision_without_marker() {
            Some(revision) => Some(revision),
            None => self.0.rsplit_once(REVISION).map(|(_, revision)| revision),
        }
    }

    /// Returns whether the receipt says that we wrote the marker.
    pub fn claims_marker(self) -> bool {
        self.revision_without_marker().is_none()
    }

    fn revision_without_marker(self) -> Option<&'r str> {
        self.0.strip_prefix(REVISION_ONLY)?.strip_suffix(FOR_OWN_MARKER)
    }
}

/// Formats the receipt for a marker of ours, with the revision if one was written beside it.
pub(super) fn marker_receipt(action: Action, rule: &DecisionRule<'_>, revision: Option<&str>) -> String {
    let receipt = format!("{} by {rule}", action.as_str());
    match revision {
        Some(revision) => receipt + REVISION + revision,
        None => receipt,
    }
}

/// Formats the receipt for a revision that was written beside the pod's own marker.
pub(super) fn revision_receipt(revision: &str) -> String {
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
        assert_eq!(Receipt(&revision_receipt("a")).revision(), Some("a"));
    }
}
