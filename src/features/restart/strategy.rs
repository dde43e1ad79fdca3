//! Strategy by which new pods replace the old pods of a workload, and the number of pods down meanwhile.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::kubernetes::inventory::owner_kind::OwnerKind;

/// Strategy of replacement after a change of the pod template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutStrategy {
    /// Roll-out by the Deployment controller.
    Deployment {
        /// Number of pods that may be down at once.
        down: i64,
    },
    /// Roll-out by the StatefulSet controller, from the ordinal `partition` upwards.
    StatefulSet {
        /// First ordinal to be replaced.
        partition: i64,
        /// Number of pods that may be down at once.
        down: i64,
    },
    /// Roll-out by the DaemonSet controller.
    DaemonSet {
        /// Number of pods that may be down at once.
        down: i64,
    },
    /// Eviction by the Argo Rollouts controller, when `spec.restartAt` has come.
    Rollout,
    /// Eviction by us, one pod after another: strategy `OnDelete`, or a kind that only counts its pods.
    Eviction,
    /// Roll-out by an unknown controller. The pods show its progress.
    Other,
    /// No replacement.
    Never(NoRolloutReason),
}

/// Reason why nothing is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRolloutReason {
    Job,
    FinishedJob,
    CronJob,
    /// The Deployment is paused.
    Paused,
    /// The workload is scaled to zero.
    NoPods,
    /// The partition of the StatefulSet keeps all pods.
    Partition,
    /// The workload is being deleted.
    Deleted,
}

impl fmt::Display for NoRolloutReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Job => "Jobs run to their end, and are never restarted",
            Self::FinishedJob => "finished",
            Self::CronJob => "nothing to replace: its next Job gets new pods",
            Self::Paused => "paused: run `kubectl rollout resume` first",
            Self::NoPods => "scaled to zero: there is no pod to replace",
            Self::Partition => "the partition of its update strategy keeps all pods",
            Self::Deleted => "being deleted",
        })
    }
}

impl RolloutStrategy {
    pub(super) fn from_object(kind: &OwnerKind, metadata: &ObjectMeta, object: &Value) -> Self {
        let (spec, status) = (&object["spec"], &object["status"]);
        let replicas = desired_replicas(kind, object);
        let type_of = |field: &str| spec[field]["type"].as_str().unwrap_or("RollingUpdate");
        let rolling = |field: &str| &spec[field]["rollingUpdate"];
        let strategy = match (kind.group.as_str(), kind.kind.as_str()) {
            ("batch", "Job") if status["completionTime"].is_string() || has_failed(status) => {
                Self::Never(NoRolloutReason::FinishedJob)
            }
            ("batch", "Job") => Self::Never(NoRolloutReason::Job),
            ("batch", "CronJob") => Self::Never(NoRolloutReason::CronJob),
            ("apps", "Deployment") if spec["paused"] == true => Self::Never(NoRolloutReason::Paused),
            ("apps", "Deployment") if type_of("strategy") == "Recreate" => Self::Deployment { down: replicas },
            ("apps", "Deployment") => Self::Deployment { down: deployment_max_down(rolling("strategy"), replicas) },
            ("apps", "StatefulSet" | "DaemonSet") if type_of("updateStrategy") == "OnDelete" => Self::Eviction,
            ("apps", "StatefulSet") => {
                let rolling = rolling("updateStrategy");
                let partition = rolling["partition"].as_i64().unwrap_or(0);
                Self::StatefulSet {
                    partition,
                    down: count_or_percent(&rolling["maxUnavailable"], replicas, 1, rounded_up),
                }
            }
            ("apps", "DaemonSet") => {
                let rolling = rolling("updateStrategy");
                let surge = count_or_percent(&rolling["maxSurge"], replicas, 0, rounded_up);
                let down = count_or_percent(&rolling["maxUnavailable"], replicas, 1, rounded_up);
                Self::DaemonSet { down: if surge > 0 { 0 } else { down } }
            }
            ("argoproj.io", "Rollout") => Self::Rollout,
            ("apps", "ReplicaSet") | ("", "ReplicationController") => Self::Eviction,
            _ => Self::Other,
        };
        match strategy {
            Self::Never(_) => strategy,
            _ if metadata.deletion_timestamp.is_some() => Self::Never(NoRolloutReason::Deleted),
            _ if replicas == 0 && kind.kind != "DaemonSet" => Self::Never(NoRolloutReason::NoPods),
            Self::StatefulSet { partition, .. } if partition >= replicas => Self::Never(NoRolloutReason::Partition),
            _ => strategy,
        }
    }

    /// Returns the number of pods that go down before their successors are ready, without a question to a
    /// PodDisruptionBudget.
    pub fn pods_down(self) -> i64 {
        match self {
            Self::Deployment { down } | Self::StatefulSet { down, .. } | Self::DaemonSet { down } => down,
            Self::Other => 1,
            // An eviction asks the budget by itself.
            Self::Rollout | Self::Eviction | Self::Never(_) => 0,
        }
    }
}

/// Follows the rules of Deployments: `maxUnavailable` is rounded down, `maxSurge` up, and both cannot be zero.
fn deployment_max_down(rolling: &Value, replicas: i64) -> i64 {
    let quarter = Value::from("25%");
    let or_quarter = |value: &Value| if value.is_null() { quarter.clone() } else { value.clone() };
    let down = count_or_percent(&or_quarter(&rolling["maxUnavailable"]), replicas, 0, rounded_down);
    let surge = count_or_percent(&or_quarter(&rolling["maxSurge"]), replicas, 0, rounded_up);
    if down == 0 && surge == 0 { 1 } else { down.min(replicas) }
}

/// Reads a number or a percentage of the replicas.
fn count_or_percent(value: &Value, replicas: i64, default: i64, percent_of: fn(i64, i64) -> i64) -> i64 {
    let percent = || value.as_str()?.strip_suffix('%')?.parse::<i64>().ok();
    match value.as_i64() {
        Some(number) => number,
        None => percent().map_or(default, |percent| percent_of(percent.clamp(0, 100), replicas)),
    }
}

fn rounded_up(percent: i64, count: i64) -> i64 {
    (percent * count + 99) / 100
}

fn rounded_down(percent: i64, count: i64) -> i64 {
    percent * count / 100
}

fn has_failed(status: &Value) -> bool {
    conditions(status).any(|one| one["type"] == "Failed" && one["status"] == "True")
}

/// Returns the desired number of pods.
pub(super) fn desired_replicas(kind: &OwnerKind, object: &Value) -> i64 {
    match kind.kind.as_str() {
        "DaemonSet" if kind.group == "apps" => object["status"]["desiredNumberScheduled"].as_i64().unwrap_or(0),
        _ => object["spec"]["replicas"].as_i64().unwrap_or(1),
    }
}

pub(super) fn conditions(status: &Value) -> impl Iterator<Item = &Value> {
    status["conditions"].as_array().into_iter().flatten()
}
