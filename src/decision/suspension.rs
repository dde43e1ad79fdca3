//! Compiled suspensions of injection: whom they are about, and when they hold.

use std::collections::HashMap;

use jiff::Timestamp;

use super::policy::Matching;

/// A suspension of injection, ready to be asked. It holds from its start until just before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// Its name.
    pub name: Box<str>,
    /// Its namespace; `None` for a cluster suspension.
    pub namespace: Option<Box<str>>,
    /// Which pods it is about.
    pub matching: Matching,
    /// The first instant at which it holds.
    pub starts_at: Timestamp,
    /// The first instant at which it no longer holds; `None` for an indefinite one.
    pub ends_at: Option<Timestamp>,
    /// Why, in its author's words.
    pub reason: Box<str>,
    /// The ticket its author gave.
    pub ticket: Option<Box<str>>,
}

impl Suspension {
    /// Whether it holds at this instant.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.starts_at <= now && self.ends_at.is_none_or(|end| now < end)
    }
}

/// All suspensions of injection, those that end last first, so that the first that matches names the real end.
#[derive(Debug, Default)]
pub struct Suspensions {
    cluster: Vec<Suspension>,
    namespaced: HashMap<Box<str>, Vec<Suspension>>,
}

impl Suspensions {
    /// Compiles suspensions.
    pub fn new(mut all: Vec<Suspension>) -> Self {
        all.sort_by(|left, right| {
            let end = |suspension: &Suspension| suspension.ends_at.unwrap_or(Timestamp::MAX);
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

    /// Those of the whole cluster.
    pub fn cluster(&self) -> &[Suspension] {
        &self.cluster
    }

    /// Those of all namespaces.
    pub fn namespaced(&self) -> impl Iterator<Item = &Suspension> {
        self.namespaced.values().flatten()
    }

    /// Those of one namespace.
    pub fn of_namespace(&self, namespace: &str) -> &[Suspension] {
        self.namespaced.get(namespace).map_or(&[], Vec::as_slice)
    }
}
