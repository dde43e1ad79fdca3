//! State that the connections of a listener share: limits, counts, whether it drains.

use crate::server::limits::Limits;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Client of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
    /// Whether the client showed a certificate of an authority that the configuration trusts.
    pub verified: bool,
}

/// Counts of events on a listener since its start; they only grow.
#[derive(Debug, Default)]
pub struct ListenerCounts {
    pub accepted: AtomicU64,
    pub ended: AtomicU64,
    /// TLS handshakes that failed or took too long.
    pub failed_handshakes: AtomicU64,
    /// Connections cut off because a time limit was over.
    pub timed_out: AtomicU64,
    /// Connections closed to make room for another.
    pub evicted: AtomicU64,
    /// Requests whose handler panicked.
    pub panics: AtomicU64,
}

/// State that the connections of a listener share.
#[derive(Debug)]
pub(crate) struct ListenerState {
    pub(super) limits: Limits,
    pub(super) counts: Arc<ListenerCounts>,
    pub(crate) draining: AtomicBool,
}

impl ListenerState {
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }
}

pub(crate) fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
