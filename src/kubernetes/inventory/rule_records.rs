//! Records of the objects of our own kinds: their generation, and the status that the API server holds.
//!
//! Decisions need none of this; the writer of a status compares with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;

use super::change_counter::ChangeCounter;
use crate::kernel::names::ROUTING_FINALIZER;
use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind};
use crate::kubernetes::resources::status::RuleStatus;
use crate::kubernetes::resources::suspension_fields::SuspensionPeriod;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Record of one object of our own kinds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleRecord {
    /// UID, which distinguishes the object from an earlier one of the same name.
    pub uid: Option<String>,
    pub generation: Option<i64>,
    /// Status, if there is one and it can be read.
    pub status: Option<RuleStatus>,
    /// Whether the object, and with it its status, cannot be read.
    pub is_unreadable: bool,
    /// Time of the last write of the spec, or else of the creation.
    pub spec_written_at: Option<Timestamp>,
    /// Start and end, for a suspension.
    pub period: Option<SuspensionPeriod>,
    pub has_finalizer: bool,
    /// The object itself, for a suspension.
    pub suspension: Option<Arc<SuspensionObject>>,
}

impl RuleRecord {
    /// Creates the record of an object of which only the metadata can be read.
    pub fn unreadable(metadata: &ObjectMeta) -> Self {
        let is_held = has_finalizer(metadata);
        Self {
            uid: metadata.uid.clone(),
            generation: metadata.generation,
            is_unreadable: true,
            has_finalizer: is_held,
            ..Self::default()
        }
    }

    fn is_same_object(&self, other: &Self) -> bool {
        self.uid == other.uid && self.generation == other.generation
    }
}

pub(super) fn has_finalizer(metadata: &ObjectMeta) -> bool {
    metadata.finalizers.iter().flatten().any(|one| one == ROUTING_FINALIZER)
}

/// Records of all objects of our own kinds, by kind and name.
#[derive(Debug, Default)]
pub struct RuleRecords {
    known: Mutex<BTreeMap<(RuleKind, NamespacedName), RuleRecord>>,
    pub(super) changes: ChangeCounter,
}

impl RuleRecords {
    pub fn all(&self) -> BTreeMap<(RuleKind, NamespacedName), RuleRecord> {
        self.known.lock().clone()
    }

    pub fn get(&self, kind: RuleKind, name: &NamespacedName) -> Option<RuleRecord> {
        self.known.lock().get(&(kind, name.clone())).cloned()
    }

    /// Returns the records of suspensions.
    pub fn suspension_records(&self) -> Vec<(RuleKind, NamespacedName, RuleRecord)> {
        let known = self.known.lock();
        let first = (RuleKind::ClusterSuspensionPolicy, NamespacedName::default());
        known.range(first..).map(|((kind, name), record)| (*kind, name.clone(), record.clone())).collect()
    }

    /// Returns the suspensions that can be read, with their periods.
    pub fn suspensions(&self) -> Vec<(Arc<SuspensionObject>, Option<SuspensionPeriod>)> {
        let known = self.known.lock();
        let first = (RuleKind::ClusterSuspensionPolicy, NamespacedName::default());
        let records = known.range(first..).map(|(_, record)| record);
        records.filter_map(|one| Some((Arc::clone(one.suspension.as_ref()?), one.period))).collect()
    }

    /// Returns a number that grows with every change.
    pub fn change_count(&self) -> u64 {
        self.changes.count()
    }

    /// Puts a record in place of the earlier one. For an unreadable object the status that we wrote ourselves stays
    /// known.
    pub fn insert(&self, kind: RuleKind, name: NamespacedName, mut record: RuleRecord) {
        let mut known = self.known.lock();
        let before = known.get(&(kind, name.clone()));
        if let Some(before) = before.filter(|before| record.is_unreadable && before.is_same_object(&record)) {
            record.status = before.status.clone();
        }
        if before != Some(&record) {
            known.insert((kind, name), record);
            self.changes.increment();
        }
    }

    /// Records a status that we have just written. This does not count as a change.
    pub fn record_status(&self, kind: RuleKind, name: &NamespacedName, uid: Option<&str>, status: RuleStatus) {
        let mut known = self.known.lock();
        if let Some(record) = known.get_mut(&(kind, name.clone())).filter(|one| one.uid.as_deref() == uid) {
            record.status = Some(status);
        }
    }

    pub fn remove(&self, kind: RuleKind, name: &NamespacedName) {
        self.known.lock().remove(&(kind, name.clone()));
        self.changes.increment();
    }

    /// Replaces all records of a kind by a complete list.
    pub fn replace(&self, kind: RuleKind, listed: Vec<(NamespacedName, RuleRecord)>) {
        let mut known = self.known.lock();
        known.retain(|(other, _), _| *other != kind);
        known.extend(listed.into_iter().map(|(name, record)| ((kind, name), record)));
        self.changes.increment();
    }
}
