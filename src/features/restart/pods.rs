//! Pods of a workload and warnings about it: the reasons why it does not come up.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, ObjectReference, Pod, PodStatus};
use kube::api::ListParams;
use kube::core::SelectorExt;

use super::strategy::RolloutStrategy;
use super::workload::{NamespacedWorkload, WorkloadSnapshot};
use crate::kernel::names::{MIRROR, RESTARTED_AT};
use crate::kernel::text::{CleanText, sanitize};
use crate::kubernetes::client::restarts::{RestartClient, WITH_SPEC, WITHOUT_SPEC};
use crate::kubernetes::inventory::owner_kind::controller_of;

/// Fields of a pod that a restart needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSnapshot {
    pub name: String,
    /// Tells the pod from a successor with the same name.
    pub uid: String,
    pub labels: BTreeMap<String, String>,
    /// Kind and UID of the controller.
    pub controller: Option<(String, String)>,
    /// Restart annotation that the pod took from its template.
    pub restarted_at: Option<String>,
    /// Creation time.
    pub created: Option<Timestamp>,
    pub is_ready: bool,
    /// Whether the pod has a deletion timestamp.
    pub is_terminating: bool,
    /// Reason in the pod's status why it is not ready.
    pub not_ready_reason: Option<String>,
}

impl PodSnapshot {
    /// Reads a pod. Returns `None` for a pod that has ended, and for a mirror pod of a kubelet.
    pub fn from_pod(pod: &Pod) -> Option<Self> {
        let Pod { metadata, status, .. } = pod;
        let annotation = |key: &str| metadata.annotations.as_ref()?.get(key).cloned();
        let default = PodStatus::default();
        let status = status.as_ref().unwrap_or(&default);
        let is_finished = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        if is_finished || annotation(MIRROR).is_some() {
            return None;
        }
        let is_ready = find_condition(status, "Ready").is_some_and(|(is_true, _)| is_true);
        Some(Self {
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            labels: metadata.labels.clone().unwrap_or_default(),
            controller: controller_of(metadata).map(|owner| (owner.kind.to_string(), owner.uid.into())),
            restarted_at: annotation(RESTARTED_AT),
            created: metadata.creation_timestamp.as_ref().map(|made| made.0),
            is_ready,
            is_terminating: metadata.deletion_timestamp.is_some(),
            not_ready_reason: (!is_ready).then(|| describe_not_ready(status)).flatten(),
        })
    }

    /// Returns whether the pod was made after the last restart of its workload.
    pub fn is_new_for(&self, workload: &WorkloadSnapshot) -> bool {
        match workload.strategy {
            // The template does not change. Argo's controller compares the same times.
            RolloutStrategy::Rollout => self.created >= workload.last_restart(),
            _ => self.restarted_at == workload.restarted_at,
        }
    }

    /// Returns whether one of these ReplicaSets owns the pod. A selector is not enough for a Rollout: experiments,
    /// other Rollouts and the Deployment that lends the template may have the same one.
    pub fn is_owned_by_any(&self, sets: &BTreeSet<String>) -> bool {
        self.controller.as_ref().is_some_and(|(kind, uid)| kind == "ReplicaSet" && sets.contains(uid))
    }

    /// Returns whether the workload owns the pod.
    pub fn is_owned_by(&self, workload: &WorkloadSnapshot) -> bool {
        let Some((kind, uid)) = &self.controller else { return false };
        if *uid == workload.uid {
            return true;
        }
        // ReplicaSets stand between these workloads and their pods, or objects of a controller unknown to us.
        let is_between = workload.has_replica_sets() && kind == "ReplicaSet";
        let may_be = is_between || workload.strategy == RolloutStrategy::Other;
        may_be && workload.selector.as_ref().is_some_and(|selector| selector.matches(&self.labels))
    }
}

/// Returns whether the condition holds, and its message.
fn find_condition<'s>(status: &'s PodStatus, kind: &str) -> Option<(bool, &'s str)> {
    let found = status.conditions.iter().flatten().find(|one| one.type_ == kind)?;
    Some((found.status == "True", found.message.as_deref().unwrap_or_default()))
}

/// Returns the most informative reason why a pod is not ready.
fn describe_not_ready(status: &PodStatus) -> Option<String> {
    if let Some((false, message)) = find_condition(status, "PodScheduled") {
        return Some(format!("no node takes it: {}", CleanText(message)));
    }
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    if let Some(found) = containers.filter_map(describe_container).next() {
        return Some(found);
    }
    let (_, message) = find_condition(status, "Ready").filter(|(_, message)| !message.is_empty())?;
    Some(CleanText(message).to_string())
}

/// Explains why a container does not run. Returns `None` while it is being created.
fn describe_container(status: &ContainerStatus) -> Option<String> {
    let name = CleanText(&status.name);
    let state = status.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        if ["", "ContainerCreating", "PodInitializing"].contains(&reason) {
            return None;
        }
        let message = waiting.message.as_deref().map(|text| format!(" ({})", CleanText(text))).unwrap_or_default();
        return Some(format!("container {name} waits: {}{message}", CleanText(reason)));
    }
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    Some(format!("container {name} ended with {}", ended.exit_code))
}

/// Warning event about a workload or one of its descendants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventWarning {
    /// Object and reason of the event, such as `pod/web-0: Failed`.
    pub about: String,
    pub message: String,
}

/// Number of reasons in one explanation.
const MAX_REASONS: usize = 3;

/// Explains why a workload does not come up. Its pods come first, then the warnings, newest first. `warnings` ends
/// with the newest. No reason is repeated.
pub fn explain_not_up(waits_for: &str, pods: &[PodSnapshot], warnings: &[EventWarning]) -> String {
    let hindered = pods.iter().filter(|pod| !pod.is_terminating && !pod.is_ready);
    let of_pods =
        hindered.filter_map(|pod| Some((format!("pod/{}", CleanText(&pod.name)), pod.not_ready_reason.as_deref()?)));
    let of_warnings = warnings.iter().rev().map(|one| (one.about.clone(), one.message.as_str()));
    let (mut sentence, mut count) = (waits_for.to_owned(), 0);
    for (about, reason) in of_pods.chain(of_warnings) {
        if count < MAX_REASONS && !sentence.contains(reason) {
            sentence.push_str(&format!("; {about}: {reason}"));
            count += 1;
        }
    }
    sentence
}

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
