//! How the objects of our own kinds stand: their generation, and the status that the API server holds for them.
//!
//! Decisions need none of this; whoever writes a status compares with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::changes::Changes;
use crate::kernel::names::ROUTING_FINALIZER;
use crate::kubernetes::inventory::rule_kind::{RuleKind, RuleName};
use crate::kubernetes::resources::status::Status;
use crate::kubernetes::resources::suspending::Period;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// How one object stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standing {
    /// Its UID, which tells it from an earlier one of the same name.
    pub uid: Option<String>,
    /// The generation of its spec.
    pub generation: Option<i64>,
    /// Its status, where it has one and that can be read.
    pub status: Option<Status>,
    /// Whether the object cannot be read, and with it neither its status.
    pub is_unreadable: bool,
    /// When its spec was written last, or else when it was created.
    pub since: Option<Timestamp>,
    /// From when until when it holds, for a suspension.
    pub period: Option<Period>,
    /// Whether it carries our finalizer.
    pub is_held: bool,
    /// The object itself, for a suspension.
    pub suspension: Option<Arc<SuspensionObject>>,
}

impl Standing {
    /// An object of which nothing but the metadata can be read.
    pub fn unreadable(metadata: &ObjectMeta) -> Self {
        let is_held = is_held(metadata);
        Self {
            uid: metadata.uid.clone(),
            generation: metadata.generation,
            is_unreadable: true,
            is_held,
            ..Self::default()
        }
    }

    fn is_same_object(&self, other: &Self) -> bool {
        self.uid == other.uid && self.generation == other.generation
    }
}

/// Whether an object carries our finalizer.
pub(super) fn is_held(metadata: &ObjectMeta) -> bool {
    metadata.finalizers.iter().flatten().any(|one| one == ROUTING_FINALIZER)
}

/// The objects of our own kinds, by kind and name.
#[derive(Debug, Default)]
pub struct Standings {
    known: Mutex<BTreeMap<(RuleKind, RuleName), Standing>>,
    pub(super) changes: Changes,
}

impl Standings {
    /// All of them.
    pub fn all(&self) -> BTreeMap<(RuleKind, RuleName), Standing> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One of them.
    pub fn get(&self, kind: RuleKind, name: &RuleName) -> Option<Standing> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&(kind, name.clone())).cloned()
    }

    /// Those of suspensions.
    pub fn of_suspensions(&self) -> Vec<(RuleKind, RuleName, Standing)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let first = (RuleKind::ClusterSuspensionPolicy, RuleName::default());
        known.range(first..).map(|((kind, name), standing)| (*kind, name.clone(), standing.clone())).collect()
    }

    /// The suspensions that can be read, with their periods.
    pub fn suspensions(&self) -> Vec<(Arc<SuspensionObject>, Option<Period>)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let first = (RuleKind::ClusterSuspensionPolicy, RuleName::default());
        let standings = known.range(first..).map(|(_, standing)| standing);
        standings.filter_map(|one| Some((Arc::clone(one.suspension.as_ref()?), one.period))).collect()
    }

    /// A number that grows with every change.
    pub fn changes(&self) -> u64 {
        self.changes.count()
    }

    /// Puts one in place of what was known. Of an unreadable object the status that we wrote ourselves stays known.
    pub fn insert(&self, kind: RuleKind, name: RuleName, mut standing: Standing) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.get(&(kind, name.clone()));
        if let Some(before) = before.filter(|before| standing.is_unreadable && before.is_same_object(&standing)) {
            standing.status = before.status.clone();
        }
        if before != Some(&standing) {
            known.insert((kind, name), standing);
            self.changes.note();
        }
    }

    /// Records a status that was just written, which is no news.
    pub fn written(&self, kind: RuleKind, name: &RuleName, uid: Option<&str>, status: Status) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(standing) = known.get_mut(&(kind, name.clone())).filter(|one| one.uid.as_deref() == uid) {
            standing.status = Some(status);
        }
    }

    /// Forgets one.
    pub fn remove(&self, kind: RuleKind, name: &RuleName) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&(kind, name.clone()));
        self.changes.note();
    }

    /// Puts a complete list in place of all of a kind.
    pub fn replace(&self, kind: RuleKind, listed: Vec<(RuleName, Standing)>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(other, _), _| *other != kind);
        known.extend(listed.into_iter().map(|(name, standing)| ((kind, name), standing)));
        self.changes.note();
    }
}
