//! Workloads and pods as objects: what decisions read of a pod template, and what is told of a running pod.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use serde::Deserialize;

use super::owner_kind::controller_of;
use super::wish_of;
use crate::decision::facts::{Annotations, Lender, Pod, RunningPod, Sidecar, Template};
use crate::decision::mesh::{Injector, Mesh, Place};
use crate::kernel::names;

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
#[serde(default, rename_all = "camelCase")]
struct Container {
    name: String,
    image: Option<String>,
    restart_policy: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct PodStatus {
    phase: Option<String>,
    conditions: Vec<PodCondition>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct PodCondition {
    #[serde(rename = "type")]
    of: String,
    status: String,
}

/// What Istio's injector says of what it has put into a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Injected {
    containers: Option<Vec<String>>,
    init_containers: Option<Vec<String>>,
    revision: Option<String>,
}

/// What is decoded of a workload's specification.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkloadSpec {
    selector: Option<PodSelector>,
    template: Lenient<PodObject>,
    job_template: Lenient<JobTemplate>,
    workload_ref: Lenient<WorkloadRef>,
}

/// The workload that an Argo Rollout refers to, instead of having a template.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkloadRef {
    api_version: Box<str>,
    kind: Box<str>,
    name: Box<str>,
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

    /// Whose template makes its pods, if it has none of its own and says so where Argo Rollouts do, which take one without labels
    /// and annotations for none.
    pub fn template_from(&self) -> Option<Lender> {
        let Lenient::Of(WorkloadRef { api_version, kind, name }) = &self.workload_ref else { return None };
        let says_something = |metadata: &ObjectMeta| {
            let (labels, annotations) = (metadata.labels.as_ref(), metadata.annotations.as_ref());
            labels.is_some_and(|labels| !labels.is_empty()) || annotations.is_some_and(|all| !all.is_empty())
        };
        if matches!(&self.template, Lenient::Of(own) if says_something(&own.metadata)) {
            return None;
        }
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        Some(Lender { group: group.into(), kind: kind.clone(), name: name.clone() })
    }

    /// What the workload's new pods will be made of, if it says so where Deployments or CronJobs do.
    pub fn template(self, namespace: &str, mesh: &Mesh) -> Option<Template> {
        let Self { selector: _, template, job_template, workload_ref: _ } = self;
        if let Some(template) = template.known() {
            return Some(Template { pod: template.pod(namespace, mesh), ..Template::default() });
        }
        let JobTemplate { metadata, spec } = job_template.known()?;
        let pod = spec.template.known()?.pod(namespace, mesh);
        Some(Template { pod, job: Some(wish_of(&metadata)), written_at: None })
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
                || named(&spec.init_containers, &["linkerd-init", "istio-init"])
                || self.sidecar(mesh).is_some(),
        }
    }

    /// What is told of a pod that exists.
    pub fn running(&self, mesh: &Mesh) -> RunningPod {
        let Self { metadata, spec: _, status } = self;
        let pod = self.pod(metadata.namespace.as_deref().unwrap_or_default(), mesh);
        RunningPod {
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            name: metadata.name.as_deref().unwrap_or_default().into(),
            pod: Arc::new(Pod { name: None, ..pod }),
            controller: controller_of(metadata),
            sidecar: self.sidecar(mesh),
            is_finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            is_leaving: metadata.deletion_timestamp.is_some(),
            is_ready: status.conditions.iter().any(|one| one.of == "Ready" && one.status == "True"),
            created_at: metadata.creation_timestamp.as_ref().map(|created| created.0),
        }
    }

    /// The sidecar by its usual name, or by the names that the injector itself gives.
    fn sidecar(&self, mesh: &Mesh) -> Option<Sidecar> {
        let Self { metadata, spec: PodSpec { containers, init_containers, .. }, status: _ } = self;
        let annotation = |key: &str| metadata.annotations.as_ref()?.get(key);
        let (proxy, injected) = match mesh.injector {
            Injector::Linkerd { .. } => ("linkerd-proxy", None),
            Injector::Istio { .. } | Injector::Unread => ("istio-proxy", annotation(names::INJECTED)),
        };
        let injected: Injected = injected.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let is_ordinary = containers.iter().any(|container| container.name == proxy);
        // An init container that goes on. Any other ends before the pod begins.
        let is_sidecar = |container: &Container| container.restart_policy.as_deref() == Some("Always");
        let is_native = init_containers.iter().any(|container| container.name == proxy && is_sidecar(container));
        (is_ordinary || is_native || injected.stands_in(containers, init_containers)).then(|| Sidecar {
            revision: mesh.revision_label.and_then(annotation).cloned().or(injected.revision).map(Into::into),
            is_native: is_native && !is_ordinary,
        })
    }
}

impl Injected {
    /// Whether everything that was put into the pod is there: templates of one's own have other names, and an annotation that
    /// was copied from another pod brings no container.
    fn stands_in(&self, containers: &[Container], init_containers: &[Container]) -> bool {
        let Self { containers: put, init_containers: put_first, revision: _ } = self;
        let mut put = put.iter().chain(put_first).flatten().peekable();
        let is_there = |name: &String| containers.iter().chain(init_containers).any(|one| one.name == *name);
        put.peek().is_some() && put.all(is_there)
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
