//! Certificates: issue them, read them, judge them; no files, no cluster and no clock.
//!
//! Guarantees: what [`issue`] hands out passes [`check`]; a private key never appears in a `Debug` output or an error.
//! Limits: ECDSA P-256 only for what we issue; an authority that we did not issue can be trusted, but not signed with.

pub mod bundle;
pub mod check;
pub mod identity;
pub mod issue;
pub mod read;

/// Why a certificate could not be issued or read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The text holds no certificate, or one that cannot be read.
    #[error("failed to read the certificate: {0}")]
    Unreadable(String),
    /// The text holds no private key, or one that cannot be used.
    #[error("failed to read the private key: {0}")]
    UnreadableKey(String),
    /// The key of the authority is not the one in its certificate, or the authority was not issued by us.
    #[error(
        "authority {0} was not issued by outrigger or its key does not belong to it, so that nothing can be signed with it"
    )]
    ForeignAuthority(String),
    /// A name that no certificate can carry.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    BadName(String),
    /// The cryptography refused, which is a fault of ours.
    #[error("failed to sign a certificate: {0}")]
    Signing(#[from] rcgen::Error),
}
