//! `SuspensionPolicy`: a tenant's time-limited order for one namespace.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::SignedDuration;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::invalid::{FieldError, InvalidObject, name_of, namespace_of};
use super::label_selector::LabelSelector;
use super::matching::{MOST_NAMES, WorkloadMatch, is_default};
use super::status::SuspensionStatus;
use super::suspension_fields::{
    END_AFTER_START, MOST_SERVICES, ONE_END, PODS_NEED_INJECTION, STATUS_NEEDS_TRAFFIC, SuspensionFields,
    SuspensionPeriod, SuspensionService, SuspensionSubject, TRAFFIC_NEEDS_SERVICES, http_status, lasts, reason, ticket,
};
use crate::decision::policy::PodMatcher;
use crate::decision::suspension::InjectionSuspension;

/// Subject, reason and end of a suspension in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "outrigger.dev",
    version = "v1alpha1",
    kind = "SuspensionPolicy",
    plural = "suspensionpolicies",
    namespaced,
    shortname = "susp",
    category = "outrigger",
    status = "SuspensionStatus",
    derive = "PartialEq",
    doc = "A time-limited order for this namespace: no sidecars for new pods, or no traffic to services.",
    printcolumn(name = "Suspend", type_ = "string", json_path = ".spec.suspend"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.conditions[?(@.type=='Active')].reason"),
    printcolumn(name = "Starts", type_ = "string", json_path = ".status.startsAt"),
    printcolumn(name = "Left", type_ = "string", json_path = ".status.left"),
    printcolumn(name = "Ends", type_ = "string", json_path = ".status.endsAt"),
    printcolumn(name = "Workloads", type_ = "integer", json_path = ".status.matchedWorkloads"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Ticket", type_ = "string", json_path = ".spec.ticket", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = ONE_END,
    validation = END_AFTER_START,
    validation = TRAFFIC_NEEDS_SERVICES,
    validation = PODS_NEED_INJECTION,
    validation = STATUS_NEEDS_TRAFFIC
)]
pub struct SuspensionPolicySpec {
    /// Subject of the suspension. Injection: new pods get no sidecar. Traffic: the named services answer with an error.
    pub suspend: SuspensionSubject,
    /// For Injection: workloads of the pods. Empty or absent: every pod of the namespace.
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
    /// For Traffic: HTTP status of the services' answers, from 400 to 599. Absent: 503.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "http_status")]
    pub http_status: Option<u16>,
}

impl SuspensionPolicy {
    /// Returns the subject, and the suspension, which lasts no longer than `maximum`.
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
        let namespace = Some(namespace_of(self)?);
        self.fields().suspension(name_of(self)?, namespace, PodMatcher::default(), maximum)
    }

    fn fields(&self) -> SuspensionFields<'_> {
        let SuspensionPolicySpec {
            suspend,
            workloads,
            pod_selector,
            services,
            reason,
            ticket,
            starts_at,
            expires_at,
            lasts,
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
            indefinite: false,
            http_status: *http_status,
            created_at: self.metadata.creation_timestamp.as_ref(),
        }
    }
}
