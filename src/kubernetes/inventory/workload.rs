//! Pods and workloads as objects: the parts of a pod template that decisions read, and the report on a running pod.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use serde::Deserialize;

use super::metadata::{LABELS_PATH, override_written_at, read_override, written_at};
use super::owner_kind::{OwnerKind, ReadDepth, controller_of};
use crate::decision::facts::{Owner, PodAnnotations, PodFacts, PodTemplate, RunningPod, Sidecar, TemplateSource};
use crate::decision::mesh::{InjectorKind, MarkerPlace, Mesh};
use crate::kernel::names;

/// Pod or pod template, trimmed to the decoded fields; everything else is skipped.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PodObject {
    pub metadata: ObjectMeta,
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    host_network: bool,
    service_account_name: Option<String>,
    containers: Vec<PodContainer>,
    init_containers: Vec<PodContainer>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodContainer {
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
    condition_type: String,
    status: String,
}

/// Istio's own record, in an annotation, of the containers that its injector has put into a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct IstioInjectionStatus {
    containers: Option<Vec<String>>,
    init_containers: Option<Vec<String>>,
    revision: Option<String>,
}

/// Specification of a workload, trimmed to the decoded fields.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkloadSpec {
    selector: Option<PodSelector>,
    template: LenientField<PodObject>,
    job_template: LenientField<JobTemplate>,
    workload_ref: LenientField<TemplateRef>,
}

/// Workload that an Argo Rollout refers to, instead of having a template.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TemplateRef {
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
    template: LenientField<PodObject>,
}

/// Label selector, or the plain map of labels that a ReplicationController has.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum PodSelector {
    Selector(StrictSelector),
    Labels(BTreeMap<String, String>),
}

/// Label selector that refuses other fields, so that a map of labels is not taken for an empty selector.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct StrictSelector {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<LabelSelectorRequirement>>,
}

impl From<&PodSelector> for LabelSelector {
    fn from(selector: &PodSelector) -> Self {
        match selector.clone() {
            PodSelector::Selector(StrictSelector { match_labels, match_expressions }) => {
                Self { match_labels, match_expressions }
            }
            PodSelector::Labels(labels) => Self { match_labels: Some(labels), match_expressions: None },
        }
    }
}

/// Value of the expected shape, or of any other: a kind that a setting adds may use the field name differently.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum LenientField<T> {
    Known(T),
    Other(serde::de::IgnoredAny),
}

impl<T> Default for LenientField<T> {
    fn default() -> Self {
        Self::Other(serde::de::IgnoredAny)
    }
}

impl<T> LenientField<T> {
    fn into_known(self) -> Option<T> {
        match self {
            Self::Known(known) => Some(known),
            Self::Other(_) => None,
        }
    }
}

/// Path of the pod template's metadata in the managed fields of a workload.
const TEMPLATE_PATH: [&str; 3] = ["f:spec", "f:template", "f:metadata"];
/// Paths of everything that shapes the pods, in the managed fields of a workload.
const POD_PATHS: [&[&str]; 3] = [&LABELS_PATH, &["f:spec", "f:template"], &["f:spec", "f:jobTemplate"]];

impl OwnerKind {
    /// Returns the inventory's view of an object of which more than the metadata was read.
    pub fn workload(&self, metadata: &ObjectMeta, spec: WorkloadSpec, mesh: &Mesh) -> Owner {
        let used = match self.read_depth {
            ReadDepth::Spec => spec.selector().map(|selector| Self::selector_use(&selector, mesh)),
            ReadDepth::Metadata => None,
        };
        let template_from = spec.template_from().map(Box::new);
        let template = spec.template(metadata.namespace.as_deref().unwrap_or_default(), mesh).map(|mut template| {
            let wish = &mut template.pod.annotations.own_override;
            wish.since = wish.inject.as_ref().and_then(|_| override_written_at(metadata, &TEMPLATE_PATH));
            template.written_at = POD_PATHS.iter().filter_map(|path| written_at(metadata, path)).max();
            Box::new(template)
        });
        Owner { template, template_source: template_from, ..self.owner(metadata, used) }
    }
}

impl WorkloadSpec {
    pub fn selector(&self) -> Option<LabelSelector> {
        self.selector.as_ref().map(LabelSelector::from)
    }

    /// Returns the workload whose template makes the pods, for a workload without a template of its own. Such a
    /// reference stands where Argo Rollouts have it. Argo ignores a template without labels and annotations, and so do
    /// we.
    pub fn template_from(&self) -> Option<TemplateSource> {
        let LenientField::Known(TemplateRef { api_version, kind, name }) = &self.workload_ref else { return None };
        let says_something = |metadata: &ObjectMeta| {
            let (labels, annotations) = (metadata.labels.as_ref(), metadata.annotations.as_ref());
            labels.is_some_and(|labels| !labels.is_empty()) || annotations.is_some_and(|all| !all.is_empty())
        };
        if matches!(&self.template, LenientField::Known(own) if says_something(&own.metadata)) {
            return None;
        }
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        Some(TemplateSource { group: group.into(), kind: kind.clone(), name: name.clone() })
    }

