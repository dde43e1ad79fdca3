//! The pods of a workload, and why those that are not ready are not.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

use super::way::Way;
use super::workload::Workload;
use crate::kernel::names::{MIRROR, RESTARTED_AT};
use crate::kernel::text::Clean;
use crate::kubernetes::inventory::owner_kind::controller_of;
use kube::core::SelectorExt;

/// A pod, as far as a restart is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSeen {
    /// Its name.
    pub name: String,
    /// What tells it from another of its name.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The kind and the UID of what controls it.
    pub controller: Option<(String, String)>,
    /// The restart that its template was given.
    pub restarted_at: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Whether it is ready.
    pub is_ready: bool,
    /// Whether it is being deleted.
    pub is_leaving: bool,
    /// Why it is not ready, as far as it says.
    pub hindrance: Option<String>,
}

impl PodSeen {
    /// What is seen of a pod; none of one that has run to its end, or that no API server made.
    pub fn of(pod: &Pod) -> Option<Self> {
        let Pod { metadata, status, .. } = pod;
        let annotation = |key: &str| metadata.annotations.as_ref()?.get(key).cloned();
        let default = PodStatus::default();
        let status = status.as_ref().unwrap_or(&default);
        let is_finished = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        if is_finished || annotation(MIRROR).is_some() {
            return None;
        }
        let is_ready = condition(status, "Ready").is_some_and(|(is_true, _)| is_true);
        Some(Self {
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            labels: metadata.labels.clone().unwrap_or_default(),
            controller: controller_of(metadata).map(|owner| (owner.kind.to_string(), owner.uid.into())),
            restarted_at: annotation(RESTARTED_AT),
            created: metadata.creation_timestamp.as_ref().map(|made| made.0),
            is_ready,
            is_leaving: metadata.deletion_timestamp.is_some(),
            hindrance: (!is_ready).then(|| hindrance(status)).flatten(),
        })
    }

    /// Whether it was made since its workload was restarted last.
    pub fn is_new_of(&self, workload: &Workload) -> bool {
        match workload.way {
            // Whose template stays as it is; its controller looks at the same.
            Way::Rollout => self.created >= workload.last_restart(),
            _ => self.restarted_at == workload.restarted_at,
        }
    }

    /// Whether one of these ReplicaSets made it. Of a Rollout a selector does not tell: experiments, other Rollouts and the
    /// Deployment that lends them their template can have the same.
    pub fn is_of_sets(&self, sets: &BTreeSet<String>) -> bool {
        self.controller.as_ref().is_some_and(|(kind, uid)| kind == "ReplicaSet" && sets.contains(uid))
    }

    /// Whether a workload made it.
    pub fn is_of(&self, workload: &Workload) -> bool {
        let Some((kind, uid)) = &self.controller else { return false };
        if *uid == workload.uid {
            return true;
        }
        // Between such a workload and its pods there are ReplicaSets, or what a controller that we do not know puts there.
        let is_between = workload.has_sets() && kind == "ReplicaSet";
        let may_be = is_between || workload.way == Way::Other;
        may_be && workload.selector.as_ref().is_some_and(|selector| selector.matches(&self.labels))
    }
}

/// Whether a condition holds, and what it says.
fn condition<'s>(status: &'s PodStatus, kind: &str) -> Option<(bool, &'s str)> {
    let found = status.conditions.iter().flatten().find(|one| one.type_ == kind)?;
    Some((found.status == "True", found.message.as_deref().unwrap_or_default()))
}

/// The most telling reason why a pod is not ready.
fn hindrance(status: &PodStatus) -> Option<String> {
    if let Some((false, message)) = condition(status, "PodScheduled") {
        return Some(format!("no node takes it: {}", Clean(message)));
    }
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    if let Some(found) = containers.filter_map(of_container).next() {
        return Some(found);
    }
    let (_, message) = condition(status, "Ready").filter(|(_, message)| !message.is_empty())?;
    Some(Clean(message).to_string())
}

/// Why a container does not run; that it is being made is no reason.
fn of_container(status: &ContainerStatus) -> Option<String> {
    let name = Clean(&status.name);
    let state = status.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        if ["", "ContainerCreating", "PodInitializing"].contains(&reason) {
            return None;
        }
        let message = waiting.message.as_deref().map(|text| format!(" ({})", Clean(text))).unwrap_or_default();
        return Some(format!("container {name} waits: {}{message}", Clean(reason)));
    }
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    Some(format!("container {name} ended with {}", ended.exit_code))
}

/// A warning that somebody gave about a workload, or about what it made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// About what, and of which sort.
    pub about: String,
    /// What it says.
    pub message: String,
}

/// How many reasons are given.
const MOST_GIVEN: usize = 3;

/// Why a workload does not come up, by its pods and by warnings, the newest last; nothing is said twice.
pub fn why_not_up(waits_for: &str, pods: &[PodSeen], warnings: &[Warning]) -> String {
    let hindered = pods.iter().filter(|pod| !pod.is_leaving && !pod.is_ready);
    let of_pods = hindered.filter_map(|pod| Some((format!("pod/{}", Clean(&pod.name)), pod.hindrance.as_deref()?)));
    let of_warnings = warnings.iter().rev().map(|one| (one.about.clone(), one.message.as_str()));
    let (mut sentence, mut given) = (waits_for.to_owned(), 0);
    for (about, reason) in of_pods.chain(of_warnings) {
        if given < MOST_GIVEN && !sentence.contains(reason) {
            sentence.push_str(&format!("; {about}: {reason}"));
            given += 1;
        }
    }
    sentence
}
