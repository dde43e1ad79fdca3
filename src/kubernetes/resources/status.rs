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

/// What a policy does at present.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyStatus {
    /// The generation of the spec that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the policy was understood, with a reason of SelectsByTenantLabels where those whom it forbids something can
    /// step out of its reach. Conflict: it differs from another of its rank about a workload. Ineffective: what it asks for
    /// cannot have its effect somewhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How many workloads it is about, at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched_workloads: Option<i64>,
    /// In mode Audit: of how many workloads new pods would be different in mode Enforce.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_change: Option<i64>,
    /// In mode Enforce: how many running pods are not as new ones would be, where this policy decides about those. Absent while
    /// nobody looks for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drifting_pods: Option<i64>,
}

/// An object that carries out a suspension of traffic.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RoutingObjectRef {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What a suspension does at present.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SuspensionStatus {
    /// The generation of the spec that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: the suspension was understood. Active: it holds now, with a reason of InForce, Scheduled, Over or Invalid; of
    /// one of traffic also Applying, Ending, Overdue, or what stands in its way. Expired: it is over. Failed: it cannot be put
    /// into force, or not be ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How many workloads it is about, at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched_workloads: Option<i64>,
    /// How long it still lasts: whole days, hours, tens of minutes, or minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    /// For Traffic: the objects that carry it out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routing: Vec<RoutingObjectRef>,
    /// For Traffic: whom it does not reach, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_reached: Vec<String>,
    /// The first instant at which it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Time>,
    /// The first instant at which it no longer holds, which the installation's maximum can bring forward. Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Time>,
}
