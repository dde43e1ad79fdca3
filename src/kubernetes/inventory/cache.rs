//! Map that a watch or a directory fills, and that decisions read without a lock.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::change_counter::ChangeCounter;
use crate::decision::facts::MissingReason;

/// Objects by key, and whether every existing one has been seen once.
#[derive(Debug)]
pub struct ObjectCache<V> {
    objects: papaya::HashMap<Box<str>, Arc<V>>,
    synced: AtomicBool,
    pub(super) changes: ChangeCounter,
}

impl<V> Default for ObjectCache<V> {
    fn default() -> Self {
        Self { objects: papaya::HashMap::new(), synced: AtomicBool::new(false), changes: ChangeCounter::default() }
    }
}

impl<V> ObjectCache<V> {
    pub fn get(&self, key: &str) -> Option<Arc<V>> {
        self.objects.pin().get(key).cloned()
    }

    pub fn missing_reason(&self) -> MissingReason {
        if self.is_synced() { MissingReason::NotFound } else { MissingReason::NotSynced }
    }

    /// Returns all objects, in no order.
    pub fn all(&self) -> Vec<Arc<V>> {
        self.objects.pin().values().cloned().collect()
    }

    /// Returns the objects that `is_wanted` accepts, in no order.
    pub fn filter(&self, is_wanted: impl Fn(&V) -> bool) -> Vec<Arc<V>> {
        self.objects.pin().values().filter(|object| is_wanted(object)).cloned().collect()
    }

    /// Puts an object in place of the one under its key.
    pub fn insert(&self, key: impl Into<Box<str>>, object: impl Into<V>)
    where
        V: PartialEq,
    {
        let object = Arc::new(object.into());
        let objects = self.objects.pin();
        let before = objects.insert(key.into(), Arc::clone(&object));
        if before.is_none_or(|before| *before != object) {
            self.changes.increment();
        }
    }

    pub fn remove(&self, key: &str) {
        self.objects.pin().remove(key);
        self.changes.increment();
    }

    /// Removes objects that a complete list no longer holds; `is_of_list` says which objects the list covers.
    pub fn retain(&self, listed: &HashSet<Box<str>>, is_of_list: impl Fn(&V) -> bool) {
        self.objects.pin().retain(|key, object| !is_of_list(object) || listed.contains(key));
        self.changes.increment();
    }

    /// Marks the cache as filled: every object has been seen once.
    pub fn set_synced(&self) {
        self.synced.store(true, Ordering::Release);
    }

    /// Returns whether every object has been seen once.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// Removes all objects and marks the cache as unfilled, since nothing keeps it up to date any more.
    pub fn clear(&self) {
        self.synced.store(false, Ordering::Release);
        self.objects.pin().clear();
        self.changes.increment();
    }

    /// Returns a number that grows with every change.
    pub fn change_count(&self) -> u64 {
        self.changes.count()
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
