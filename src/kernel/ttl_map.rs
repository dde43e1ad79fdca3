//! Map whose entries end by themselves, and whose size is bounded.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Map of values that end. While it is full of values that have not ended, it refuses further ones.
#[derive(Debug)]
pub struct BoundedTtlMap<K, V> {
    entries: HashMap<K, (V, Instant)>,
    max_len: usize,
}

impl<K: Eq + Hash, V> BoundedTtlMap<K, V> {
    pub fn new(max_len: usize) -> Self {
        Self { entries: HashMap::new(), max_len }
    }

    /// Returns the value under a key, unless it has ended.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: Instant) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).filter(|(_, end)| now < *end).map(|(value, _)| value)
    }

    /// Puts a value under a key, which ends after `ttl`.
    pub fn insert(&mut self, key: K, value: V, ttl: Duration, now: Instant) {
        if self.entries.len() >= self.max_len {
            self.entries.retain(|_, (_, end)| now < *end);
        }
        if self.entries.len() < self.max_len {
            self.entries.insert(key, (value, now + ttl));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_map_refuses_values_until_others_have_ended() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut map = BoundedTtlMap::new(2);
        map.insert("short", 1, second, start);
        map.insert("long", 2, 3 * second, start);
        map.insert("refused", 3, second, start);
        assert_eq!(["short", "long", "refused"].map(|key| map.get(key, start).copied()), [Some(1), Some(2), None]);
        assert_eq!(map.get("short", start + second), None);
        map.insert("late", 4, second, start + second);
        let later = start + second;
        assert_eq!(["short", "long", "late"].map(|key| map.get(key, later).copied()), [None, Some(2), Some(4)]);
    }
}
