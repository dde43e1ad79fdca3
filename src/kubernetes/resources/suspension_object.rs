//! Suspension of either kind as one value, which commands, the API and controllers read, change and write back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Resource;
use serde_json::{Value, json};

use super::cluster_suspension_policy::{ClusterSuspensionPolicy, ClusterSuspensionPolicySpec};
use super::invalid::InvalidObject;
use super::suspension_fields::{SuspensionPeriod, SuspensionSubject};
use super::suspension_policy::{SuspensionPolicy, SuspensionPolicySpec};
use super::syntax::{is_namespace_name, is_object_name};
use crate::decision::suspension::InjectionSuspension;
use crate::kernel::names::{AUDIT_ID, GROUP, ROUTING_FINALIZER, VERSION, suspension_names};
use crate::kernel::text::{CleanText, sanitize};

/// Suspension object without its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuspensionObject {
    /// Namespace; `None` for a cluster suspension.
    pub namespace: Option<String>,
    pub name: String,
    /// UID, once the object has been created.
    pub uid: Option<String>,
    /// Generation of the spec, once the object has been created.
    pub generation: Option<i64>,
    /// Time of creation.
    pub created_at: Option<Timestamp>,
    /// Whether the object is deleted, and waits for finalizers only.
    pub is_being_deleted: bool,
    pub finalizers: Vec<String>,
    /// Id for audit entries, as the object's creator wrote it; see [`audit_id`](Self::audit_id).
    pub written_audit_id: Option<String>,
    /// Specification. `namespaces`, `namespaceSelector` and `indefinite` are empty in a namespaced suspension.
    pub spec: ClusterSuspensionPolicySpec,
}

/// Phase of a suspension at an instant, by the clock alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuspensionPhase {
    /// The start is in the future.
    Scheduled,
    /// The suspension is between start and end.
    InForce,
    /// The end has passed.
    Over,
}

impl SuspensionPhase {
    /// Returns the word that statuses use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "Scheduled",
            Self::InForce => "InForce",
            Self::Over => "Over",
        }
    }
}

impl SuspensionPeriod {
    /// Returns the phase at this instant.
    pub fn phase(&self, now: Timestamp) -> SuspensionPhase {
        match self.ends_at {
            Some(end) if end <= now => SuspensionPhase::Over,
            _ if self.starts_at > now => SuspensionPhase::Scheduled,
            _ => SuspensionPhase::InForce,
        }
    }
}

/// Returns whether Kubernetes would accept these names. Objects with other names cannot exist, so no request is made
/// for them.
pub fn is_valid_name(namespace: Option<&str>, name: &str) -> bool {
    namespace.is_none_or(is_namespace_name) && is_object_name(name)
}

impl SuspensionObject {
    /// Creates the object from its metadata alone, where the rest cannot be read.
    pub fn unreadable(namespace: Option<String>, name: String, uid: Option<String>) -> Self {
        let metadata = ObjectMeta { namespace, name: Some(name), uid, ..ObjectMeta::default() };
        let spec = json!({"suspend": "Traffic", "reason": "it cannot be read"});
        Self::from_parts(&metadata, serde_json::from_value(spec).expect("these fields are enough"))
    }

