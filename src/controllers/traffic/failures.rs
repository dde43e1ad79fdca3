//! What has failed of a plan, and what is not to be done after that.

use std::collections::BTreeSet;

use super::Action;

/// How many are told in a sentence.
const MOST_TOLD: usize = 3;

/// What has failed so far. A service that fails keeps no other from being suspended or from getting its traffic back.
#[derive(Debug, Default)]
pub(super) struct Failures {
    sentences: Vec<String>,
    /// Namespaces and names of services, whose objects need each other.
    services: BTreeSet<(String, String)>,
    /// Without the finalizer nothing is written that somebody would have to remove.
    is_unheld: bool,
}

impl Failures {
    /// Whether an action hangs on what has failed.
    pub(super) fn stop(&self, action: &Action) -> bool {
        let Self { sentences, services, is_unheld } = self;
        match action {
            Action::Hold => false,
            Action::Create(..) | Action::Repair(..) => *is_unheld || services.contains(&service(action)),
            Action::Remove(..) => services.contains(&service(action)),
            Action::LetGo => !sentences.is_empty(),
        }
    }

    /// Remembers one that has failed, and with what.
    pub(super) fn note(&mut self, action: &Action, sentence: String) {
        match action {
            Action::Hold => self.is_unheld = true,
            Action::LetGo => {}
            Action::Create(..) | Action::Repair(..) | Action::Remove(..) => {
                self.services.insert(service(action));
            }
        }
        self.sentences.push(sentence);
    }

    /// What has failed, if anything has.
    pub(super) fn told(self) -> Option<String> {
        let Self { sentences, .. } = self;
        let told = sentences.iter().take(MOST_TOLD).map(String::as_str).collect::<Vec<_>>().join("; ");
        match sentences.len() {
            0 => None,
            1..=MOST_TOLD => Some(told),
            all => Some(format!("{told}; and {} more", all - MOST_TOLD)),
        }
    }
}

/// The namespace and the name of the service that an action is about.
fn service(action: &Action) -> (String, String) {
    match action {
        Action::Create(_, object) | Action::Repair(_, object, ..) => {
            let part = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
            (part("namespace"), part("name"))
        }
        Action::Remove(_, standing) => (standing.namespace.to_string(), standing.name.to_string()),
        Action::Hold | Action::LetGo => Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::inventory::routing::{Kind, Standing};

    fn create(kind: Kind, namespace: &str) -> Action {
        Action::Create(kind, json!({"metadata": {"namespace": namespace, "name": "reviews"}}))
    }

    fn remove(kind: Kind, namespace: &str) -> Action {
        let standing = Standing {
            namespace: namespace.into(),
            name: "reviews".into(),
            uid: None,
            created_at: None,
            owner: None,
            is_being_deleted: false,
            content: None,
        };
        Action::Remove(kind, standing)
    }

    #[test]
    fn a_failure_stops_the_rest_of_its_service_only() {
        let mut failures = Failures::default();
        failures.note(&create(Kind::DestinationRule, "blocked"), "denied".to_owned());
        assert!(failures.stop(&create(Kind::VirtualService, "blocked")), "the route needs the rule");
        assert!(!failures.stop(&create(Kind::DestinationRule, "shop")));
        assert!(!failures.stop(&remove(Kind::VirtualService, "shop")));
        failures.note(&remove(Kind::VirtualService, "old"), "denied".to_owned());
        assert!(failures.stop(&remove(Kind::DestinationRule, "old")), "the route that stands needs the rule");
        assert!(failures.stop(&Action::LetGo));
    }

    #[test]
    fn without_the_finalizer_nothing_is_written_and_all_is_removed() {
        let mut failures = Failures::default();
        failures.note(&Action::Hold, "denied".to_owned());
        assert!(failures.stop(&create(Kind::DestinationRule, "shop")));
        assert!(!failures.stop(&remove(Kind::VirtualService, "shop")));
    }

    #[test]
    fn what_failed_is_told_within_bounds() {
        let failed = |count: usize| {
            let mut failures = Failures::default();
            (0..count).for_each(|number| failures.note(&Action::LetGo, number.to_string()));
            failures.told()
        };
        assert_eq!([failed(0), failed(1), failed(3)], [None, Some("0".to_owned()), Some("0; 1; 2".to_owned())]);
        assert_eq!(failed(9).as_deref(), Some("0; 1; 2; and 6 more"));
    }
}
