//! Warning events about a workload and its descendants.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Event, ObjectReference};
use kube::api::ListParams;

use super::pods::EventWarning;
use super::workload::{NamespacedWorkload, WorkloadSnapshot};
use crate::kernel::text::{CleanText, sanitize};
use crate::kubernetes::client::restarts::{RestartClient, WITH_SPEC, WITHOUT_SPEC};
use crate::kubernetes::inventory::owner_kind::controller_of;

impl RestartClient {
    /// Lists the warnings about a workload and its descendants since its last restart, newest last.
    pub async fn list_warnings(&self, workload: &WorkloadSnapshot) -> Vec<EventWarning> {
        let (subjects, params) = (self.warning_subjects(workload).await, ListParams::default().fields("type=Warning"));
        let keep = move |event: Event| subjects.includes(&event.involved_object).then(|| read_event(&event)).flatten();
        // Warnings are optional details, so a failure is ignored.
        let found = self.list_built_in(&workload.name.namespace, WITH_SPEC, params, keep).await;
        let mut found: Vec<(Timestamp, EventWarning)> = found.unwrap_or_default();
        let since = workload.restarted_at.as_deref().and_then(|at| at.parse().ok());
        found.retain(|(at, _)| since.is_none_or(|since| *at >= since));
        found.sort();
        found.into_iter().map(|(_, warning)| warning).collect()
    }

    /// Returns the names by which events refer to the workload, including its ReplicaSets.
    async fn warning_subjects(&self, workload: &WorkloadSnapshot) -> WarningSubjects {
        let WorkloadSnapshot { name, uid, selector, .. } = workload;
        let mut subjects =
            WarningSubjects { itself: name.clone(), sets: Vec::new(), has_sets: workload.has_replica_sets() };
        if let (true, Some(selector)) = (subjects.has_sets, selector) {
            let uid = uid.clone();
            let is_its = move |set: &ReplicaSet| controller_of(&set.metadata).is_some_and(|above| *above.uid == *uid);
            let keep = move |set: ReplicaSet| is_its(&set).then_some(set.metadata.name).flatten();
            let params = ListParams::default().labels_from(selector);
            let found = self.list_built_in(&name.namespace, WITHOUT_SPEC, params, keep).await;
            subjects.sets = found.unwrap_or_default();
        }
        subjects
    }
}

/// Workload and ReplicaSets, as events name them.
#[derive(Clone)]
struct WarningSubjects {
    itself: NamespacedWorkload,
    sets: Vec<String>,
    /// Whether the pods are named after ReplicaSets.
    has_sets: bool,
}

impl WarningSubjects {
    /// Returns whether the object is the workload or a descendant. A pod is named after its maker and one more word:
    /// `web-api-x2x4z` does not belong to `web`.
    fn includes(&self, object: &ObjectReference) -> bool {
        let Self { itself, sets, has_sets } = self;
        let (Some(kind), Some(name)) = (&object.kind, &object.name) else { return false };
        let maker = name.rsplit_once('-').map(|(maker, _)| maker);
        match kind.as_str() {
            _ if *kind == itself.kind && *name == itself.name => true,
            "ReplicaSet" => sets.contains(name),
            "Pod" if *has_sets => sets.iter().any(|set| maker == Some(set)),
            "Pod" => maker == Some(&itself.name),
            _ => false,
        }
    }
}

/// Returns the time when an event was last seen, and its text.
fn read_event(event: &Event) -> Option<(Timestamp, EventWarning)> {
    let Event { involved_object, reason, message, last_timestamp, event_time, metadata, .. } = event;
    let last = last_timestamp.as_ref().map(|time| time.0).or(event_time.as_ref().map(|time| time.0));
    let at = last.or(metadata.creation_timestamp.as_ref().map(|time| time.0))?;
    let kind = involved_object.kind.as_deref().unwrap_or_default().to_lowercase();
    let name = involved_object.name.as_deref().unwrap_or_default();
    let text = |text: &Option<String>| sanitize(text.as_deref().unwrap_or_default());
    let subject = format!("{}/{}: {}", CleanText(&kind), CleanText(name), text(reason));
    Some((at, EventWarning { about: subject, message: text(message) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_about(itself: (&str, &str), sets: &[&str], object: (&str, &str)) -> bool {
        let (kind, name) = itself;
        let itself = NamespacedWorkload { namespace: "shop".to_owned(), kind: kind.to_owned(), name: name.to_owned() };
        let subjects = WarningSubjects {
            itself,
            sets: sets.iter().map(|set| (*set).to_owned()).collect(),
            has_sets: kind == "Deployment",
        };
        let (kind, name) = (Some(object.0.to_owned()), Some(object.1.to_owned()));
        subjects.includes(&ObjectReference { kind, name, ..ObjectReference::default() })
    }

    #[test]
    fn a_warning_is_about_a_workload_and_what_it_made_and_about_none_whose_name_begins_alike() {
        let of_web = |object| is_about(("Deployment", "web"), &["web-7b4fd9754"], object);
        for object in [("Deployment", "web"), ("ReplicaSet", "web-7b4fd9754"), ("Pod", "web-7b4fd9754-x2x4z")] {
            assert!(of_web(object), "{object:?}");
        }
        for object in [
            ("Deployment", "web-api"),
            ("StatefulSet", "web"),
            ("ReplicaSet", "web-api-5d8f7c9b6d"),
            ("Pod", "web-api-5d8f7c9b6d-x2x4z"),
            ("Pod", "web-api-x2x4z"),
            ("Pod", "web-0"),
            ("Pod", "web"),
            ("ConfigMap", "web-7b4fd9754"),
        ] {
            assert!(!of_web(object), "{object:?}");
        }
        let of_db = |object| is_about(("StatefulSet", "db"), &[], object);
        assert!(of_db(("Pod", "db-0")) && !of_db(("Pod", "db-replica-0")) && !of_db(("ReplicaSet", "db-7b4fd9754")));
    }
}
