//! Overrides: what a pod, its workload or its namespace wishes for itself.

use std::borrow::Cow;

use jiff::Timestamp;

/// The three annotations of an override, as they stand on one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish<'a> {
    /// `outrigger.dev/inject`; only `true` and `false` are answers.
    pub inject: Option<Cow<'a, str>>,
    /// `outrigger.dev/reason`.
    pub reason: Option<Cow<'a, str>>,
    /// `outrigger.dev/until`.
    pub until: Option<Until<'a>>,
    /// Since when it stands, where the API server tells; no decision asks for it.
    pub since: Option<Timestamp>,
}

/// Until when an override counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until<'a> {
    /// Over at this instant.
    At(Timestamp),
    /// Not a time. Such an override is passed over: a typing error must not make it last for ever.
    Unreadable(Cow<'a, str>),
}

impl<'a> Until<'a> {
    /// Reads an RFC 3339 time.
    pub fn read(text: Cow<'a, str>) -> Self {
        match text.parse() {
            Ok(time) => Self::At(time),
            Err(_) => Self::Unreadable(text),
        }
    }
}

impl Wish<'_> {
    /// Whether the reason says anything.
    pub(super) fn has_reason(&self) -> bool {
        self.reason.as_deref().is_some_and(|reason| !reason.trim().is_empty())
    }
}
