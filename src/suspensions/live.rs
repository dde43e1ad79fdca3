//! A suspension as it is stored, and why a change of it was not.

use thiserror::Error;

use crate::resources::suspension_object::SuspensionObject;

/// A suspension as whoever stores it has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The suspension.
    pub object: SuspensionObject,
    /// What tells this state of it from every other; a change is made to this one only.
    pub version: String,
}

/// Why something was not stored, in the words of whoever refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unstored {
    /// There is no such suspension, or not any more.
    #[error("{0}")]
    NotFound(String),
    /// There is one of this name already.
    #[error("{0}")]
    Exists(String),
    /// Somebody else has changed it since.
    #[error("{0}")]
    Changed(String),
    /// It breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// Nobody is known by these credentials, or not any more.
    #[error("{0}")]
    Unauthorized(String),
    /// Whoever asks may not.
    #[error("{0}")]
    Forbidden(String),
    /// Nobody answers, or there is no room.
    #[error("{0}")]
    Unavailable(String),
}
