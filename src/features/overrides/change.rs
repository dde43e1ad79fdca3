//! What is asked for, and whether that makes sense.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::decision::Action;
use crate::kernel::text::sanitized;

/// At most so many characters of a reason are kept when it is told.
const LONGEST_REASON: usize = 256;

/// What is to become of an override.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "InjectionAction")]
pub enum Change {
    /// New pods are to get a sidecar.
    Enable,
    /// New pods are to get none.
    Disable,
    /// There is to be no override: policy and namespace decide.
    Remove,
}

/// Where something is written, and so what follows from the writing itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Our annotations on the object's own metadata: no roll-out starts, and no template changes.
    Annotations,
    /// The mesh's own marker in the pod template, as Kiali writes it: where a change of the template starts a roll-out, one
    /// starts.
    PodTemplate,
    /// The labels of a namespace that Istio itself reads.
    NamespaceLabel(Choice),
}

/// Which of the two labels of a namespace that Istio reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// `istio.io/rev` with this value; otherwise `istio-injection`.
    pub revision: Option<String>,
    /// Whether the other of the two may be taken away.
    pub both: bool,
}

/// A change that makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What is to become of the override.
    pub change: Change,
    /// Where.
    pub place: Place,
    /// Why.
    pub reason: Option<String>,
    /// Until when.
    pub until: Option<Timestamp>,
}

/// Why a change is not planned; the sentence says what would be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It would undo what somebody else has asked for, and nobody has said that it may.
    #[error("{0}")]
    Undoes(String),
}

impl Change {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enable => "Enable",
            Self::Disable => "Disable",
            Self::Remove => "Remove",
        }
    }

    /// Whether a sidecar is asked for, or none; nothing where the override goes.
    pub fn asks(self) -> Option<bool> {
        match self {
            Self::Enable => Some(true),
            Self::Disable => Some(false),
            Self::Remove => None,
        }
    }

    /// What a decision does that follows it.
    pub(super) fn action(self) -> Option<Action> {
        self.asks().map(|on| if on { Action::Enable } else { Action::Disable })
    }
}

impl Asked {
    /// Checks what is asked for.
    ///
    /// # Errors
    ///
    /// When the reason or the end is none, or stands where neither has a place.
    pub fn new(
        change: Change,
        place: Place,
        reason: Option<String>,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        if (reason.is_some() || until.is_some()) && (change == Change::Remove || place != Place::Annotations) {
            let why = "a reason and an end belong to an override that is an annotation on the object itself";
            return refuse(format!("{why}; leave them out, or write that"));
        }
        reason.as_deref().map_or(Ok(()), check_reason)?;
        if let Some(until) = until.filter(|until| *until <= now) {
            return refuse(format!("until is {until}, which is past; give a time that is still to come"));
        }
        if let Place::NamespaceLabel(Choice { revision: Some(revision), .. }) = &place {
            check_revision(change, revision)?;
        }
        Ok(Self { change, place, reason, until })
    }
}

fn check_reason(reason: &str) -> Result<(), Refusal> {
    let length = reason.chars().count();
    if length > LONGEST_REASON {
        return refuse(format!("the reason has {length} characters; at most {LONGEST_REASON} are kept"));
    }
    if reason.trim().is_empty() {
        return refuse("the reason says nothing; say why, or leave it out".to_owned());
    }
    if sanitized(reason) != reason {
        return refuse("the reason has control characters, which nobody would be shown; leave them out".to_owned());
    }
    Ok(())
}

fn check_revision(change: Change, revision: &str) -> Result<(), Refusal> {
    if change == Change::Disable {
        return refuse(
            "a revision says which control plane injects; istio-injection=disabled is what disables".to_owned(),
        );
    }
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if revision.is_empty() || revision.len() > 63 || !revision.bytes().all(fits) {
        let told = sanitized(revision);
        return refuse(format!("the revision is \"{told}\", which is not a name of a-z, 0-9 and -, such as stable"));
    }
    Ok(())
}

pub(super) fn refuse<T>(sentence: String) -> Result<T, Refusal> {
    Err(Refusal::Invalid(sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(change: Change, place: Place, reason: Option<&str>, until: Option<&str>) -> Result<Asked, String> {
        let now = "2026-11-25T12:00:00Z".parse().unwrap();
        let until = until.map(|until| until.parse().unwrap());
        Asked::new(change, place, reason.map(str::to_owned), until, now).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        let label = |revision: &str| Place::NamespaceLabel(Choice { revision: Some(revision.to_owned()), both: false });
        let long = "x".repeat(257);
        for (change, place, reason, until, part) in [
            (Change::Disable, Place::Annotations, Some(long.as_str()), None, "has 257 characters; at most 256"),
            (Change::Disable, Place::Annotations, Some("  "), None, "says nothing"),
            (Change::Disable, Place::Annotations, Some("a\u{1b}[2Jb"), None, "control characters"),
            (Change::Enable, Place::Annotations, None, Some("2026-11-25T12:00:00Z"), "which is past"),
            (Change::Remove, Place::Annotations, Some("x"), None, "belong to an override"),
            (Change::Enable, Place::PodTemplate, Some("x"), None, "belong to an override"),
            (Change::Enable, label("Stable!"), None, None, "which is not a name of a-z"),
            (Change::Disable, label("stable"), None, None, "istio-injection=disabled is what disables"),
        ] {
            let found = asked(change, place.clone(), reason, until).unwrap_err();
            assert!(found.contains(part), "{change:?} {place:?}: {found}");
        }
        let widest = "ü".repeat(256);
        assert!(asked(Change::Disable, Place::Annotations, Some(&widest), Some("2026-11-25T12:00:01Z")).is_ok());
    }
}
