//! Compiled suspensions of injection: which pods they match, and when they are in force.

use std::collections::HashMap;

use jiff::Timestamp;

use super::policy::PodMatcher;

/// Compiled suspension of injection, in force from its start until just before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InjectionSuspension {
    pub name: Box<str>,
    /// Namespace; `None` for a cluster suspension.
    pub namespace: Option<Box<str>>,
    /// Pods that the suspension affects.
    pub matcher: PodMatcher,
    /// First instant in force.
    pub starts_at: Timestamp,
    /// First instant no longer in force; `None` for an indefinite suspension.
    pub ends_at: Option<Timestamp>,
    /// Reason in its author's words.
    pub reason: Box<str>,
    /// Ticket that its author gave.
    pub ticket: Option<Box<str>>,
}

impl InjectionSuspension {
    /// Returns whether the suspension is in force at this instant.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.starts_at <= now && self.ends_at.is_none_or(|end| now < end)
    }
}

/// All suspensions of injection, ordered by end, latest first: the first match has the real end.
#[derive(Debug, Default)]
pub struct SuspensionSet {
    cluster: Vec<InjectionSuspension>,
    namespaced: HashMap<Box<str>, Vec<InjectionSuspension>>,
}

impl SuspensionSet {
    /// Sorts the suspensions and indexes them by namespace.
    pub fn new(mut all: Vec<InjectionSuspension>) -> Self {
        all.sort_by(|left, right| {
            let end = |suspension: &InjectionSuspension| suspension.ends_at.unwrap_or(Timestamp::MAX);
            end(right).cmp(&end(left)).then_with(|| left.name.cmp(&right.name))
        });
        let mut suspensions = Self::default();
        for suspension in all {
            match &suspension.namespace {
                None => suspensions.cluster.push(suspension),
                Some(namespace) => suspensions.namespaced.entry(namespace.clone()).or_default().push(suspension),
            }
        }
        suspensions
    }

    /// Returns the cluster suspensions.
    pub fn cluster(&self) -> &[InjectionSuspension] {
        &self.cluster
    }

    /// Returns the suspensions of all namespaces.
    pub fn namespaced(&self) -> impl Iterator<Item = &InjectionSuspension> {
        self.namespaced.values().flatten()
    }

    /// Returns the suspensions of one namespace.
    pub fn in_namespace(&self, namespace: &str) -> &[InjectionSuspension] {
        self.namespaced.get(namespace).map_or(&[], Vec::as_slice)
    }
}
