//! The error of a call to the Kubernetes API, or to the directory that stands in for it.

use thiserror::Error;

/// Why something was not stored, in the words of whoever refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApiError {
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
