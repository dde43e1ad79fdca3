//! Completeness of a result: the parts of the cluster that could not be read, and the sentences that say so.

use serde::Serialize;

use crate::kubernetes::inventory::Inventory;

/// Parts of the cluster that could not be read; a result is incomplete without them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Unread(pub Vec<String>);

impl Unread {
    /// Computes a result, and returns with it the parts that were unknown before or after that.
    pub fn while_computing<T>(inventory: &Inventory, compute: impl FnOnce() -> T) -> (T, Self) {
        let mut unread = inventory.unread_caches();
        let result = compute();
        let newly_unread: Vec<_> =
            inventory.unread_caches().into_iter().filter(|cache| !unread.contains(cache)).collect();
        unread.extend(newly_unread);
        (result, Self(unread))
    }

    /// Returns whether the result is complete.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the line that follows an incomplete table, after an empty line; nothing after a complete one.
    pub fn footer(&self) -> String {
        match self.is_empty() {
            true => String::new(),
            false => format!("\nNot complete: these could not be read: {}\n", self.0.join(", ")),
        }
    }

    /// Limits a finding, such as "nothing is wrong", to what could be read.
    pub fn limit(&self, finding: &str) -> String {
        format!("{finding} as far as can be told, but not all could be read: {}", self.0.join(", "))
    }
}
