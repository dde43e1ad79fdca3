//! What the connections of a listener share: counts, limits, the peer.

use crate::server::limits::Limits;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// Whether it showed a certificate of an authority that we were told to trust.
    pub verified: bool,
}

/// What happened on a listener since its start; only ever counted up.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections that ended.
    pub ended: AtomicU64,
    /// TLS handshakes that failed or took too long.
    pub failed_handshakes: AtomicU64,
    /// Connections cut off because a limit of time was over.
    pub timed_out: AtomicU64,
    /// Connections closed to make room for another.
    pub given_up: AtomicU64,
    /// Requests whose handler panicked.
    pub panics: AtomicU64,
}

/// What the connections of a listener share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) limits: Limits,
    pub(super) counts: Arc<Counts>,
    pub(crate) draining: AtomicBool,
}

impl Shared {
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
