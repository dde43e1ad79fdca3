//! Refusals of a preview, and the deletions that it can be asked about.

use thiserror::Error;

/// Rule that would go away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleDeletion {
    /// Kind, plural or short name, in upper or lower case.
    pub kind: String,
    /// Namespace, if it is given.
    pub namespace: Option<String>,
    pub name: String,
}

/// Names of the options of a preview, as the CLI or the API spells them. Notes quote them.
#[derive(Debug, Clone, Copy)]
pub struct OptionNames {
    /// Option that previews policies in mode Audit as if they were in Enforce.
    pub as_enforced: &'static str,
    /// Option that sets another time; the time follows directly.
    pub at: &'static str,
}

/// Reason that there is no preview, as one sentence that names the way out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PreviewRefusal {
    /// The proposal makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The request has neither a rule nor a deletion.
    #[error("nothing is proposed: send policies or suspensions, or name in delete those that would be deleted")]
    NothingProposed,
    /// A rule is not of the only namespace that may be changed.
    #[error("{rule} is not of namespace {namespace}")]
    OtherNamespace { rule: String, namespace: String },
    /// The rules in force are not all known, so there is nothing to compare with.
    #[error("{0}")]
    NotKnown(&'static str),
}
