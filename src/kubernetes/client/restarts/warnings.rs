//! What events warn of about a workload, and what it made.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Event, ObjectReference};
use kube::Api;
use kube::api::ListParams;

use super::Restarts;
use crate::features::restart::pods::Warning;
use crate::features::restart::workload::{Name, Workload};
use crate::kernel::text::{Clean, sanitized};
use crate::kubernetes::client::trimmed::MANAGED_FIELDS;
use crate::kubernetes::inventory::owner_kind::controller_of;

impl Restarts {
    /// The warnings about a workload and what it made, since it was told to replace its pods; the newest last.
    pub async fn warnings(&self, workload: &Workload) -> Vec<Warning> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &workload.name.namespace);
        let (about, params) = (self.about(workload).await, ListParams::default().fields("type=Warning"));
        let keep = move |event: Event| about.has(&event.involved_object).then(|| told(&event)).flatten();
        // They only add to what is said anyway.
        let found = self.trimmed(events.resource_url(), &[MANAGED_FIELDS]).all(params, keep).await;
        let mut found: Vec<(Timestamp, Warning)> = found.unwrap_or_default();
        let since = workload.restarted_at.as_deref().and_then(|at| at.parse().ok());
        found.retain(|(at, _)| since.is_none_or(|since| *at >= since));
        found.sort();
        found.into_iter().map(|(_, warning)| warning).collect()
    }

    /// What a workload has made, by name, with the ReplicaSets between it and its pods.
    async fn about(&self, workload: &Workload) -> About {
        let Workload { name, uid, selector, .. } = workload;
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &name.namespace);
        let mut about = About { itself: name.clone(), sets: Vec::new(), has_sets: workload.has_sets() };
        if let (true, Some(selector)) = (about.has_sets, selector) {
            let uid = uid.clone();
            let is_its = move |set: &ReplicaSet| controller_of(&set.metadata).is_some_and(|above| *above.uid == *uid);
            let keep = move |set: ReplicaSet| is_its(&set).then_some(set.metadata.name).flatten();
            let params = ListParams::default().labels_from(selector);
            let found = self.trimmed(sets.resource_url(), &[MANAGED_FIELDS, &["spec"]]).all(params, keep).await;
            about.sets = found.unwrap_or_default();
        }
        about
    }
}

/// A workload and what it made, as events name them.
#[derive(Clone)]
struct About {
    itself: Name,
    sets: Vec<String>,
    /// Whether its pods have their names from those sets.
    has_sets: bool,
}

impl About {
    /// The name of a pod is that of what made it, and one further word: `web-api-x2x4z` is none of `web`.
    fn has(&self, object: &ObjectReference) -> bool {
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

/// When an event was seen last, and what it says.
fn told(event: &Event) -> Option<(Timestamp, Warning)> {
    let Event { involved_object, reason, message, last_timestamp, event_time, metadata, .. } = event;
    let last = last_timestamp.as_ref().map(|time| time.0).or(event_time.as_ref().map(|time| time.0));
    let at = last.or(metadata.creation_timestamp.as_ref().map(|time| time.0))?;
    let kind = involved_object.kind.as_deref().unwrap_or_default().to_lowercase();
    let name = involved_object.name.as_deref().unwrap_or_default();
    let text = |text: &Option<String>| sanitized(text.as_deref().unwrap_or_default());
    let about = format!("{}/{}: {}", Clean(&kind), Clean(name), text(reason));
    Some((at, Warning { about, message: text(message) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_about(itself: (&str, &str), sets: &[&str], object: (&str, &str)) -> bool {
        let (kind, name) = itself;
        let itself = Name { namespace: "shop".to_owned(), kind: kind.to_owned(), name: name.to_owned() };
        let about =
            About { itself, sets: sets.iter().map(|set| (*set).to_owned()).collect(), has_sets: kind == "Deployment" };
        let (kind, name) = (Some(object.0.to_owned()), Some(object.1.to_owned()));
        about.has(&ObjectReference { kind, name, ..ObjectReference::default() })
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
