//! `ClusterInjectionPolicy`: the platform's standing rule for pods in many namespaces.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::invalid::{FieldError, InvalidObject, name_of};
use super::label_selector::LabelSelector;
use super::matching::{
    MOST_NAMES, NamespacePatterns, WorkloadMatch, compile_service_accounts, compile_workloads, is_default, name_globs,
};
use super::policy_fields::{PolicyAction, PolicyFields, PolicyMode, PolicyOverrides, REVISION_NEEDS_ENABLE, revision};
use super::status::PolicyStatus;
use crate::decision::policy::{PodMatcher, Policy};

/// Pods that the policy selects, and its action for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "outrigger.dev",
    version = "v1alpha1",
    kind = "ClusterInjectionPolicy",
    plural = "clusterinjectionpolicies",
    shortname = "cinj",
    category = "outrigger",
    status = "PolicyStatus",
    derive = "PartialEq",
    doc = "A standing rule for the sidecars of new pods in the cluster: which pods, and what to tell the mesh's injector.",
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".spec.revision", priority = 1),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(name = "Overrides", type_ = "string", json_path = ".spec.overrides"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Conflict", type_ = "string", json_path = ".status.conditions[?(@.type=='Conflict')].status"),
    printcolumn(
        name = "Ineffective",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ineffective')].status"
    ),
    printcolumn(name = "Workloads", type_ = "integer", json_path = ".status.matchedWorkloads"),
    printcolumn(name = "Would-Change", type_ = "integer", json_path = ".status.wouldChange"),
    printcolumn(name = "Drifting", type_ = "integer", json_path = ".status.driftingPods"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = REVISION_NEEDS_ENABLE)]
pub struct ClusterInjectionPolicySpec {
    /// Pods that the policy selects. A pod must match every given part. Absent: every pod.
    #[serde(default, rename = "match", skip_serializing_if = "is_default")]
    pub matching: ClusterPolicyMatch,
    /// Action for the selected pods. Enable: inject. Disable: do not inject. Remove: strip the pod's own marker, so
    /// that the namespace decides.
    pub action: PolicyAction,
    /// For Enable: revision of the control plane, such as stable. Give one where the injector selects pods by revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "revision")]
    pub revision: Option<String>,
    /// Rank among policies that select the same pod: the highest wins. Between equals a namespaced policy wins over a
    /// cluster policy, then the more specific one.
    #[serde(default)]
    pub priority: i32,
    /// Overrides on pods, workloads and namespaces that count. Allow: all. RequireReason: those with a reason. Deny:
    /// none, and namespaced policies and suspensions cannot depart from this policy either.
    #[serde(default)]
    pub overrides: PolicyOverrides,
    /// Enforce: the policy takes part in decisions. Audit: its effect is recorded, and nothing changes.
    #[serde(default)]
    pub mode: PolicyMode,
}

/// Pods that a cluster policy selects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterPolicyMatch {
    /// Namespaces by name.
    #[serde(skip_serializing_if = "is_default")]
    pub namespaces: NamespacePatterns,
    /// Namespaces by label. Empty or absent: all.
    #[serde(skip_serializing_if = "is_default")]
    pub namespace_selector: LabelSelector,
    /// Workloads of the pods. Empty or absent: any workload, or none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST_NAMES))]
    pub workloads: Vec<WorkloadMatch>,
    /// Labels of the workload object, not of its pods. Empty or absent: any.
    #[serde(skip_serializing_if = "is_default")]
    pub workload_selector: LabelSelector,
    /// Labels of the pod. Empty or absent: any.
    #[serde(skip_serializing_if = "is_default")]
    pub pod_selector: LabelSelector,
    /// Patterns for the name of the pod's service account; * stands for any characters. Empty or absent: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "name_globs")]
    pub service_accounts: Vec<String>,
}

impl TryFrom<&ClusterInjectionPolicy> for Policy {
    type Error = InvalidObject;

    fn try_from(object: &ClusterInjectionPolicy) -> Result<Self, InvalidObject> {
        compile(object).map_err(|error| error.in_object(object))
    }
}

fn compile(object: &ClusterInjectionPolicy) -> Result<Policy, FieldError> {
    let ClusterInjectionPolicySpec { matching, action, revision, priority, overrides, mode } = &object.spec;
    let fields = PolicyFields {
        action: *action,
        revision: revision.as_deref(),
        priority: *priority,
        overrides: *overrides,
        mode: *mode,
    };
    fields.compile(name_of(object)?, None, matching.compile()?)
}

impl ClusterPolicyMatch {
    fn compile(&self) -> Result<PodMatcher, FieldError> {
        let Self {
            namespaces,
            namespace_selector,
            workloads: named,
            workload_selector,
            pod_selector,
            service_accounts: accounts,
        } = self;
        let (include, exclude) = namespaces.compile("spec.match.namespaces")?;
        Ok(PodMatcher {
            include,
            exclude,
            namespace_selector: namespace_selector.compile("spec.match.namespaceSelector")?,
            workloads: compile_workloads(named, "spec.match.workloads")?,
            workload_selector: workload_selector.compile("spec.match.workloadSelector")?,
            pod_selector: pod_selector.compile("spec.match.podSelector")?,
            service_accounts: compile_service_accounts(accounts, "spec.match.serviceAccounts")?,
        })
    }
}
