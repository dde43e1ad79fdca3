//! Certificates: issues, reads and checks them. Uses no files, no cluster and no clock.
//!
//! Guarantees: certificates from [`issue`] pass [`check`]; a private key never appears in a `Debug` output or an error.
//! Limits: issued keys are ECDSA P-256 only. An authority that we did not issue can be trusted, but not signed with.

pub mod bundle;
pub mod check;
pub mod identity;
pub mod issue;
pub mod read;
pub mod serving_key;

/// Failure to issue or read a certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The text holds no certificate, or an unreadable one.
    #[error("failed to read the certificate: {0}")]
    Unreadable(String),
    /// The text holds no private key, or an unusable one.
    #[error("failed to read the private key: {0}")]
    UnreadableKey(String),
    /// The key of the authority does not belong to its certificate, or we did not issue the authority.
    #[error("authority {0} cannot sign: outrigger did not issue it, or its key does not belong to it")]
    ForeignAuthority(String),
    /// A name that cannot stand in a certificate.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    BadName(String),
    /// The cryptography library refused: a bug of ours.
    #[error("failed to sign a certificate: {0}")]
    Signing(#[from] rcgen::Error),
}
