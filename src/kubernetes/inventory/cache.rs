//! One map that a watch or a directory fills, and that decisions read without a lock.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::changes::Changes;
use crate::decision::facts::Missing;

/// Objects by key, and whether all that exist have been seen once.
#[derive(Debug)]
pub struct Cache<V> {
    objects: papaya::HashMap<Box<str>, Arc<V>>,
    synced: AtomicBool,
    pub(super) changes: Changes,
}

impl<V> Default for Cache<V> {
    fn default() -> Self {
        Self { objects: papaya::HashMap::new(), synced: AtomicBool::new(false), changes: Changes::default() }
    }
}

impl<V> Cache<V> {
    /// The object under `key`.
    pub fn get(&self, key: &str) -> Option<Arc<V>> {
        self.objects.pin().get(key).cloned()
    }

    /// Why an object is not there.
    pub fn missing(&self) -> Missing {
        if self.is_synced() { Missing::NotFound } else { Missing::NotSynced }
    }

    /// All objects, in no order.
    pub fn all(&self) -> Vec<Arc<V>> {
        self.objects.pin().values().cloned().collect()
    }

    /// Those that are wanted, in no order.
    pub fn those(&self, is_wanted: impl Fn(&V) -> bool) -> Vec<Arc<V>> {
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
            self.changes.note();
        }
    }

    /// Takes an object away.
    pub fn remove(&self, key: &str) {
        self.objects.pin().remove(key);
        self.changes.note();
    }

    /// Forgets what a complete list no longer holds, among the objects that the list is about.
    pub fn retain(&self, listed: &HashSet<Box<str>>, is_of_list: impl Fn(&V) -> bool) {
        self.objects.pin().retain(|key, object| !is_of_list(object) || listed.contains(key));
        self.changes.note();
    }

    /// Every object has been seen once.
    pub fn set_synced(&self) {
        self.synced.store(true, Ordering::Release);
    }

    /// Whether every object has been seen once.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// Forgets everything: nobody keeps it up to date any more.
    pub fn forget(&self) {
        self.synced.store(false, Ordering::Release);
        self.objects.pin().clear();
        self.changes.note();
    }

    /// A number that grows with every change.
    pub fn changes(&self) -> u64 {
        self.changes.count()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
