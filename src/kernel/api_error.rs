//! Error of a call to the Kubernetes API, or to the directory that replaces it.

use thiserror::Error;

/// Reason why a call failed, in the words of the side that refused it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApiError {
    /// The object does not exist, or not any more.
    #[error("{0}")]
    NotFound(String),
    /// An object of this name exists already.
    #[error("{0}")]
    Exists(String),
    /// The object was changed since it was read.
    #[error("{0}")]
    Changed(String),
    /// The object breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// The credentials belong to no known user, or not any more.
    #[error("{0}")]
    Unauthorized(String),
    /// The caller lacks a right.
    #[error("{0}")]
    Forbidden(String),
    /// The other side does not answer, or has no capacity.
    #[error("{0}")]
    Unavailable(String),
}
