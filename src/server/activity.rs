//! ConnectionActivity of a connection: its phase and the start of that, readable from other tasks without a lock.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::limits::Limits;

const PHASE_BITS: u32 = 3;

/// ConnectionPhase of a connection; each but `Busy` has a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ConnectionPhase {
    /// The TLS handshake is not complete.
    Handshake,
    /// No byte of the next request has arrived.
    Idle,
    /// Some of a request's header fields have arrived.
    Head,
    /// A request is being read or answered; its body has its own deadline.
    Busy,
    /// The last answer is sent, and the client has yet to close.
    Lingering,
}

/// Class of connections that are closed to make room for newcomers; the lowest class first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EvictionClass {
    /// In the middle of a handshake, of header fields, of reading its answer, or of closing.
    Unfinished,
    /// No request sent yet.
    NeverAsked,
    /// Idle after a served request.
    Idle,
    /// Request being served.
    Busy,
}

/// Record of one connection. Its times are to_milliseconds since the connection was accepted.
#[derive(Debug)]
pub(super) struct ConnectionActivity {
    accepted: Instant,
    age_limit_ms: u64,
    phase_and_since: AtomicU64,
    // 0: the client takes what we write.
    stalled_since: AtomicU64,
    requests: AtomicU32,
    verified: AtomicBool,
}

impl ConnectionActivity {
    /// Makes the record of the connection with this running number.
    pub(super) fn new(number: u64, limits: &Limits) -> Self {
        Self {
            accepted: Instant::now(),
            age_limit_ms: to_milliseconds(spread_age(limits.connection_age, number)),
            phase_and_since: AtomicU64::new(ConnectionPhase::Handshake as u64),
            stalled_since: AtomicU64::new(0),
            requests: AtomicU32::new(0),
            verified: AtomicBool::new(false),
        }
    }

    pub(super) fn enter(&self, phase: ConnectionPhase) {
        self.phase_and_since.store(self.elapsed_ms() << PHASE_BITS | phase as u64, Relaxed);
    }

    /// Records the end of the handshake; `verified` tells whether the client showed a certificate.
    pub(super) fn handshake_ended(&self, verified: bool) {
        self.verified.store(verified, Relaxed);
        self.enter(ConnectionPhase::Idle);
    }

    pub(super) fn bytes_arrived(&self) {
        if self.phase() == ConnectionPhase::Idle {
            self.enter(ConnectionPhase::Head);
        }
    }

    /// Records a complete head. The request counts as busy since its first byte, which saves a call of the clock.
    pub(super) fn request_begins(&self) {
        self.requests.fetch_add(1, Relaxed);
        match self.phase() {
            ConnectionPhase::Head => {
                self.phase_and_since.store(self.since_ms() << PHASE_BITS | ConnectionPhase::Busy as u64, Relaxed)
            }
            _ => self.enter(ConnectionPhase::Busy),
        }
    }

    pub(super) fn request_ends(&self) {
        self.enter(ConnectionPhase::Idle);
    }

    /// Records whether the client took the bytes that we note_write.
    pub(super) fn note_write(&self, progress: bool) {
        let stalled = self.stalled_since.load(Relaxed) != 0;
        if progress && stalled {
            self.stalled_since.store(0, Relaxed);
        } else if !progress && !stalled {
            self.stalled_since.store(self.elapsed_ms().max(1), Relaxed);
        }
    }

    /// Returns whether the connection had used up its requests or its age when the present request began.
    pub(super) fn is_spent(&self, limits: &Limits) -> bool {
        self.requests.load(Relaxed) >= limits.requests_per_connection || self.since_ms() >= self.age_limit_ms
    }

    pub(super) fn phase(&self) -> ConnectionPhase {
        match self.phase_and_since.load(Relaxed) & ((1 << PHASE_BITS) - 1) {
            0 => ConnectionPhase::Handshake,
            1 => ConnectionPhase::Idle,
            2 => ConnectionPhase::Head,
            3 => ConnectionPhase::Busy,
            _ => ConnectionPhase::Lingering,
        }
    }

