//! Pure rules of client-go's leader election: the record that a candidate writes, by the records that it has seen.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use tokio::time::Instant;

/// Timing of all candidates.
#[derive(Debug, Clone, Copy)]
pub struct LeaseTiming {
    /// Age after which an unchanged record may be taken from its holder.
    pub lease: Duration,
    /// Time without a renewal after which a leader stops. Shorter than `lease`, so that its work ends before another
    /// begins.
    pub renew: Duration,
    /// Pause between two tries.
    pub retry: Duration,
}

impl Default for LeaseTiming {
    fn default() -> Self {
        Self { lease: Duration::from_secs(15), renew: Duration::from_secs(10), retry: Duration::from_secs(2) }
    }
}

/// Candidate, with its last observation of the record.
#[derive(Debug)]
pub(super) struct Election {
    identity: String,
    timing: LeaseTiming,
    /// Record, and the time at which we first saw it so. Times in the record are of another machine's clock: not
    /// compared.
    observed: Option<(LeaseSpec, Instant)>,
}

impl Election {
    pub(super) fn new(identity: String, timing: LeaseTiming) -> Self {
        Self { identity, timing, observed: None }
    }

    /// Returns the record that makes us leader or keeps us leader; `None` while another candidate holds the Lease.
    pub(super) fn claim(&mut self, record: &LeaseSpec, now: Instant, wall_clock: Timestamp) -> Option<LeaseSpec> {
        let unchanged_since = self.observe(record, now);
        let whole_seconds = self.timing.lease.as_secs_f64().ceil();
        let renewed = LeaseSpec {
            lease_duration_seconds: Some(whole_seconds as i32),
            renew_time: Some(MicroTime(wall_clock)),
            ..record.clone()
        };
        match holder(record) {
            Some(holder) if holder == self.identity => Some(renewed),
            Some(_) if now < unchanged_since + self.lease_duration_in(record) => None,
            _ => Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                acquire_time: Some(MicroTime(wall_clock)),
                // Absent before the first holder.
                lease_transitions: Some(
                    record.lease_transitions.map_or(0, |transitions| transitions.saturating_add(1)),
                ),
                ..renewed
            }),
        }
    }

    /// Returns the record that lets the next candidate lead at once; `None` if we do not hold the Lease.
    pub(super) fn release(&self, record: &LeaseSpec, wall_clock: Timestamp) -> Option<LeaseSpec> {
        let is_ours = holder(record) == Some(&self.identity);
        is_ours.then(|| LeaseSpec {
            // Absent reads as empty, and newer API servers refuse what is empty.
            holder_identity: None,
            lease_duration_seconds: Some(1),
            renew_time: Some(MicroTime(wall_clock)),
            ..record.clone()
        })
    }

    fn observe(&mut self, record: &LeaseSpec, now: Instant) -> Instant {
        match &self.observed {
            Some((known, since)) if known == record => *since,
            _ => {
                self.observed = Some((record.clone(), now));
                now
            }
        }
    }

    /// Returns the duration in the record, since the holder may be another version of us; ours if there is none.
    fn lease_duration_in(&self, record: &LeaseSpec) -> Duration {
        let seconds = record.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        seconds.map_or(self.timing.lease, Duration::from_secs)
    }
}

