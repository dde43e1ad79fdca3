//! How new pods take the place of a workload's old ones, and how many are down meanwhile.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::features::restart::object::{conditions, wanted};
use crate::kubernetes::inventory::owner_kind::OwnerKind;

/// How new pods take the place of old ones, once the pod template was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The Deployment's own roll-out, which may take so many pods down at once.
    Deployment {
        /// How many.
        down: i64,
    },
    /// The StatefulSet's own roll-out, of the pods from this ordinal on.
    StatefulSet {
        /// The first ordinal that is replaced.
        partition: i64,
        /// How many may be down at once.
        down: i64,
    },
    /// The DaemonSet's own roll-out.
    DaemonSet {
        /// How many may be down at once.
        down: i64,
    },
    /// An Argo Rollout evicts its pods when its `spec.restartAt` has come.
    Rollout,
    /// Nobody does it: strategy `OnDelete`, or a kind that only counts its pods. They are evicted, one after another.
    Eviction,
    /// A controller that we do not know, whose pods tell how far it is.
    Other,
    /// Nothing is replaced, for this reason.
    Never(Reason),
}

/// Why nothing of a workload is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A Job.
    Job,
    /// A Job that has run to its end.
    FinishedJob,
    /// A CronJob.
    CronJob,
    /// A paused Deployment.
    Paused,
    /// It wants no pods.
    NoPods,
    /// A StatefulSet whose partition keeps all pods.
    Partition,
    /// It is being deleted.
    Deleted,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Job => "a Job runs to its end, and is never restarted",
            Self::FinishedJob => "it has run to its end",
            Self::CronJob => "nothing of it runs; its next Job gets new pods",
            Self::Paused => "it is paused, and would roll nothing out; `kubectl rollout resume` comes first",
            Self::NoPods => "it is scaled to zero; there is no pod to replace",
            Self::Partition => "the partition of its update strategy keeps all of its pods",
            Self::Deleted => "it is being deleted",
        })
    }
}

impl Way {
    pub(super) fn of(kind: &OwnerKind, metadata: &ObjectMeta, object: &Value) -> Self {
        let (spec, status) = (&object["spec"], &object["status"]);
        let replicas = wanted(kind, object);
        let strategy = |field: &str| spec[field]["type"].as_str().unwrap_or("RollingUpdate");
        let rolling = |field: &str| &spec[field]["rollingUpdate"];
        let way = match (kind.group.as_str(), kind.kind.as_str()) {
            ("batch", "Job") if status["completionTime"].is_string() || has_failed(status) => {
                Self::Never(Reason::FinishedJob)
            }
            ("batch", "Job") => Self::Never(Reason::Job),
            ("batch", "CronJob") => Self::Never(Reason::CronJob),
            ("apps", "Deployment") if spec["paused"] == true => Self::Never(Reason::Paused),
            ("apps", "Deployment") if strategy("strategy") == "Recreate" => Self::Deployment { down: replicas },
            ("apps", "Deployment") => Self::Deployment { down: deployment_down(rolling("strategy"), replicas) },
            ("apps", "StatefulSet" | "DaemonSet") if strategy("updateStrategy") == "OnDelete" => Self::Eviction,
            ("apps", "StatefulSet") => {
                let rolling = rolling("updateStrategy");
                let partition = rolling["partition"].as_i64().unwrap_or(0);
                Self::StatefulSet { partition, down: share(&rolling["maxUnavailable"], replicas, 1, rounded_up) }
            }
            ("apps", "DaemonSet") => {
                let rolling = rolling("updateStrategy");
                let surge = share(&rolling["maxSurge"], replicas, 0, rounded_up);
                let down = share(&rolling["maxUnavailable"], replicas, 1, rounded_up);
                Self::DaemonSet { down: if surge > 0 { 0 } else { down } }
            }
            ("argoproj.io", "Rollout") => Self::Rollout,
            ("apps", "ReplicaSet") | ("", "ReplicationController") => Self::Eviction,
            _ => Self::Other,
        };
        match way {
            Self::Never(_) => way,
            _ if metadata.deletion_timestamp.is_some() => Self::Never(Reason::Deleted),
            _ if replicas == 0 && kind.kind != "DaemonSet" => Self::Never(Reason::NoPods),
            Self::StatefulSet { partition, .. } if partition >= replicas => Self::Never(Reason::Partition),
            _ => way,
        }
    }

    /// How many pods it takes down before their successors are ready, without asking a PodDisruptionBudget.
    pub fn down(self) -> i64 {
        match self {
            Self::Deployment { down } | Self::StatefulSet { down, .. } | Self::DaemonSet { down } => down,
            Self::Other => 1,
            // An eviction asks by itself.
            Self::Rollout | Self::Eviction | Self::Never(_) => 0,
        }
    }
}

/// By the rules of Deployments: what may be missing is rounded down, what may be too many up, and both cannot be zero.
fn deployment_down(rolling: &Value, replicas: i64) -> i64 {
    let quarter = Value::from("25%");
    let or_quarter = |value: &Value| if value.is_null() { quarter.clone() } else { value.clone() };
    let down = share(&or_quarter(&rolling["maxUnavailable"]), replicas, 0, rounded_down);
    let surge = share(&or_quarter(&rolling["maxSurge"]), replicas, 0, rounded_up);
    if down == 0 && surge == 0 { 1 } else { down.min(replicas) }
}

/// A number, or a percentage of the replicas.
fn share(value: &Value, replicas: i64, default: i64, percent_of: fn(i64, i64) -> i64) -> i64 {
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
