//! A suspension of either kind as one value: what commands, the API and controllers read, change and write back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Resource;
use serde_json::{Value, json};

use super::cluster_suspension_policy::{ClusterSuspensionPolicy, ClusterSuspensionPolicySpec};
use super::invalid::Invalid;
use super::suspending::{Period, Suspend};
use super::suspension_policy::{SuspensionPolicy, SuspensionPolicySpec};
use super::syntax::{is_namespace_name, is_object_name};
use crate::decision::suspension::Suspension;
use crate::kernel::names::{AUDIT_ID, GROUP, ROUTING_FINALIZER, VERSION};
use crate::kernel::text::{Clean, sanitized};

/// A suspension as it is written, without its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuspensionObject {
    /// Its namespace; `None` for a cluster suspension.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its UID, once it has been created.
    pub uid: Option<String>,
    /// The generation of its spec, once it has been created.
    pub generation: Option<i64>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// Whether somebody has deleted it, and it waits for finalizers only.
    pub is_being_deleted: bool,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// The id under which audit entries tell of it, as its maker wrote it; see [`audit_id`](Self::audit_id).
    pub written_audit_id: Option<String>,
    /// What is suspended. `namespaces`, `namespaceSelector` and `indefinite` are empty in a namespaced one.
    pub spec: ClusterSuspensionPolicySpec,
}

/// What a suspension does at an instant, by the clock alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is still to begin.
    Scheduled,
    /// It holds.
    InForce,
    /// It has ended.
    Over,
}

impl State {
    /// The word for it, as in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "Scheduled",
            Self::InForce => "InForce",
            Self::Over => "Over",
        }
    }
}

impl Period {
    /// What is the case at this instant.
    pub fn state(&self, now: Timestamp) -> State {
        match self.ends_at {
            Some(end) if end <= now => State::Over,
            _ if self.starts_at > now => State::Scheduled,
            _ => State::InForce,
        }
    }
}

/// Whether a suspension of this name can be in this namespace: what cannot be is not asked for.
pub fn can_be(namespace: Option<&str>, name: &str) -> bool {
    namespace.is_none_or(is_namespace_name) && is_object_name(name)
}

impl SuspensionObject {
    /// As much of one as its metadata tell, where it cannot be read.
    pub fn unreadable(namespace: Option<String>, name: String, uid: Option<String>) -> Self {
        let metadata = ObjectMeta { namespace, name: Some(name), uid, ..ObjectMeta::default() };
        let spec = json!({"suspend": "Traffic", "reason": "it cannot be read"});
        Self::with(&metadata, serde_json::from_value(spec).expect("these fields are enough"))
    }

    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        if self.namespace.is_some() { "SuspensionPolicy" } else { "ClusterSuspensionPolicy" }
    }

    /// Whether it carries our finalizer.
    pub fn is_held(&self) -> bool {
        self.finalizers.iter().any(|one| one == ROUTING_FINALIZER)
    }

    /// How sentences name it.
    pub fn named(&self) -> String {
        let Self { namespace, name, .. } = self;
        let place = namespace.as_deref().map(|namespace| format!("{}/", Clean(namespace))).unwrap_or_default();
        format!("{} {place}{}", self.kind(), Clean(name))
    }

    /// The id that ties together the audit entries about it: what its maker wrote on it, or else its UID.
    pub fn audit_id(&self) -> Option<String> {
        self.written_audit_id.as_deref().map(sanitized).or_else(|| self.uid.clone())
    }

    /// From when until when it holds.
    ///
    /// # Errors
    ///
    /// When its times contradict each other, or say too little.
    pub fn period(&self, maximum: SignedDuration) -> Result<Period, Invalid> {
        match self.typed() {
            Typed::Namespaced(object) => object.period(maximum),
            Typed::Cluster(object) => object.period(maximum),
        }
    }

    /// What it suspends, and the suspension as decisions ask it.
    ///
    /// # Errors
    ///
    /// When a rule is broken that one object can break alone, in the words in which the API server would refuse it.
    pub fn compiled(&self, maximum: SignedDuration) -> Result<(Suspend, Suspension), Invalid> {
        match self.typed() {
            Typed::Namespaced(object) => object.suspension(maximum),
            Typed::Cluster(object) => object.suspension(maximum),
        }
    }

    /// Whether it suspends traffic.
    pub fn suspends_traffic(&self) -> bool {
        self.spec.suspend == Suspend::Traffic
    }

    /// The object as it is written, in JSON, without what the API server sets itself.
    pub fn to_json(&self) -> Value {
        let spec = match self.typed() {
            Typed::Namespaced(object) => serde_json::to_value(object.spec),
            Typed::Cluster(object) => serde_json::to_value(object.spec),
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

    fn typed(&self) -> Typed {
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            namespace: self.namespace.clone(),
            creation_timestamp: self.created_at.map(Time),
            ..ObjectMeta::default()
        };
        if self.namespace.is_none() {
            let spec = self.spec.clone();
            return Typed::Cluster(ClusterSuspensionPolicy { metadata, spec, status: None });
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
        Typed::Namespaced(SuspensionPolicy { metadata, spec, status: None })
    }

    fn with(metadata: &ObjectMeta, spec: ClusterSuspensionPolicySpec) -> Self {
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

enum Typed {
    Namespaced(SuspensionPolicy),
    Cluster(ClusterSuspensionPolicy),
}

impl From<&ClusterSuspensionPolicy> for SuspensionObject {
    fn from(object: &ClusterSuspensionPolicy) -> Self {
        Self { namespace: None, ..Self::with(object.meta(), object.spec.clone()) }
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
        // A file may leave it out; it then is none of any namespace's, which the parse has refused already.
        let namespace = Some(object.meta().namespace.clone().unwrap_or_default());
        Self { namespace, ..Self::with(object.meta(), spec) }
    }
}
