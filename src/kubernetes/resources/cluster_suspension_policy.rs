//! `ClusterSuspensionPolicy`: the platform's time-limited order for many namespaces.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::invalid::{FieldError, InvalidObject, name_of};
use super::label_selector::LabelSelector;
use super::matching::{MOST_NAMES, NamespacePatterns, WorkloadMatch, is_default};
use super::status::SuspensionStatus;
use super::suspension_fields::{
    END_AFTER_START, MOST_SERVICES, ONE_END_UNLESS_INDEFINITE, PODS_NEED_INJECTION, STATUS_NEEDS_TRAFFIC,
    SuspensionFields, SuspensionPeriod, SuspensionService, SuspensionSubject, TRAFFIC_NEEDS_SERVICES, http_status,
    lasts, reason, ticket,
};
use crate::decision::policy::PodMatcher;
use crate::decision::suspension::InjectionSuspension;

/// Subject, namespaces, reason and end of a suspension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "outrigger.dev",
    version = "v1alpha1",
    kind = "ClusterSuspensionPolicy",
    plural = "clustersuspensionpolicies",
    shortname = "csusp",
    category = "outrigger",
    status = "SuspensionStatus",
    derive = "PartialEq",
    doc = "A time-limited order for namespaces of the cluster: no sidecars for new pods, or no traffic to services.",
    printcolumn(name = "Suspend", type_ = "string", json_path = ".spec.suspend"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.conditions[?(@.type=='Active')].reason"),
    printcolumn(name = "Starts", type_ = "string", json_path = ".status.startsAt"),
    printcolumn(name = "Left", type_ = "string", json_path = ".status.left"),
    printcolumn(name = "Ends", type_ = "string", json_path = ".status.endsAt"),
    printcolumn(name = "Workloads", type_ = "integer", json_path = ".status.matchedWorkloads"),
    printcolumn(name = "Indefinite", type_ = "boolean", json_path = ".spec.indefinite", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Ticket", type_ = "string", json_path = ".spec.ticket", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = ONE_END_UNLESS_INDEFINITE,
    validation = END_AFTER_START,
    validation = TRAFFIC_NEEDS_SERVICES,
    validation = PODS_NEED_INJECTION,
    validation = STATUS_NEEDS_TRAFFIC,
    validation = (
        "(has(self.namespaces) && [has(self.namespaces.include) && size(self.namespaces.include) > 0, \
         has(self.namespaces.exclude) && size(self.namespaces.exclude) > 0].exists(given, given)) || \
         (has(self.namespaceSelector) && [has(self.namespaceSelector.matchLabels) && \
         size(self.namespaceSelector.matchLabels) > 0, has(self.namespaceSelector.matchExpressions) && \
         size(self.namespaceSelector.matchExpressions) > 0].exists(given, given))",
        "spec.namespaces or spec.namespaceSelector says which namespaces; for all of them, include \"*\"",
    )
)]
pub struct ClusterSuspensionPolicySpec {
    /// Subject of the suspension. Injection: new pods get no sidecar. Traffic: the named services answer with an error.
    pub suspend: SuspensionSubject,
    /// Namespaces by name. This or namespaceSelector is required; for every namespace, include "*".
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespaces: NamespacePatterns,
    /// Namespaces by label.
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace_selector: LabelSelector,
    /// For Injection: workloads of the pods. Empty or absent: every pod of these namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST_NAMES))]
    pub workloads: Vec<WorkloadMatch>,
    /// For Injection: labels of the pod. Empty or absent: any.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pod_selector: LabelSelector,
    /// For Traffic: services that answer with an error, at least one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST_SERVICES))]
    pub services: Vec<SuspensionService>,
    /// Reason, for people who meet the suspension: at most 256 characters.
    #[schemars(schema_with = "reason")]
    pub reason: String,
    /// Ticket, such as INC-1042: at most 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "ticket")]
    pub ticket: Option<String>,
    /// Start, as an RFC 3339 time. Absent: the time of creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Time>,
    /// End, as an RFC 3339 time: the first instant no longer in force. The installation's maximum, 30 days by default,
    /// can bring it forward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Duration from the start, instead of expiresAt, such as 3d, 2h30m or 90s.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "lasts")]
    pub lasts: Option<String>,
    /// Whether the suspension may exceed the installation's maximum and needs no end.
    #[serde(default)]
    pub indefinite: bool,
    /// For Traffic: HTTP status of the services' answers, from 400 to 599. Absent: 503.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "http_status")]
    pub http_status: Option<u16>,
}

impl ClusterSuspensionPolicy {
    /// Returns the subject, and the suspension, which lasts no longer than `maximum`, unless it is indefinite.
    ///
    /// # Errors
    ///
    /// When a rule is broken that the API server would have refused.
    pub fn suspension(
        &self,
        maximum: SignedDuration,
    ) -> Result<(SuspensionSubject, InjectionSuspension), InvalidObject> {
        self.compile(maximum).map_err(|error| error.in_object(self))
    }

    /// Returns start and end.
    ///
    /// # Errors
    ///
    /// When its times contradict each other, or say too little.
    pub fn period(&self, maximum: SignedDuration) -> Result<SuspensionPeriod, InvalidObject> {
        self.fields().period(maximum).map_err(|error| error.in_object(self))
    }

    fn compile(&self, maximum: SignedDuration) -> Result<(SuspensionSubject, InjectionSuspension), FieldError> {
        let ClusterSuspensionPolicySpec { namespaces, namespace_selector, .. } = &self.spec;
        if namespaces.is_empty() && namespace_selector.is_empty() {
            let sentence = "is missing, and so is spec.namespaceSelector; for all namespaces, include \"*\"";
            return Err(FieldError::new("spec.namespaces", sentence));
        }
        let (include, exclude) = namespaces.compile("spec.namespaces")?;
        let namespace_selector = namespace_selector.compile("spec.namespaceSelector")?;
        let matching = PodMatcher { include, exclude, namespace_selector, ..PodMatcher::default() };
        self.fields().suspension(name_of(self)?, None, matching, maximum)
    }

    fn fields(&self) -> SuspensionFields<'_> {
        let ClusterSuspensionPolicySpec {
            suspend,
            namespaces: _,
            namespace_selector: _,
            workloads,
            pod_selector,
            services,
            reason,
            ticket,
            starts_at,
            expires_at,
            lasts,
            indefinite,
            http_status,
        } = &self.spec;
        SuspensionFields {
            suspend: *suspend,
            workloads,
            pod_selector,
            services,
            reason,
            ticket: ticket.as_deref(),
            starts_at: starts_at.as_ref(),
            expires_at: expires_at.as_ref(),
            lasts: lasts.as_deref(),
            indefinite: *indefinite,
            http_status: *http_status,
            created_at: self.metadata.creation_timestamp.as_ref(),
        }
    }
}