    /// Returns the template of new pods, if it stands where Deployments or CronJobs have it.
    pub fn template(self, namespace: &str, mesh: &Mesh) -> Option<PodTemplate> {
        let Self { selector: _, template, job_template, workload_ref: _ } = self;
        if let Some(template) = template.into_known() {
            return Some(PodTemplate { pod: template.pod(namespace, mesh), ..PodTemplate::default() });
        }
        let JobTemplate { metadata, spec } = job_template.into_known()?;
        let pod = spec.template.into_known()?.pod(namespace, mesh);
        Some(PodTemplate { pod, job_override: Some(read_override(&metadata)), written_at: None })
    }
}

impl PodObject {
    /// Returns the parts that decisions read.
    pub fn pod(&self, namespace: &str, mesh: &Mesh) -> PodFacts<'static> {
        let Self { metadata, spec, status: _ } = self;
        let owned = |text: &Option<String>| text.clone().map(Cow::Owned);
        let named = |containers: &[PodContainer], names: &[&str]| {
            containers.iter().any(|container| names.contains(&container.name.as_str()))
        };
        let waits =
            |container: &PodContainer| container.name == "istio-proxy" && container.image.as_deref() == Some("auto");
        PodFacts {
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

    /// Returns what we keep of a pod that exists.
    pub fn running_pod(&self, mesh: &Mesh) -> RunningPod {
        let Self { metadata, spec: _, status } = self;
        let pod = self.pod(metadata.namespace.as_deref().unwrap_or_default(), mesh);
        RunningPod {
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            name: metadata.name.as_deref().unwrap_or_default().into(),
            pod: Arc::new(PodFacts { name: None, ..pod }),
            controller: controller_of(metadata),
            sidecar: self.sidecar(mesh),
            is_finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            is_terminating: metadata.deletion_timestamp.is_some(),
            is_ready: status.conditions.iter().any(|one| one.condition_type == "Ready" && one.status == "True"),
            created_at: metadata.creation_timestamp.as_ref().map(|created| created.0),
        }
    }

    /// Finds the sidecar by its usual name, or by the names in the injector's own record.
    fn sidecar(&self, mesh: &Mesh) -> Option<Sidecar> {
        let Self { metadata, spec: PodSpec { containers, init_containers, .. }, status: _ } = self;
        let annotation = |key: &str| metadata.annotations.as_ref()?.get(key);
        let (proxy, injected) = match mesh.injector {
            InjectorKind::Linkerd { .. } => ("linkerd-proxy", None),
            InjectorKind::Istio { .. } | InjectorKind::Unread => ("istio-proxy", annotation(names::INJECTED)),
        };
        let injected: IstioInjectionStatus =
            injected.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let is_ordinary = containers.iter().any(|container| container.name == proxy);
        // An init container that keeps running. Any other one ends before the pod begins.
        let is_sidecar = |container: &PodContainer| container.restart_policy.as_deref() == Some("Always");
        let is_native = init_containers.iter().any(|container| container.name == proxy && is_sidecar(container));
        (is_ordinary || is_native || injected.is_complete_in(containers, init_containers)).then(|| Sidecar {
            revision: mesh.revision_label.and_then(annotation).cloned().or(injected.revision).map(Into::into),
            is_native: is_native && !is_ordinary,
        })
    }
}

impl IstioInjectionStatus {
    /// Returns whether every injected container is there. Custom injection templates use other names, and an annotation
    /// that was copied from another pod brings no container.
    fn is_complete_in(&self, containers: &[PodContainer], init_containers: &[PodContainer]) -> bool {
        let Self { containers: put, init_containers: put_first, revision: _ } = self;
        let mut put = put.iter().chain(put_first).flatten().peekable();
        let is_there = |name: &String| containers.iter().chain(init_containers).any(|one| one.name == *name);
        put.peek().is_some() && put.all(is_there)
    }
}

fn annotations_of(metadata: &ObjectMeta, mesh: &Mesh) -> PodAnnotations<'static> {
    let Some(annotations) = &metadata.annotations else { return PodAnnotations::default() };
    let text = |key: &str| annotations.get(key).cloned().map(Cow::Owned);
    PodAnnotations {
        present: true,
        own_override: read_override(metadata),
        receipt: text(names::DECISION),
        marker: if mesh.marker_place == MarkerPlace::Annotation { text(mesh.marker_key) } else { None },
        legacy: mesh.legacy_annotation.and_then(text),
        mirror: annotations.contains_key(names::MIRROR),
    }
}