    /// Returns the name of the kind.
    pub fn kind(&self) -> &'static str {
        suspension_names(self.namespace.is_some()).kind
    }

    /// Returns whether the object carries our finalizer.
    pub fn has_finalizer(&self) -> bool {
        self.finalizers.iter().any(|one| one == ROUTING_FINALIZER)
    }

    /// Returns kind and name, for messages.
    pub fn describe(&self) -> String {
        let Self { namespace, name, .. } = self;
        let place = namespace.as_deref().map(|namespace| format!("{}/", CleanText(namespace))).unwrap_or_default();
        format!("{} {place}{}", self.kind(), CleanText(name))
    }

    /// Returns the id shared by all audit entries about the suspension: the one its creator wrote, or else the UID.
    pub fn audit_id(&self) -> Option<String> {
        self.written_audit_id.as_deref().map(sanitize).or_else(|| self.uid.clone())
    }

    /// Returns start and end.
    ///
    /// # Errors
    ///
    /// When its times contradict each other, or say too little.
    pub fn period(&self, maximum: SignedDuration) -> Result<SuspensionPeriod, InvalidObject> {
        match self.typed() {
            TypedSuspension::Namespaced(object) => object.period(maximum),
            TypedSuspension::Cluster(object) => object.period(maximum),
        }
    }

    /// Returns the subject, and the suspension as decisions use it.
    ///
    /// # Errors
    ///
    /// When the object breaks a rule that the API server checks. The message has the API server's words.
    pub fn compile(&self, maximum: SignedDuration) -> Result<(SuspensionSubject, InjectionSuspension), InvalidObject> {
        match self.typed() {
            TypedSuspension::Namespaced(object) => object.suspension(maximum),
            TypedSuspension::Cluster(object) => object.suspension(maximum),
        }
    }

    /// Returns whether traffic is suspended.
    pub fn suspends_traffic(&self) -> bool {
        self.spec.suspend == SuspensionSubject::Traffic
    }

    /// Returns the object in JSON, without the fields that the API server sets itself.
    pub fn to_json(&self) -> Value {
        let spec = match self.typed() {
            TypedSuspension::Namespaced(object) => serde_json::to_value(object.spec),
            TypedSuspension::Cluster(object) => serde_json::to_value(object.spec),
        };
        let mut metadata = json!({"name": self.name});
        if let Some(namespace) = &self.namespace {
            metadata["namespace"] = json!(namespace);
        }
        if let Some(id) = &self.written_audit_id {
            metadata["annotations"] = json!({AUDIT_ID: id});
        }
        if !self.finalizers.is_empty() {
            metadata["finalizers"] = json!(self.finalizers);
        }
        json!({
            "apiVersion": format!("{GROUP}/{VERSION}"), "kind": self.kind(), "metadata": metadata,
            "spec": spec.expect("a spec is JSON"),
        })
    }

    fn typed(&self) -> TypedSuspension {
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            namespace: self.namespace.clone(),
            creation_timestamp: self.created_at.map(Time),
            ..ObjectMeta::default()
        };
        if self.namespace.is_none() {
            let spec = self.spec.clone();
            return TypedSuspension::Cluster(ClusterSuspensionPolicy { metadata, spec, status: None });
        }
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
            indefinite: _,
            http_status,
        } = self.spec.clone();
        let spec = SuspensionPolicySpec {
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
        };
        TypedSuspension::Namespaced(SuspensionPolicy { metadata, spec, status: None })
    }

    fn from_parts(metadata: &ObjectMeta, spec: ClusterSuspensionPolicySpec) -> Self {
        let ObjectMeta { name, namespace, uid, generation, creation_timestamp, deletion_timestamp, .. } = metadata;
        let annotations = metadata.annotations.as_ref();
        Self {
            namespace: namespace.clone(),
            name: name.clone().unwrap_or_default(),
            uid: uid.clone(),
            generation: *generation,
            created_at: creation_timestamp.as_ref().map(|Time(created)| *created),
            is_being_deleted: deletion_timestamp.is_some(),
            finalizers: metadata.finalizers.clone().unwrap_or_default(),
            written_audit_id: annotations.and_then(|annotations| annotations.get(AUDIT_ID)).cloned(),
            spec,
        }
    }
}

enum TypedSuspension {
    Namespaced(SuspensionPolicy),
    Cluster(ClusterSuspensionPolicy),
}

impl From<&ClusterSuspensionPolicy> for SuspensionObject {
    fn from(object: &ClusterSuspensionPolicy) -> Self {
        Self { namespace: None, ..Self::from_parts(object.meta(), object.spec.clone()) }
    }
}

impl From<&SuspensionPolicy> for SuspensionObject {
    fn from(object: &SuspensionPolicy) -> Self {
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
        } = object.spec.clone();
        let spec = ClusterSuspensionPolicySpec {
            suspend,
            namespaces: Default::default(),
            namespace_selector: Default::default(),
            workloads,
            pod_selector,
            services,
            reason,
            ticket,
            starts_at,
            expires_at,
            lasts,
            indefinite: false,
            http_status,
        };
        // A file may omit the namespace; the conversion refuses such an object.
        let namespace = Some(object.meta().namespace.clone().unwrap_or_default());
        Self { namespace, ..Self::from_parts(object.meta(), spec) }
    }
}
