//! Workload as a restart reads it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::core::{DynamicObject, Selector};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::mark::{MarkState, RestartMark};
use super::strategy::{RolloutStrategy, conditions, desired_replicas};
use crate::decision::facts::OwnerReference;
use crate::kernel::names::{RESTART, RESTARTED_AT};
use crate::kernel::text::CleanText;
use crate::kubernetes::inventory::owner_kind::{OwnerKind, controller_of};

/// Name of a workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[schemars(rename = "WorkloadInNamespace")]
pub struct NamespacedWorkload {
    /// Namespace of the workload.
    pub namespace: String,
    /// Kind of the workload, such as Deployment.
    pub kind: String,
    /// Name of the workload.
    pub name: String,
}

impl fmt::Display for NamespacedWorkload {
    /// Formats the name as people type it, such as `deployment/web`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::kernel::object_ref::ObjectRef::new(&self.kind, &self.name).fmt(f)
    }
}

/// Fields of a workload that a restart needs.
#[derive(Debug, Clone)]
pub struct WorkloadSnapshot {
    pub name: NamespacedWorkload,
    /// Kind, needed to read and write the object.
    pub kind: OwnerKind,
    /// Tells the workload from another with the same name.
    pub uid: String,
    /// Version of the object, for conditional writes.
    pub resource_version: String,
    pub labels: BTreeMap<String, String>,
    /// Mark of an unfinished restart.
    pub mark: Option<RestartMark>,
    pub controller: Option<OwnerReference>,
    /// Selector of its pods.
    pub selector: Option<Selector>,
    /// Labels of the pod template.
    pub pod_labels: BTreeMap<String, String>,
    /// Last restart, from the pod template or from `spec.restartAt` of a Rollout.
    pub restarted_at: Option<String>,
    pub strategy: RolloutStrategy,
    /// Desired number of pods.
    pub desired: i64,
    pub status: RolloutStatus,
}

/// Status as its controller reports it. Missing numbers are zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RolloutStatus {
    /// Whether the status describes the current specification.
    pub is_current: bool,
    /// All pods.
    pub replicas: i64,
    /// Pods of the current template.
    pub updated: i64,
    /// Available pods.
    pub available: i64,
    /// Current and update revision of a StatefulSet.
    pub revisions: Option<(String, String)>,
    /// Last restart that Argo Rollouts has finished.
    pub restarted_at: Option<String>,
    /// Complaint of the controller.
    pub trouble: Option<RolloutTrouble>,
}

/// Complaint of a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolloutTrouble {
    /// The controller has given up. Holds its message.
    GivenUp(String),
    /// The controller is hindered and keeps trying. Holds its message.
    Hindered(String),
}

impl WorkloadSnapshot {
    pub(super) fn from_dynamic(kind: &OwnerKind, object: &DynamicObject) -> Option<Self> {
        Self::from_object(kind, &object.metadata, &object.data)
    }

    /// Reads an object. Returns `None` for an object without a pod template, which is no workload.
    pub fn from_object(kind: &OwnerKind, metadata: &ObjectMeta, object: &Value) -> Option<Self> {
        let (spec, status) = (&object["spec"], &object["status"]);
        let template = if spec["template"].is_object() { &spec["template"] } else { &spec["jobTemplate"] };
        let strategy = RolloutStrategy::from_object(kind, metadata, object);
        // A Rollout may refer to the template of another workload.
        if !template.is_object() && strategy != RolloutStrategy::Rollout {
            return None;
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Self {
            name: NamespacedWorkload {
                namespace: metadata.namespace.clone().unwrap_or_default(),
                kind: kind.kind.clone(),
                name: metadata.name.clone().unwrap_or_default(),
            },
            kind: kind.clone(),
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            labels: metadata.labels.clone().unwrap_or_default(),
            mark: metadata.labels.as_ref().and_then(|labels| RestartMark::parse(labels.get(RESTART)?)),
            controller: controller_of(metadata),
            selector: pod_selector(&spec["selector"]),
            pod_labels: match &template["metadata"]["labels"] {
                Value::Null => parse_status_selector(status["selector"].as_str().unwrap_or_default()),
                labels => serde_json::from_value(labels.clone()).unwrap_or_default(),
            },
            restarted_at: match strategy {
                RolloutStrategy::Rollout => text(&spec["restartAt"]),
                _ => text(&template["metadata"]["annotations"][RESTARTED_AT]),
            },
            strategy,
            desired: desired_replicas(kind, object),
            status: RolloutStatus::from_status(metadata, status),
        })
    }

