//! How many running pods are not as each policy would have new ones, as was last found.
//!
//! Decisions need none of this; whoever writes a policy's status tells it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::changes::Changes;
use crate::kubernetes::inventory::rule_kind::{RuleKind, RuleName};

/// Counts by policy; none of them is known while nobody looks for drift.
#[derive(Debug, Default)]
pub struct DriftingPods {
    known: Mutex<Option<BTreeMap<(RuleKind, RuleName), usize>>>,
    changes: Changes,
}

impl DriftingPods {
    /// How many there are of a policy.
    pub fn of(&self, kind: RuleKind, name: &RuleName) -> Option<usize> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|known| known.get(&(kind, name.clone())).copied().unwrap_or_default())
    }

    /// Puts these counts in place of all others, or forgets them.
    pub fn set(&self, found: Option<BTreeMap<(RuleKind, RuleName), usize>>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != found {
            *known = found;
            self.changes.note();
        }
    }

    /// A number that grows with every change.
    pub fn changes(&self) -> u64 {
        self.changes.count()
    }
}
