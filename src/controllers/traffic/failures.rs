//! Failures of a plan, and the actions that they block.

use std::collections::BTreeSet;

use super::TrafficAction;

/// Limit of the failures in a summary.
const MOST_NAMED: usize = 3;

/// Failures so far. A failed service does not block the other services: they are suspended, and get their traffic back.
#[derive(Debug, Default)]
pub(super) struct PlanFailures {
    sentences: Vec<String>,
    /// Namespaces and names of services, whose objects need each other.
    services: BTreeSet<(String, String)>,
    /// Whether adding the finalizer failed: without it, nothing is written that would have to be removed.
    lacks_finalizer: bool,
}

impl PlanFailures {
    /// Returns whether a failure blocks this action.
    pub(super) fn blocks(&self, action: &TrafficAction) -> bool {
        let Self { sentences, services, lacks_finalizer: is_unheld } = self;
        match action {
            TrafficAction::AddFinalizer => false,
            TrafficAction::Create(..) | TrafficAction::Repair(..) => {
                *is_unheld || services.contains(&service_key(action))
            }
            TrafficAction::Remove(..) => services.contains(&service_key(action)),
            TrafficAction::RemoveFinalizer => !sentences.is_empty(),
        }
    }

    /// Records a failed action, with a sentence about it.
    pub(super) fn record(&mut self, action: &TrafficAction, sentence: String) {
        match action {
            TrafficAction::AddFinalizer => self.lacks_finalizer = true,
            TrafficAction::RemoveFinalizer => {}
            TrafficAction::Create(..) | TrafficAction::Repair(..) | TrafficAction::Remove(..) => {
                self.services.insert(service_key(action));
            }
        }
        self.sentences.push(sentence);
    }

    /// Summarizes the failures, if there are any.
    pub(super) fn summarize(self) -> Option<String> {
        let Self { sentences, .. } = self;
        let named = sentences.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
        match sentences.len() {
            0 => None,
            1..=MOST_NAMED => Some(named),
            all => Some(format!("{named}; and {} more", all - MOST_NAMED)),
        }
    }
}

/// Returns namespace and name of the service of an action.
fn service_key(action: &TrafficAction) -> (String, String) {
    match action {
        TrafficAction::Create(_, object) | TrafficAction::Repair(_, object, ..) => {
            let part = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
            (part("namespace"), part("name"))
        }
        TrafficAction::Remove(_, object) => (object.namespace.to_string(), object.name.to_string()),
        TrafficAction::AddFinalizer | TrafficAction::RemoveFinalizer => Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::inventory::routing::{RoutingKind, RoutingObject};

    fn create(kind: RoutingKind, namespace: &str) -> TrafficAction {
        TrafficAction::Create(kind, json!({"metadata": {"namespace": namespace, "name": "reviews"}}))
    }

    fn remove(kind: RoutingKind, namespace: &str) -> TrafficAction {
        let object = RoutingObject {
            namespace: namespace.into(),
            name: "reviews".into(),
            uid: None,
            created_at: None,
            suspension_uid: None,
            is_being_deleted: false,
            content: None,
        };
        TrafficAction::Remove(kind, object)
    }

    #[test]
    fn a_failure_stops_the_rest_of_its_service_only() {
        let mut failures = PlanFailures::default();
        failures.record(&create(RoutingKind::DestinationRule, "blocked"), "denied".to_owned());
        assert!(failures.blocks(&create(RoutingKind::VirtualService, "blocked")), "the route needs the rule");
        assert!(!failures.blocks(&create(RoutingKind::DestinationRule, "shop")));
        assert!(!failures.blocks(&remove(RoutingKind::VirtualService, "shop")));
        failures.record(&remove(RoutingKind::VirtualService, "old"), "denied".to_owned());
        assert!(failures.blocks(&remove(RoutingKind::DestinationRule, "old")), "the route that stands needs the rule");
        assert!(failures.blocks(&TrafficAction::RemoveFinalizer));
    }

    #[test]
    fn without_the_finalizer_nothing_is_written_and_all_is_removed() {
        let mut failures = PlanFailures::default();
        failures.record(&TrafficAction::AddFinalizer, "denied".to_owned());
        assert!(failures.blocks(&create(RoutingKind::DestinationRule, "shop")));
        assert!(!failures.blocks(&remove(RoutingKind::VirtualService, "shop")));
    }

    #[test]
    fn what_failed_is_told_within_bounds() {
        let failed = |count: usize| {
            let mut failures = PlanFailures::default();
            (0..count).for_each(|number| failures.record(&TrafficAction::RemoveFinalizer, number.to_string()));
            failures.summarize()
        };
        assert_eq!([failed(0), failed(1), failed(3)], [None, Some("0".to_owned()), Some("0; 1; 2".to_owned())]);
        assert_eq!(failed(9).as_deref(), Some("0; 1; 2; and 6 more"));
    }
}
