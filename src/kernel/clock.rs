//! Clock: the present time is passed in, so that a test or `--now` can choose it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

/// Source of the present time; cheap to clone.
#[derive(Clone, Debug)]
pub enum Clock {
    /// Clock of the machine.
    System,
    /// Moment that never passes, for the offline commands and their `--now`.
    Fixed(Timestamp),
    /// Clock that stands still until a test moves it.
    Manual(ManualClock),
}

/// Settable time of a [`Clock::Manual`]: all clones show the same time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Timestamp>>);

impl Clock {
    /// Returns the present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => system_now(),
            Self::Fixed(moment) => *moment,
            Self::Manual(manual) => manual.now(),
        }
    }
}

impl ManualClock {
    /// Makes a clock that shows `start`.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(start)))
    }

    /// Returns a [`Clock`] that follows this one.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock::Manual(self.clone())
    }

    /// Advances the clock by `elapsed`; a negative duration turns it back.
    pub fn advance(&self, elapsed: SignedDuration) {
        let mut shown = self.0.lock();
        *shown = shown.saturating_add(elapsed).expect("adding seconds to a timestamp saturates");
    }

    fn now(&self) -> Timestamp {
        *self.0.lock()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the machine for the time")]
fn system_now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_all_its_clones_and_only_when_told() {
        let start: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let hands = ManualClock::starting_at(start);
        let clock = hands.clock();
        assert_eq!(clock.now(), start);
        hands.advance(SignedDuration::from_hours(2));
        assert_eq!(clock.clone().now(), "2026-11-22T12:00:00Z".parse().unwrap());
        hands.advance(SignedDuration::from_mins(-30));
        assert_eq!(clock.now(), "2026-11-22T11:30:00Z".parse().unwrap());
    }

    #[test]
    fn the_system_clock_passes() {
        let first = Clock::System.now();
        assert!(Clock::System.now() >= first);
    }
}