    /// Returns whether ReplicaSets stand between the workload and its pods.
    pub fn has_replica_sets(&self) -> bool {
        ["Deployment", "Rollout"].contains(&self.kind.kind.as_str())
    }

    /// Returns whether the template asks for new pods since this time or later.
    pub fn is_restarted_since(&self, since: Timestamp) -> bool {
        self.last_restart().is_some_and(|last| last >= since)
    }

    /// Returns the start of the roll-out for the restart in the mark.
    pub fn rolling_since(&self) -> Option<Timestamp> {
        match self.mark.as_ref()?.state {
            MarkState::Rolling { since } => Some(since).filter(|since| self.is_restarted_since(*since)),
            MarkState::Pending => None,
        }
    }

    /// Returns whether the mark claims a budget, though the roll-out has not begun.
    pub fn is_claim(&self) -> bool {
        self.mark.as_ref().is_some_and(|mark| mark.state != MarkState::Pending) && self.rolling_since().is_none()
    }

    /// Returns the mark for the start of the roll-out. Its time differs from every time that the template has had.
    pub fn rolling_mark(&self, now: Timestamp) -> Option<RestartMark> {
        let mark = self.mark.as_ref()?;
        let after = |time: Timestamp| time.checked_add(SignedDuration::from_secs(1)).unwrap_or(time);
        // Argo Rollouts keeps pods that were made in the second of the restart.
        let now = if self.strategy == RolloutStrategy::Rollout { after(now) } else { now };
        Some(match mark.state {
            MarkState::Rolling { .. } => mark.clone(),
            MarkState::Pending => mark.to_rolling(self.last_restart().map_or(now, |last| now.max(after(last)))),
        })
    }

    pub(super) fn last_restart(&self) -> Option<Timestamp> {
        self.restarted_at.as_deref()?.parse().ok()
    }
}

/// Reads a label selector, or the plain map of labels of a ReplicationController.
fn pod_selector(value: &Value) -> Option<Selector> {
    let is_selector = value.get("matchLabels").is_some_and(Value::is_object) || value.get("matchExpressions").is_some();
    if is_selector {
        return serde_json::from_value::<LabelSelector>(value.clone()).ok()?.try_into().ok();
    }
    let labels: BTreeMap<String, String> = serde_json::from_value(value.clone()).ok()?;
    Some(labels.into_iter().collect())
}

/// Reads the required labels from the selector text in the status of an Argo Rollout. Its template may be elsewhere.
fn parse_status_selector(selector: &str) -> BTreeMap<String, String> {
    let is_key = |key: &str| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
    let pairs = selector.split(',').filter_map(|part| part.split_once('=')).filter(|(key, _)| is_key(key));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

impl RolloutStatus {
    fn from_status(metadata: &ObjectMeta, status: &Value) -> Self {
        let number = |keys: &[&str]| keys.iter().find_map(|key| status[*key].as_i64()).unwrap_or(0);
        let text = |key: &str| status[key].as_str().map(str::to_owned);
        // Argo Rollouts writes the number as text.
        let observed = &status["observedGeneration"];
        let observed = observed.as_i64().or_else(|| observed.as_str()?.parse().ok());
        Self {
            is_current: observed.unwrap_or(0) >= metadata.generation.unwrap_or(0),
            replicas: number(&["replicas", "currentNumberScheduled"]),
            updated: number(&["updatedReplicas", "updatedNumberScheduled"]),
            available: number(&["availableReplicas", "numberAvailable"]),
            revisions: text("currentRevision").zip(text("updateRevision")),
            restarted_at: text("restartedAt"),
            trouble: RolloutTrouble::from_conditions(status),
        }
    }
}

impl RolloutTrouble {
    fn from_conditions(status: &Value) -> Option<Self> {
        let message = |one: &Value| CleanText(one["message"].as_str().unwrap_or("it does not say why")).to_string();
        let is = |one: &Value, kind: &str, value: &str| one["type"] == kind && one["status"] == value;
        let given_up = |one: &&Value| is(one, "Progressing", "False") && one["reason"] == "ProgressDeadlineExceeded";
        if let Some(found) = conditions(status).find(given_up) {
            return Some(Self::GivenUp(message(found)));
        }
        let hindered = conditions(status).find(|one| is(one, "ReplicaFailure", "True"));
        hindered.map(|found| Self::Hindered(message(found)))
    }
}