/// Returns the holder of the Lease.
pub(super) fn holder(record: &LeaseSpec) -> Option<&str> {
    record.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall_clock(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn held_by(holder: &str, renewed_at: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            acquire_time: Some(MicroTime(wall_clock(0))),
            renew_time: Some(MicroTime(wall_clock(renewed_at))),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(4),
            ..LeaseSpec::default()
        }
    }

    /// Second of our monotonic clock, and the record at that time.
    type LeaseObservation = (u64, LeaseSpec);

    /// Returns whether `us` claims the Lease at the last of these observations.
    fn claims(observations: &[LeaseObservation]) -> bool {
        let (mut election, start) = (Election::new("us".to_owned(), LeaseTiming::default()), Instant::now());
        let mut observe = |(second, record): &LeaseObservation| {
            election.claim(record, start + Duration::from_secs(*second), wall_clock(1_000_000)).is_some()
        };
        observations.iter().map(&mut observe).last().unwrap()
    }

    #[test]
    fn a_lease_is_claimed_when_it_is_free_ours_or_unchanged_for_its_duration() {
        let them = |renewed_at| held_by("them", renewed_at);
        let lasting = |seconds| LeaseSpec { lease_duration_seconds: seconds, ..them(1) };
        let cases: &[(&str, bool, &[LeaseObservation])] = &[
            ("never held", true, &[(0, LeaseSpec::default())]),
            ("given up", true, &[(0, held_by("", 1))]),
            ("ours", true, &[(0, held_by("us", 1))]),
            ("ours, however long ago", true, &[(0, held_by("us", 1)), (9_999, held_by("us", 1))]),
            ("another's, first seen, though its time is long past by our clock", false, &[(0, them(1))]),
            ("another's, its time far ahead of our clock", false, &[(0, them(9_000_000))]),
            ("unchanged, a moment too early", false, &[(0, them(1)), (14, them(1))]),
            ("unchanged for its duration", true, &[(0, them(1)), (15, them(1))]),
            ("unchanged, its time far ahead of our clock", true, &[(0, them(9_000_000)), (15, them(9_000_000))]),
            ("renewed in between", false, &[(0, them(1)), (14, them(2)), (28, them(2))]),
            ("renewed by a clock that went back", false, &[(0, them(2)), (14, them(1)), (28, them(1))]),
            ("renewed, then unchanged", true, &[(0, them(1)), (14, them(2)), (29, them(2))]),
            ("from one to another", false, &[(0, them(1)), (20, held_by("third", 1))]),
            ("taken from us", false, &[(0, held_by("us", 1)), (20, them(1))]),
            ("for longer than we would", false, &[(0, lasting(Some(60))), (59, lasting(Some(60)))]),
            ("for longer, and over", true, &[(0, lasting(Some(60))), (60, lasting(Some(60)))]),
            ("for no time that it tells", false, &[(0, lasting(None)), (14, lasting(None))]),
            ("for no time that it tells, and over by ours", true, &[(0, lasting(None)), (15, lasting(None))]),
        ];
        for (case, expected, observations) in cases {
            assert_eq!(claims(observations), *expected, "{case}");
        }
    }

    #[test]
    fn taking_counts_a_transition_and_renewing_does_not() {
        let mut election = Election::new("us".to_owned(), LeaseTiming::default());
        let mut claim = |record: &LeaseSpec| election.claim(record, Instant::now(), wall_clock(7)).unwrap();
        let first = claim(&LeaseSpec::default());
        assert_eq!((first.lease_transitions, holder(&first)), (Some(0), Some("us")));
        let taken = claim(&held_by("", 1));
        assert_eq!((taken.lease_transitions, taken.acquire_time), (Some(5), Some(MicroTime(wall_clock(7)))));
        assert_eq!((taken.lease_duration_seconds, taken.renew_time), (Some(15), Some(MicroTime(wall_clock(7)))));
        let renewed = claim(&held_by("us", 1));
        assert_eq!((renewed.lease_transitions, renewed.acquire_time), (Some(4), Some(MicroTime(wall_clock(0)))));
        assert_eq!(renewed.renew_time, Some(MicroTime(wall_clock(7))));
    }

    #[test]
    fn only_our_own_lease_is_given_up_and_the_next_claims_it_at_once() {
        let election = Election::new("us".to_owned(), LeaseTiming::default());
        assert_eq!(election.release(&held_by("them", 1), wall_clock(7)), None);
        assert_eq!(election.release(&LeaseSpec::default(), wall_clock(7)), None);
        let given_up = election.release(&held_by("us", 1), wall_clock(7)).unwrap();
        assert_eq!(holder(&given_up), None);
        let mut next = Election::new("next".to_owned(), LeaseTiming::default());
        let claimed = next.claim(&given_up, Instant::now(), wall_clock(8)).unwrap();
        assert_eq!((holder(&claimed), claimed.lease_transitions), (Some("next"), Some(5)));
    }
}
