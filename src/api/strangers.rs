//! Requests of nobody that we know: recorded one by one while they are few, and counted when they are many.
//!
//! Whoever has no token can send as many as they like, and must not fill the audit log, or crowd the acts of others out of it.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// So many are recorded one by one in each stretch of time.
const MOST: u32 = 100;
/// How long a stretch is.
const STRETCH: SignedDuration = SignedDuration::from_secs(10);

/// Counts them.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<Stretch>);

#[derive(Debug, Default)]
struct Stretch {
    begun: Option<Timestamp>,
    recorded: u32,
    unrecorded: u64,
}

impl Strangers {
    /// Whether one that comes now is recorded, and then how many before it were not.
    pub(super) fn recorded(&self, now: Timestamp) -> Option<u64> {
        let mut stretch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Also when the clock was set back: nobody is to wait for it to come round.
        let is_over = stretch.begun.is_none_or(|begun| now < begun || now.duration_since(begun) >= STRETCH);
        if is_over {
            stretch.begun = Some(now);
            stretch.recorded = 0;
        }
        if stretch.recorded == MOST {
            stretch.unrecorded += 1;
            return None;
        }
        stretch.recorded += 1;
        Some(std::mem::take(&mut stretch.unrecorded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_of_with_the_first_that_is_recorded_again() {
        let strangers = Strangers::default();
        let begun = Timestamp::UNIX_EPOCH;
        let recorded = (0..1000).filter(|_| strangers.recorded(begun).is_some()).count();
        assert_eq!(recorded, MOST as usize);
        assert_eq!(strangers.recorded(begun + STRETCH), Some(900));
        assert_eq!(strangers.recorded(begun + STRETCH), Some(0));
    }

    #[test]
    fn a_clock_that_is_set_back_begins_a_new_stretch() {
        let strangers = Strangers::default();
        let begun = Timestamp::UNIX_EPOCH;
        assert!((0..=MOST).filter_map(|_| strangers.recorded(begun)).count() == MOST as usize);
        assert_eq!(strangers.recorded(begun - STRETCH), Some(1));
    }
}
