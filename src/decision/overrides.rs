//! Overrides: annotations by which a pod, its workload or its namespace opts in or out.

use std::borrow::Cow;

use jiff::Timestamp;

/// Annotations of an override on one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Override<'a> {
    /// `outrigger.dev/inject`; only `true` and `false` count.
    pub inject: Option<Cow<'a, str>>,
    /// `outrigger.dev/reason`.
    pub reason: Option<Cow<'a, str>>,
    /// `outrigger.dev/until`.
    pub until: Option<OverrideEnd<'a>>,
    /// Time at which the override was set, if the API server tells it. No decision reads it.
    pub since: Option<Timestamp>,
}

/// End of an override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverrideEnd<'a> {
    /// First instant at which the override no longer counts.
    At(Timestamp),
    /// Not a time. The override is passed over: a typing error must not make it last for ever.
    Unreadable(Cow<'a, str>),
}

impl<'a> OverrideEnd<'a> {
    /// Parses an RFC 3339 time.
    pub fn parse(text: Cow<'a, str>) -> Self {
        match text.parse() {
            Ok(time) => Self::At(time),
            Err(_) => Self::Unreadable(text),
        }
    }
}

impl Override<'_> {
    /// Returns whether there is a reason that is not blank.
    pub(super) fn has_reason(&self) -> bool {
        self.reason.as_deref().is_some_and(|reason| !reason.trim().is_empty())
    }
}
