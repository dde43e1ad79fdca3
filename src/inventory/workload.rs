//! Workloads and pods as objects: what decisions read of a pod template, and what is told of a running pod.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use serde::Deserialize;

use super::owner_kind::controller_of;
use super::wish_of;
use crate::decision::facts::{Annotations, Pod, RunningPod, Sidecar, Template};
use crate::decision::mesh::{Injector, Mesh, Place};
use crate::resources::names;

/// What is decoded of a pod or a pod template; everything else is skipped.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PodObject {
    /// Its metadata.
    pub metadata: ObjectMeta,
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    host_network: bool,
    service_account_name: Option<String>,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
    image: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct PodStatus {
    phase: Option<String>,
}

/// What is decoded of a workload's specification.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkloadSpec {
    selector: Option<PodSelector>,
    template: Lenient<PodObject>,
    job_template: Lenient<JobTemplate>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct JobTemplate {
    metadata: ObjectMeta,
    spec: JobSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct JobSpec {
    template: Lenient<PodObject>,
}

/// A label selector, or the plain map of labels that a ReplicationController has.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum PodSelector {
    /// An ordinary one.
    Selector(Strict),
    /// A map of labels.
    Labels(BTreeMap<String, String>),
}

/// A label selector without other fields, so that a map of labels is not taken for an empty one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Strict {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<LabelSelectorRequirement>>,
}

impl From<&PodSelector> for LabelSelector {
    fn from(selector: &PodSelector) -> Self {
        match selector.clone() {
            PodSelector::Selector(Strict { match_labels, match_expressions }) => {
                Self { match_labels, match_expressions }
            }
            PodSelector::Labels(labels) => Self { match_labels: Some(labels), match_expressions: None },
        }
    }
}

/// Something of this shape or of any other: a kind that was added by a setting may mean something else by the name.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Lenient<T> {
    Of(T),
    Other(serde::de::IgnoredAny),
}

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self::Other(serde::de::IgnoredAny)
    }
}

impl<T> Lenient<T> {
    fn known(self) -> Option<T> {
        match self {
            Self::Of(known) => Some(known),
            Self::Other(_) => None,
        }
    }
}

impl WorkloadSpec {
    /// The selector of its pods.
    pub fn selector(&self) -> Option<LabelSelector> {
        self.selector.as_ref().map(LabelSelector::from)
    }

    /// What the workload's new pods will be made of, if it says so where Deployments or CronJobs do.
    pub fn template(self, namespace: &str, mesh: &Mesh) -> Option<Template> {
        let Self { selector: _, template, job_template } = self;
        if let Some(template) = template.known() {
            return Some(Template { pod: template.pod(namespace, mesh), job: None });
        }
        let JobTemplate { metadata, spec } = job_template.known()?;
        let pod = spec.template.known()?.pod(namespace, mesh);
        Some(Template { pod, job: Some(wish_of(&metadata)) })
    }
}

impl PodObject {
    /// The parts that decisions read.
    pub fn pod(&self, namespace: &str, mesh: &Mesh) -> Pod<'static> {
        let Self { metadata, spec, status: _ } = self;
        let owned = |text: &Option<String>| text.clone().map(Cow::Owned);
        let named = |containers: &[Container], names: &[&str]| {
            containers.iter().any(|container| names.contains(&container.name.as_str()))
        };
        let waits =
            |container: &Container| container.name == "istio-proxy" && container.image.as_deref() == Some("auto");
        Pod {
            name: owned(&metadata.name),
            generate_name: owned(&metadata.generate_name),
            namespace: Cow::Owned(namespace.to_owned()),
            labels: metadata.labels.clone().map(|labels| labels.into_iter().collect()),
            annotations: annotations_of(metadata, mesh),
            host_network: spec.host_network,
            service_account: owned(&spec.service_account_name),
            waits_for_proxy: spec.containers.iter().chain(&spec.init_containers).any(waits),
            has_sidecar: named(&spec.containers, &["linkerd-proxy", "istio-proxy"])
                || named(&spec.init_containers, &["linkerd-init", "istio-init"]),
        }
    }

    /// What is told of a pod that exists.
    pub fn running(&self, mesh: &Mesh) -> RunningPod {
        let Self { metadata, spec, status } = self;
        let annotation = |key: &str| metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
        let proxy = match mesh.injector {
            Injector::Linkerd { .. } => "linkerd-proxy",
            Injector::Istio { .. } | Injector::Unread => "istio-proxy",
        };
        // A native sidecar is an init container.
        let has_proxy = |containers: &[Container]| containers.iter().any(|container| container.name == proxy);
        let is_native = !has_proxy(&spec.containers);
        let has_sidecar = !is_native || has_proxy(&spec.init_containers);
        let revision = || mesh.revision_label.and_then(annotation).map(|revision| revision.as_str().into());
        RunningPod {
            pod: self.pod(metadata.namespace.as_deref().unwrap_or_default(), mesh),
            controller: controller_of(metadata),
            sidecar: has_sidecar.then(|| Sidecar { revision: revision(), is_native }),
            is_finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            created_at: metadata.creation_timestamp.as_ref().map(|created| created.0),
        }
    }
}

fn annotations_of(metadata: &ObjectMeta, mesh: &Mesh) -> Annotations<'static> {
    let Some(annotations) = &metadata.annotations else { return Annotations::default() };
    let text = |key: &str| annotations.get(key).cloned().map(Cow::Owned);
    Annotations {
        present: true,
        wish: wish_of(metadata),
        receipt: text(names::DECISION),
        marker: if mesh.marker_place == Place::Annotation { text(mesh.marker_key) } else { None },
        legacy: mesh.legacy_annotation.and_then(text),
        mirror: annotations.contains_key(names::MIRROR),
    }
}