    /// Returns the time at which the connection is cut off unless something happens.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let stalled_ms = self.stalled_since.load(Relaxed);
        let stalled = (stalled_ms != 0).then(|| self.moment(stalled_ms) + limits.write_timeout);
        let allowed = match self.phase() {
            ConnectionPhase::Handshake => Some(limits.handshake_timeout),
            ConnectionPhase::Idle => Some(limits.idle_timeout),
            ConnectionPhase::Head => Some(limits.head_timeout),
            ConnectionPhase::Busy => None,
            ConnectionPhase::Lingering => Some(limits.linger),
        };
        let phase = allowed.map(|allowed| self.since() + allowed);
        [stalled, phase].into_iter().flatten().min()
    }

    /// Returns the rank for eviction, the lowest first: clients with a certificate last, then by class, then by age.
    pub(super) fn eviction_rank(&self) -> (bool, EvictionClass, Instant) {
        (self.verified.load(Relaxed), self.eviction_class(), self.since())
    }

    /// Returns the start of the present phase.
    pub(super) fn since(&self) -> Instant {
        self.moment(self.since_ms())
    }

    pub(super) fn eviction_class(&self) -> EvictionClass {
        if self.stalled_since.load(Relaxed) != 0 {
            return EvictionClass::Unfinished;
        }
        match self.phase() {
            ConnectionPhase::Handshake | ConnectionPhase::Head | ConnectionPhase::Lingering => {
                EvictionClass::Unfinished
            }
            ConnectionPhase::Idle if self.requests.load(Relaxed) == 0 => EvictionClass::NeverAsked,
            ConnectionPhase::Idle => EvictionClass::Idle,
            ConnectionPhase::Busy => EvictionClass::Busy,
        }
    }

    fn moment(&self, ms: u64) -> Instant {
        self.accepted + Duration::from_millis(ms)
    }

    fn since_ms(&self) -> u64 {
        self.phase_and_since.load(Relaxed) >> PHASE_BITS
    }

    fn elapsed_ms(&self) -> u64 {
        to_milliseconds(self.accepted.elapsed())
    }
}

fn to_milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> PHASE_BITS)
}

/// Returns `age` give or take a fifth, evenly spread_age over consecutive numbers.
fn spread_age(age: Duration, number: u64) -> Duration {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    let percent = number.wrapping_mul(GOLDEN_RATIO) % 41;
    age * (80 + u32::try_from(percent).unwrap_or(0)) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_has_the_deadline_of_its_limit_and_busy_has_none() {
        let limits = Limits::default();
        let activity = ConnectionActivity::new(0, &limits);
        let allowed =
            |activity: &ConnectionActivity| activity.deadline(&limits).map(|deadline| deadline - activity.since());
        assert_eq!(allowed(&activity), Some(limits.handshake_timeout));
        activity.handshake_ended(false);
        assert_eq!(allowed(&activity), Some(limits.idle_timeout));
        activity.bytes_arrived();
        assert_eq!(allowed(&activity), Some(limits.head_timeout));
        activity.request_begins();
        activity.bytes_arrived();
        assert_eq!(allowed(&activity), None);
        activity.note_write(false);
        assert!(allowed(&activity).is_some());
        activity.note_write(true);
        assert_eq!(allowed(&activity), None);
        activity.enter(ConnectionPhase::Lingering);
        assert_eq!(allowed(&activity), Some(limits.linger));
    }

    #[test]
    fn ages_stay_within_a_fifth_and_differ() {
        let ages: Vec<_> = (0..100).map(|number| spread_age(Duration::from_secs(100), number).as_secs()).collect();
        assert!(ages.iter().all(|age| (80..=120).contains(age)), "{ages:?}");
        assert!(ages.iter().collect::<std::collections::BTreeSet<_>>().len() > 20, "{ages:?}");
    }

    #[test]
    fn an_unfinished_client_goes_before_an_idle_one_and_a_verified_one_last() {
        let limits = Limits::default();
        let (slow, idle, verified) = (
            ConnectionActivity::new(0, &limits),
            ConnectionActivity::new(1, &limits),
            ConnectionActivity::new(2, &limits),
        );
        verified.handshake_ended(true);
        idle.handshake_ended(false);
        assert!(slow.eviction_rank() < idle.eviction_rank() && idle.eviction_rank() < verified.eviction_rank());
        idle.request_begins();
        idle.request_ends();
        assert_eq!(idle.eviction_class(), EvictionClass::Idle);
    }
}
