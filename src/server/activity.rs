//! What a connection is doing and since when, readable from outside its task without a lock.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::limits::Limits;

const PHASE_BITS: u32 = 3;

/// The phases of a connection; each but `Busy` has a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// The TLS handshake is not complete.
    Handshake,
    /// Nothing of the next request has arrived.
    Idle,
    /// A part of a request's header fields has arrived.
    Head,
    /// A request is being read or answered; its body has its own deadline.
    Busy,
    /// All is said, and the client has yet to close.
    Lingering,
}

/// In which order connections are given up for newcomers; the lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// In the middle of a handshake, of header fields, of taking its answer, or of closing.
    Unfinished,
    /// It has not sent a request yet.
    NeverAsked,
    /// It has been served before.
    Idle,
    /// It is being served.
    Busy,
}

/// The record of one connection; its times are milliseconds since it was accepted.
#[derive(Debug)]
pub(super) struct Activity {
    accepted: Instant,
    age_limit_ms: u64,
    phase_and_since: AtomicU64,
    // 0: the client takes what we write.
    stalled_since: AtomicU64,
    requests: AtomicU32,
    verified: AtomicBool,
}

impl Activity {
    /// The record of the connection with this running number.
    pub(super) fn new(number: u64, limits: &Limits) -> Self {
        Self {
            accepted: Instant::now(),
            age_limit_ms: milliseconds(spread(limits.connection_age, number)),
            phase_and_since: AtomicU64::new(Phase::Handshake as u64),
            stalled_since: AtomicU64::new(0),
            requests: AtomicU32::new(0),
            verified: AtomicBool::new(false),
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase_and_since.store(self.elapsed_ms() << PHASE_BITS | phase as u64, Relaxed);
    }

    /// The handshake is over, and the client showed a certificate or did not.
    pub(super) fn established(&self, verified: bool) {
        self.verified.store(verified, Relaxed);
        self.enter(Phase::Idle);
    }

    pub(super) fn bytes_arrived(&self) {
        if self.phase() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// A request is there; it is busy since its first byte, which saves asking for the time again.
    pub(super) fn request_begins(&self) {
        self.requests.fetch_add(1, Relaxed);
        match self.phase() {
            Phase::Head => self.phase_and_since.store(self.since_ms() << PHASE_BITS | Phase::Busy as u64, Relaxed),
            _ => self.enter(Phase::Busy),
        }
    }

    pub(super) fn request_ends(&self) {
        self.enter(Phase::Idle);
    }

    /// The client did (not) take what we wrote.
    pub(super) fn wrote(&self, progress: bool) {
        let stalled = self.stalled_since.load(Relaxed) != 0;
        if progress && stalled {
            self.stalled_since.store(0, Relaxed);
        } else if !progress && !stalled {
            self.stalled_since.store(self.elapsed_ms().max(1), Relaxed);
        }
    }

    /// Whether it had had its share, by requests or by age, when its present request began.
    pub(super) fn is_spent(&self, limits: &Limits) -> bool {
        self.requests.load(Relaxed) >= limits.requests_per_connection || self.since_ms() >= self.age_limit_ms
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase_and_since.load(Relaxed) & ((1 << PHASE_BITS) - 1) {
            0 => Phase::Handshake,
            1 => Phase::Idle,
            2 => Phase::Head,
            3 => Phase::Busy,
            _ => Phase::Lingering,
        }
    }

    /// When it has to be cut off unless something happens.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let stalled_ms = self.stalled_since.load(Relaxed);
        let stalled = (stalled_ms != 0).then(|| self.moment(stalled_ms) + limits.write_timeout);
        let allowed = match self.phase() {
            Phase::Handshake => Some(limits.handshake_timeout),
            Phase::Idle => Some(limits.idle_timeout),
            Phase::Head => Some(limits.head_timeout),
            Phase::Busy => None,
            Phase::Lingering => Some(limits.linger),
        };
        let phase = allowed.map(|allowed| self.since() + allowed);
        [stalled, phase].into_iter().flatten().min()
    }

    /// Its rank when one has to go: clients that showed a certificate last, then by standing, then by age.
    pub(super) fn rank(&self) -> (bool, Standing, Instant) {
        (self.verified.load(Relaxed), self.standing(), self.since())
    }

    /// Since when it has been in its phase.
    pub(super) fn since(&self) -> Instant {
        self.moment(self.since_ms())
    }

    pub(super) fn standing(&self) -> Standing {
        if self.stalled_since.load(Relaxed) != 0 {
            return Standing::Unfinished;
        }
        match self.phase() {
            Phase::Handshake | Phase::Head | Phase::Lingering => Standing::Unfinished,
            Phase::Idle if self.requests.load(Relaxed) == 0 => Standing::NeverAsked,
            Phase::Idle => Standing::Idle,
            Phase::Busy => Standing::Busy,
        }
    }

    fn moment(&self, ms: u64) -> Instant {
        self.accepted + Duration::from_millis(ms)
    }

    fn since_ms(&self) -> u64 {
        self.phase_and_since.load(Relaxed) >> PHASE_BITS
    }

    fn elapsed_ms(&self) -> u64 {
        milliseconds(self.accepted.elapsed())
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> PHASE_BITS)
}

/// `age` give or take a fifth, evenly spread over consecutive numbers.
fn spread(age: Duration, number: u64) -> Duration {
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
        let activity = Activity::new(0, &limits);
        let allowed = |activity: &Activity| activity.deadline(&limits).map(|deadline| deadline - activity.since());
        assert_eq!(allowed(&activity), Some(limits.handshake_timeout));
        activity.established(false);
        assert_eq!(allowed(&activity), Some(limits.idle_timeout));
        activity.bytes_arrived();
        assert_eq!(allowed(&activity), Some(limits.head_timeout));
        activity.request_begins();
        activity.bytes_arrived();
        assert_eq!(allowed(&activity), None);
        activity.wrote(false);
        assert!(allowed(&activity).is_some());
        activity.wrote(true);
        assert_eq!(allowed(&activity), None);
        activity.enter(Phase::Lingering);
        assert_eq!(allowed(&activity), Some(limits.linger));
    }

    #[test]
    fn ages_stay_within_a_fifth_and_differ() {
        let ages: Vec<_> = (0..100).map(|number| spread(Duration::from_secs(100), number).as_secs()).collect();
        assert!(ages.iter().all(|age| (80..=120).contains(age)), "{ages:?}");
        assert!(ages.iter().collect::<std::collections::BTreeSet<_>>().len() > 20, "{ages:?}");
    }

    #[test]
    fn an_unfinished_client_goes_before_an_idle_one_and_a_verified_one_last() {
        let limits = Limits::default();
        let (slow, idle, verified) = (Activity::new(0, &limits), Activity::new(1, &limits), Activity::new(2, &limits));
        verified.established(true);
        idle.established(false);
        assert!(slow.rank() < idle.rank() && idle.rank() < verified.rank());
        idle.request_begins();
        idle.request_ends();
        assert_eq!(idle.standing(), Standing::Idle);
    }
}
