//! Limits for audit entries of refused requests by unknown callers, and of refused reads: few are recorded one by one, more are
//! counted.
//!
//! Callers without any right can send as many requests as they like, and must not fill the audit log.

use super::limits::{COUNTED_USERS, REFUSAL_WINDOW, REFUSALS_OF_UNKNOWN, REFUSALS_OF_USER};
use std::collections::HashMap;

use jiff::Timestamp;
use parking_lot::Mutex;

/// Counter of refusals.
#[derive(Debug, Default)]
pub(super) struct RefusalCounter(Mutex<RefusalWindow>);

#[derive(Debug, Default)]
struct RefusalWindow {
    started_at: Option<Timestamp>,
    unknown: RefusalCount,
    users: HashMap<String, RefusalCount>,
}

#[derive(Debug, Default)]
struct RefusalCount {
    recorded: u32,
    unrecorded: u64,
}

impl RefusalCounter {
    /// Counts a refusal. If it is to be recorded, returns how many earlier ones of the same user were not.
    pub(super) fn admit(&self, user: Option<&str>, now: Timestamp) -> Option<u64> {
        let mut window = self.0.lock();
        // A clock that was set back starts a new window too: nothing should wait until it catches up.
        if window
            .started_at
            .is_none_or(|started_at| now < started_at || now.duration_since(started_at) >= REFUSAL_WINDOW)
        {
            window.started_at = Some(now);
            window.unknown.recorded = 0;
            window.users.values_mut().for_each(|count| count.recorded = 0);
        }
        match user.and_then(|user| window.user_count(user)) {
            Some(count) => count.admit(REFUSALS_OF_USER),
            None => window.unknown.admit(REFUSALS_OF_UNKNOWN),
        }
    }
}

impl RefusalWindow {
    fn user_count(&mut self, user: &str) -> Option<&mut RefusalCount> {
        let Self { users, .. } = self;
        if !users.contains_key(user) {
            if users.len() >= COUNTED_USERS {
                users.retain(|_, count| count.recorded > 0);
            }
            if users.len() >= COUNTED_USERS {
                return None;
            }
            users.insert(user.to_owned(), RefusalCount::default());
        }
        users.get_mut(user)
    }
}

impl RefusalCount {
    fn admit(&mut self, limit: u32) -> Option<u64> {
        if self.recorded == limit {
            self.unrecorded += 1;
            return None;
        }
        self.recorded += 1;
        Some(std::mem::take(&mut self.unrecorded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_of_with_the_first_that_is_recorded_again() {
        let refusals = RefusalCounter::default();
        let begun = Timestamp::UNIX_EPOCH;
        let recorded = |user| (0..1000).filter(|_| refusals.admit(user, begun).is_some()).count();
        assert_eq!((recorded(None), recorded(Some("eve"))), (REFUSALS_OF_UNKNOWN as usize, REFUSALS_OF_USER as usize));
        assert_eq!(refusals.admit(Some("ann"), begun), Some(0), "of nobody else");
        for (user, unrecorded) in [(None, 900), (Some("eve"), 990), (Some("ann"), 0)] {
            assert_eq!(refusals.admit(user, begun + REFUSAL_WINDOW), Some(unrecorded));
            assert_eq!(refusals.admit(user, begun + REFUSAL_WINDOW), Some(0));
        }
    }

    #[test]
    fn a_clock_that_is_set_back_begins_a_new_stretch() {
        let refusals = RefusalCounter::default();
        let begun = Timestamp::UNIX_EPOCH;
        assert!(
            (0..=REFUSALS_OF_UNKNOWN).filter_map(|_| refusals.admit(None, begun)).count()
                == REFUSALS_OF_UNKNOWN as usize
        );
        assert_eq!(refusals.admit(None, begun - REFUSAL_WINDOW), Some(1));
    }

    #[test]
    fn users_without_number_are_counted_as_nobody_until_there_is_room_again() {
        let refusals = RefusalCounter::default();
        let begun = Timestamp::UNIX_EPOCH;
        let recorded = |now| {
            let of_user = |user| refusals.admit(Some(&format!("user-{user}")), now).is_some();
            (0..5000).filter(|user| of_user(*user)).count()
        };
        assert_eq!(recorded(begun), COUNTED_USERS + REFUSALS_OF_UNKNOWN as usize);
        assert_eq!(refusals.admit(Some("ann"), begun), None);
        assert_eq!(refusals.admit(Some("ann"), begun + REFUSAL_WINDOW), Some(0));
    }
}
