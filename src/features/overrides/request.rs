//! Requests to write or remove an override, checked for sense.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::decision::Action;
use crate::kernel::names::INJECTION_LABEL;
use crate::kernel::text::sanitize;

/// Longest reason, in characters: reasons are cut to this length when they are shown.
const MAX_REASON_CHARS: usize = 256;

/// Action of an override request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "OverrideAction")]
pub enum OverrideAction {
    /// New pods get a sidecar.
    Enable,
    /// New pods get no sidecar.
    Disable,
    /// The override is removed; policies and the namespace decide.
    Remove,
}

/// Place in an object where an override is written. The place decides which roll-outs the write itself starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverrideMechanism {
    /// Our annotations on the object's own metadata. No template changes, and no roll-out starts.
    Annotations,
    /// The mesh's own marker in the pod template, as Kiali writes it. A roll-out starts if the workload's controller rolls out
    /// changed templates.
    PodTemplate,
    /// Either of the two namespace labels that Istio itself reads.
    NamespaceLabel(NamespaceLabelChoice),
}

/// Choice between the two namespace labels that Istio reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceLabelChoice {
    /// Revision for `istio.io/rev`; without one, `istio-injection` is written.
    pub revision: Option<String>,
    /// Whether the edit may remove the other label.
    pub removes_other: bool,
}

/// Checked request to write or remove an override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideRequest {
    pub action: OverrideAction,
    pub mechanism: OverrideMechanism,
    pub reason: Option<String>,
    pub until: Option<Timestamp>,
}

/// Length of an override, as a user gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverrideTerm {
    Until(Timestamp),
    For(SignedDuration),
}

/// Reason why a request is not planned: a sentence that says what would be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct OverrideRefusal(String);

impl OverrideTerm {
    /// Returns the end; the latest possible time if a duration is too long.
    fn end(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Until(end) => end,
            Self::For(duration) => now.checked_add(duration).unwrap_or(Timestamp::MAX),
        }
    }
}

impl OverrideAction {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enable => "Enable",
            Self::Disable => "Disable",
            Self::Remove => "Remove",
        }
    }

    /// Returns whether the action asks for a sidecar; none for `Remove`.
    pub fn injects(self) -> Option<bool> {
        match self {
            Self::Enable => Some(true),
            Self::Disable => Some(false),
            Self::Remove => None,
        }
    }

    /// Returns the action of a decision that obeys the override; none for `Remove`.
    pub(super) fn decision_action(self) -> Option<Action> {
        self.injects().map(|on| if on { Action::Enable } else { Action::Disable })
    }
}

impl OverrideRequest {
    /// Checks a request.
    ///
    /// # Errors
    ///
    /// Fails if the reason or the term is unusable, or if the mechanism cannot hold them.
    pub fn new(
        action: OverrideAction,
        mechanism: OverrideMechanism,
        reason: Option<String>,
        term: Option<OverrideTerm>,
        now: Timestamp,
    ) -> Result<Self, OverrideRefusal> {
        let until = term.map(|term| term.end(now));
        if (reason.is_some() || until.is_some())
            && (action == OverrideAction::Remove || mechanism != OverrideMechanism::Annotations)
        {
            return refuse(
                "only an override that is an annotation can have a reason and an end; leave them out".to_owned(),
            );
        }
        reason.as_deref().map_or(Ok(()), check_reason)?;
        if let Some(until) = until.filter(|until| *until <= now) {
            return refuse(format!("until is {until}, which is past; give a later time"));
        }
        if let OverrideMechanism::NamespaceLabel(NamespaceLabelChoice { revision: Some(revision), .. }) = &mechanism {
            check_revision(action, revision)?;
        }
        Ok(Self { action, mechanism, reason, until })
    }
}

fn check_reason(reason: &str) -> Result<(), OverrideRefusal> {
    let length = reason.chars().count();
    if length > MAX_REASON_CHARS {
        return refuse(format!("the reason has {length} characters; at most {MAX_REASON_CHARS} are allowed"));
    }
    if reason.trim().is_empty() {
        return refuse("the reason is empty; give one, or leave it out".to_owned());
    }
    if sanitize(reason) != reason {
        return refuse("the reason has control characters; remove them".to_owned());
    }
    Ok(())
}

fn check_revision(action: OverrideAction, revision: &str) -> Result<(), OverrideRefusal> {
    if action == OverrideAction::Disable {
        return refuse(format!("a revision cannot disable; leave --revision out to write {INJECTION_LABEL}=disabled"));
    }
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if revision.is_empty() || revision.len() > 63 || !revision.bytes().all(fits) {
        let shown = sanitize(revision);
        return refuse(format!("the revision \"{shown}\" is not a name of a-z, 0-9 and -, such as stable"));
    }
    Ok(())
}

pub(super) fn refuse<T>(sentence: String) -> Result<T, OverrideRefusal> {
    Err(OverrideRefusal(sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(
        action: OverrideAction,
        mechanism: OverrideMechanism,
        reason: Option<&str>,
        until: Option<&str>,
    ) -> Result<OverrideRequest, String> {
        let now = "2026-11-25T12:00:00Z".parse().unwrap();
        let term = until.map(|until| OverrideTerm::Until(until.parse().unwrap()));
        OverrideRequest::new(action, mechanism, reason.map(str::to_owned), term, now)
            .map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        let label = |revision: &str| {
            OverrideMechanism::NamespaceLabel(NamespaceLabelChoice {
                revision: Some(revision.to_owned()),
                removes_other: false,
            })
        };
        let long = "x".repeat(257);
        for (action, mechanism, reason, until, part) in [
            (
                OverrideAction::Disable,
                OverrideMechanism::Annotations,
                Some(long.as_str()),
                None,
                "has 257 characters; at most 256",
            ),
            (OverrideAction::Disable, OverrideMechanism::Annotations, Some("  "), None, "the reason is empty"),
            (OverrideAction::Disable, OverrideMechanism::Annotations, Some("a\u{1b}[2Jb"), None, "control characters"),
            (
                OverrideAction::Enable,
                OverrideMechanism::Annotations,
                None,
                Some("2026-11-25T12:00:00Z"),
                "which is past",
            ),
            (
                OverrideAction::Remove,
                OverrideMechanism::Annotations,
                Some("x"),
                None,
                "only an override that is an annotation",
            ),
            (
                OverrideAction::Enable,
                OverrideMechanism::PodTemplate,
                Some("x"),
                None,
                "only an override that is an annotation",
            ),
            (OverrideAction::Enable, label("Stable!"), None, None, "is not a name of a-z"),
            (
                OverrideAction::Disable,
                label("stable"),
                None,
                None,
                "leave --revision out to write istio-injection=disabled",
            ),
        ] {
            let refusal = request(action, mechanism.clone(), reason, until).unwrap_err();
            assert!(refusal.contains(part), "{action:?} {mechanism:?}: {refusal}");
        }
        let widest = "ü".repeat(256);
        assert!(
            request(
                OverrideAction::Disable,
                OverrideMechanism::Annotations,
                Some(&widest),
                Some("2026-11-25T12:00:01Z")
            )
            .is_ok()
        );
    }

    #[test]
    fn term_that_is_too_long_ends_at_the_latest_time() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        let end = |hours| OverrideTerm::For(SignedDuration::from_hours(hours)).end(now);
        assert_eq!(end(2), "2026-11-25T14:00:00Z".parse().unwrap());
        assert_eq!(end(999_999_999), Timestamp::MAX);
    }
}
