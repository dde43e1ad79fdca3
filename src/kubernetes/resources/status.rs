//! Statuses that we report on objects of ours.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Status of an object of one of our kinds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RuleStatus {
    Policy(PolicyStatus),
    Suspension(SuspensionStatus),
}

/// Present state of a policy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyStatus {
    /// Generation of the spec that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the policy is valid; reason SelectsByTenantLabels warns that tenants can leave its reach by changing
    /// labels. Conflict: another policy of the same rank asks otherwise for a workload. Ineffective: the action cannot
    /// take effect for some workload.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Number of workloads that match, at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched_workloads: Option<i64>,
    /// In mode Audit: number of workloads whose new pods would be different in mode Enforce.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_change: Option<i64>,
    /// In mode Enforce: number of running pods that differ from the new pods this policy decides about. Absent while
    /// drift is not looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drifting_pods: Option<i64>,
}

/// Routing object that carries out a suspension of traffic.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RoutingObjectRef {
    /// Kind of the object.
    pub kind: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

/// Present state of a suspension.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SuspensionStatus {
    /// Generation of the spec that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the suspension is valid. Active: the suspension is in force; its reason is InForce, Scheduled, Over or
    /// Invalid, and for traffic also Applying, Ending, Overdue, or an obstacle. Expired: the suspension is over.
    /// Failed: the suspension cannot be put into force, or cannot be ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Number of workloads that match, at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched_workloads: Option<i64>,
    /// Time left, in whole days, hours, tens of minutes, or minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    /// For Traffic: routing objects that carry out the suspension.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routing: Vec<RoutingObjectRef>,
    /// For Traffic: callers that the suspension does not reach, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_reached: Vec<String>,
    /// Start: the first instant in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Time>,
    /// End: the first instant no longer in force. The installation's maximum can bring it forward. Absent: no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Time>,
}
