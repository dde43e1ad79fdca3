//! What a restart reads of a workload.

use crate::features::restart::object::{conditions, wanted};
use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::core::Selector;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::mark::{Mark, State};
use super::way::Way;
use crate::decision::facts::OwnerReference;
use crate::kernel::names::{RESTART, RESTARTED_AT};
use crate::kernel::text::Clean;
use crate::kubernetes::inventory::owner_kind::{OwnerKind, controller_of};

/// Names a workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[schemars(rename = "WorkloadInNamespace")]
pub struct Name {
    /// Its namespace.
    pub namespace: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Name {
    /// As people type it, such as `deployment/web`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Clean(&self.kind.to_lowercase()), Clean(&self.name))
    }
}

/// A workload, as far as a restart is concerned.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Its name.
    pub name: Name,
    /// Its kind, by which it is read and written.
    pub kind: OwnerKind,
    /// What tells it from another of its name.
    pub uid: String,
    /// What tells this state of it from every other.
    pub version: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The mark of a restart that has not done it yet.
    pub mark: Option<Mark>,
    /// What controls it.
    pub controller: Option<OwnerReference>,
    /// The pods that it made.
    pub selector: Option<Selector>,
    /// The labels of its pod template.
    pub pod_labels: BTreeMap<String, String>,
    /// When it was restarted last, as its pod template, or a Rollout, says.
    pub restarted_at: Option<String>,
    /// How new pods take the place of its old ones.
    pub way: Way,
    /// How many pods there are to be.
    pub wanted: i64,
    /// How far its controller says that it is.
    pub status: Status,
}

/// What a controller says of its workload; what it does not say is zero, or absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether it speaks of the workload as it is now.
    pub is_current: bool,
    /// All pods.
    pub replicas: i64,
    /// Those made of the present template.
    pub updated: i64,
    /// Those that are available.
    pub available: i64,
    /// The revisions of a StatefulSet: the one to come from, and the one to come to.
    pub revisions: Option<(String, String)>,
    /// When an Argo Rollout was restarted last.
    pub restarted_at: Option<String>,
    /// Why its controller has given up, or what keeps it from going on.
    pub trouble: Option<Trouble>,
}

/// What a controller complains about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It has given up.
    GivenUp(String),
    /// It tries on.
    Hindered(String),
}

impl Workload {
    /// Reads an object; none where it has no pod template, and so is no workload.
    pub fn read(kind: &OwnerKind, metadata: &ObjectMeta, object: &Value) -> Option<Self> {
        let (spec, status) = (&object["spec"], &object["status"]);
        let template = if spec["template"].is_object() { &spec["template"] } else { &spec["jobTemplate"] };
        let way = Way::of(kind, metadata, object);
        // A Rollout can refer to the template of another workload.
        if !template.is_object() && way != Way::Rollout {
            return None;
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Self {
            name: Name {
                namespace: metadata.namespace.clone().unwrap_or_default(),
                kind: kind.kind.clone(),
                name: metadata.name.clone().unwrap_or_default(),
            },
            kind: kind.clone(),
            uid: metadata.uid.clone().unwrap_or_default(),
            version: metadata.resource_version.clone().unwrap_or_default(),
            labels: metadata.labels.clone().unwrap_or_default(),
            mark: metadata.labels.as_ref().and_then(|labels| Mark::read(labels.get(RESTART)?)),
            controller: controller_of(metadata),
            selector: selector(&spec["selector"]),
            pod_labels: match &template["metadata"]["labels"] {
                Value::Null => written_labels(status["selector"].as_str().unwrap_or_default()),
                labels => serde_json::from_value(labels.clone()).unwrap_or_default(),
            },
            restarted_at: match way {
                Way::Rollout => text(&spec["restartAt"]),
                _ => text(&template["metadata"]["annotations"][RESTARTED_AT]),
            },
            way,
            wanted: wanted(kind, object),
            status: Status::of(metadata, status),
        })
    }

