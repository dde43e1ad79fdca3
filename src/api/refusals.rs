//! Refused requests of nobody that we know, and refused reads of those that we do: recorded one by one while they are few, and
//! counted when they are many.
//!
//! Whoever has no right can send as many as they like, and must not fill the audit log.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// So many of nobody that we know are recorded one by one in each stretch of time.
const MOST: u32 = 100;
/// And so many of each user.
const MOST_OF_USER: u32 = 10;
/// How long a stretch is.
const STRETCH: SignedDuration = SignedDuration::from_secs(10);
/// So many users are counted apart; others are counted with those that we do not know.
const MOST_USERS: usize = 1024;

/// Counts them.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Stretch>);

#[derive(Debug, Default)]
struct Stretch {
    begun: Option<Timestamp>,
    strangers: Count,
    users: HashMap<String, Count>,
}

#[derive(Debug, Default)]
struct Count {
    recorded: u32,
    unrecorded: u64,
}

impl Refusals {
    /// Whether one that comes now is recorded, and then how many before it of the same user were not.
    pub(super) fn recorded(&self, user: Option<&str>, now: Timestamp) -> Option<u64> {
        let mut stretch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Also when the clock was set back: nobody is to wait for it to come round.
        if stretch.begun.is_none_or(|begun| now < begun || now.duration_since(begun) >= STRETCH) {
            stretch.begun = Some(now);
            stretch.strangers.recorded = 0;
            stretch.users.values_mut().for_each(|count| count.recorded = 0);
        }
        match user.and_then(|user| stretch.of(user)) {
            Some(of_user) => of_user.recorded(MOST_OF_USER),
            None => stretch.strangers.recorded(MOST),
        }
    }
}

impl Stretch {
    fn of(&mut self, user: &str) -> Option<&mut Count> {
        let Self { users, .. } = self;
        if !users.contains_key(user) {
            if users.len() >= MOST_USERS {
                users.retain(|_, count| count.recorded > 0);
            }
            if users.len() >= MOST_USERS {
                return None;
            }
            users.insert(user.to_owned(), Count::default());
        }
        users.get_mut(user)
    }
}

impl Count {
    fn recorded(&mut self, most: u32) -> Option<u64> {
        if self.recorded == most {
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
        let refusals = Refusals::default();
        let begun = Timestamp::UNIX_EPOCH;
        let recorded = |user| (0..1000).filter(|_| refusals.recorded(user, begun).is_some()).count();
        assert_eq!((recorded(None), recorded(Some("eve"))), (MOST as usize, MOST_OF_USER as usize));
        assert_eq!(refusals.recorded(Some("ann"), begun), Some(0), "of nobody else");
        for (user, unrecorded) in [(None, 900), (Some("eve"), 990), (Some("ann"), 0)] {
            assert_eq!(refusals.recorded(user, begun + STRETCH), Some(unrecorded));
            assert_eq!(refusals.recorded(user, begun + STRETCH), Some(0));
        }
    }

    #[test]
    fn a_clock_that_is_set_back_begins_a_new_stretch() {
        let refusals = Refusals::default();
        let begun = Timestamp::UNIX_EPOCH;
        assert!((0..=MOST).filter_map(|_| refusals.recorded(None, begun)).count() == MOST as usize);
        assert_eq!(refusals.recorded(None, begun - STRETCH), Some(1));
    }

    #[test]
    fn users_without_number_are_counted_as_nobody_until_there_is_room_again() {
        let refusals = Refusals::default();
        let begun = Timestamp::UNIX_EPOCH;
        let recorded = |now| {
            let of_user = |user| refusals.recorded(Some(&format!("user-{user}")), now).is_some();
            (0..5000).filter(|user| of_user(*user)).count()
        };
        assert_eq!(recorded(begun), MOST_USERS + MOST as usize);
        assert_eq!(refusals.recorded(Some("ann"), begun), None);
        assert_eq!(refusals.recorded(Some("ann"), begun + STRETCH), Some(0));
    }
}
