//! Counts of running pods that differ from new ones, by the policy that decides about them.
//!
//! Decisions need none of this; the writer of a policy's status reports it.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::change_counter::ChangeCounter;
use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind};

/// Counts by policy, as last counts; unknown while drift is not watched.
#[derive(Debug, Default)]
pub struct DriftCounts {
    known: Mutex<Option<BTreeMap<(RuleKind, NamespacedName), usize>>>,
    changes: ChangeCounter,
}

impl DriftCounts {
    pub fn count(&self, kind: RuleKind, name: &NamespacedName) -> Option<usize> {
        let known = self.known.lock();
        known.as_ref().map(|known| known.get(&(kind, name.clone())).copied().unwrap_or_default())
    }

    /// Replaces all counts, or forgets them.
    pub fn set(&self, counts: Option<BTreeMap<(RuleKind, NamespacedName), usize>>) {
        let mut known = self.known.lock();
        if *known != counts {
            *known = counts;
            self.changes.increment();
        }
    }

    /// Returns a number that grows with every change.
    pub fn change_count(&self) -> u64 {
        self.changes.count()
    }
}