    /// Whether there are ReplicaSets between it and its pods.
    pub fn has_sets(&self) -> bool {
        ["Deployment", "Rollout"].contains(&self.kind.kind.as_str())
    }

    /// Whether it was told to replace its pods at this time or later, and still is.
    pub fn is_restarted_since(&self, since: Timestamp) -> bool {
        self.last_restart().is_some_and(|last| last >= since)
    }

    /// Since when it replaces its pods for the restart that it bears the mark of.
    pub fn rolling_since(&self) -> Option<Timestamp> {
        match self.mark.as_ref()?.state {
            State::Rolling { since } => Some(since).filter(|since| self.is_restarted_since(*since)),
            State::Pending => None,
        }
    }

    /// Its mark, once it is told to replace its pods; the time of it is none that its pod template has had already.
    pub fn mark_to_roll(&self, now: Timestamp) -> Option<Mark> {
        let mark = self.mark.as_ref()?;
        let after = |time: Timestamp| time.checked_add(SignedDuration::from_secs(1)).unwrap_or(time);
        // An Argo Rollout keeps the pods that were made in the second of its restart.
        let now = if self.way == Way::Rollout { after(now) } else { now };
        Some(match mark.state {
            State::Rolling { .. } => mark.clone(),
            State::Pending => mark.rolling(self.last_restart().map_or(now, |last| now.max(after(last)))),
        })
    }

    pub(super) fn last_restart(&self) -> Option<Timestamp> {
        self.restarted_at.as_deref()?.parse().ok()
    }
}

/// A label selector, or the plain map of labels that a ReplicationController has.
fn selector(value: &Value) -> Option<Selector> {
    let is_selector = value.get("matchLabels").is_some_and(Value::is_object) || value.get("matchExpressions").is_some();
    if is_selector {
        return serde_json::from_value::<LabelSelector>(value.clone()).ok()?.try_into().ok();
    }
    let labels: BTreeMap<String, String> = serde_json::from_value(value.clone()).ok()?;
    Some(labels.into_iter().collect())
}

/// The labels that a selector asks for as it is written in the status of an Argo Rollout, which may have its template elsewhere.
fn written_labels(selector: &str) -> BTreeMap<String, String> {
    let is_key = |key: &str| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
    let pairs = selector.split(',').filter_map(|part| part.split_once('=')).filter(|(key, _)| is_key(key));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

impl Status {
    fn of(metadata: &ObjectMeta, status: &Value) -> Self {
        let number = |keys: &[&str]| keys.iter().find_map(|key| status[*key].as_i64()).unwrap_or(0);
        let text = |key: &str| status[key].as_str().map(str::to_owned);
        // Argo writes it as a text.
        let observed = &status["observedGeneration"];
        let observed = observed.as_i64().or_else(|| observed.as_str()?.parse().ok());
        Self {
            is_current: observed.unwrap_or(0) >= metadata.generation.unwrap_or(0),
            replicas: number(&["replicas", "currentNumberScheduled"]),
            updated: number(&["updatedReplicas", "updatedNumberScheduled"]),
            available: number(&["availableReplicas", "numberAvailable"]),
            revisions: text("currentRevision").zip(text("updateRevision")),
            restarted_at: text("restartedAt"),
            trouble: Trouble::of(status),
        }
    }
}

impl Trouble {
    fn of(status: &Value) -> Option<Self> {
        let message = |one: &Value| Clean(one["message"].as_str().unwrap_or("it does not say why")).to_string();
        let is = |one: &Value, kind: &str, value: &str| one["type"] == kind && one["status"] == value;
        let given_up = |one: &&Value| is(one, "Progressing", "False") && one["reason"] == "ProgressDeadlineExceeded";
        if let Some(found) = conditions(status).find(given_up) {
            return Some(Self::GivenUp(message(found)));
        }
        let hindered = conditions(status).find(|one| is(one, "ReplicaFailure", "True"));
        hindered.map(|found| Self::Hindered(message(found)))
    }
}
