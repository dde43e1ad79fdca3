//! Target of a command: `KIND/NAME` on the command line, or the objects of a manifest.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use k8s_openapi::api::{apps::v1 as apps, batch::v1 as batch, core::v1 as core};
use serde::Deserialize;
use serde_json::Value;

use crate::decision::facts::{Owner, OwnerReference, PodFacts};
use crate::decision::mesh::Mesh;
use crate::kernel::object_ref::ObjectRef;
use crate::kernel::text::did_you_mean;
use crate::kubernetes::inventory::owner_kind::{OwnerKinds, controller_of};
use crate::kubernetes::inventory::workload::{PodObject, WorkloadSpec};
use crate::kubernetes::resources::strict::{StrictError, read_object};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Kind and name, as users type them: `deployment/web`, `deploy/web`, `Deployment/web`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRef {
    /// Kind in small letters.
    pub kind: String,
    pub name: String,
}

impl FromStr for TargetRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((kind, name)) if !kind.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { kind: kind.to_lowercase(), name: name.to_owned() })
            }
            _ => Err("expected KIND/NAME, such as deployment/web".to_owned()),
        }
    }
}

impl fmt::Display for TargetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ObjectRef::new(&self.kind, &self.name).fmt(f)
    }
}

impl TargetRef {
    pub fn is_pod(&self) -> bool {
        ["pod", "pods", "po"].contains(&self.kind.as_str())
    }

    /// Finds the kind among the kinds that can own pods.
    pub fn resolve_kind(&self, kinds: &OwnerKinds) -> anyhow::Result<String> {
        Ok(kinds.resolve_word(&self.kind)?)
    }

    /// Says that there is no such object, with the nearest known name.
    pub fn not_found_message(&self, namespace: &str, known: impl Iterator<Item = String>) -> String {
        let known: Vec<_> = known.collect();
        if known.is_empty() {
            return format!("there is no {self} in namespace {namespace}, nor anything like it");
        }
        let hint = did_you_mean(&self.to_string(), known.iter().map(String::as_str));
        format!("there is no {self} in namespace {namespace}{hint}")
    }
}

/// Object of a manifest whose pods can be explained.
#[derive(Debug)]
pub enum ManifestSubject {
    /// Pod, and its controlling owner if it names one.
    Pod(Box<PodFacts<'static>>, Option<OwnerReference>),
    Workload(Arc<Owner>),
}

impl ManifestSubject {
    pub fn namespace(&self) -> &str {
        match self {
            Self::Pod(pod, _) => &pod.namespace,
            Self::Workload(workload) => &workload.namespace,
        }
    }
}

/// Parses the pods and workloads among objects. Other objects are skipped with a line on standard error.
pub fn manifest_subjects(
    objects: &[Value],
    namespace: &str,
    kinds: &OwnerKinds,
    mesh: &Mesh,
) -> anyhow::Result<Vec<ManifestSubject>> {
    let mut subjects = Vec::new();
    for object in objects {
        let kind = object["kind"].as_str().unwrap_or_default();
        match parse_subject(object, namespace, kinds, mesh)? {
            Some(subject) => subjects.push(subject),
            None => eprintln!("outrigger: {kind} is skipped, since it makes no pods"),
        }
    }
    if subjects.is_empty() {
        bail!(
            "the manifest has no pod and no workload: give a Pod, Deployment, StatefulSet, DaemonSet, Job, CronJob or Rollout"
        );
    }
    Ok(subjects)
}

/// Refuses unknown fields in built-in kinds of Kubernetes. The fields of other kinds are not known here.
fn check_fields(group: &str, kind: &str, object: &Value) -> Result<(), StrictError> {
    match (group, kind) {
        ("", "Pod") => read_object::<core::Pod>(object).map(drop),
        ("", "ReplicationController") => read_object::<core::ReplicationController>(object).map(drop),
        ("apps", "Deployment") => read_object::<apps::Deployment>(object).map(drop),
        ("apps", "ReplicaSet") => read_object::<apps::ReplicaSet>(object).map(drop),
        ("apps", "StatefulSet") => read_object::<apps::StatefulSet>(object).map(drop),
        ("apps", "DaemonSet") => read_object::<apps::DaemonSet>(object).map(drop),
        ("batch", "Job") => read_object::<batch::Job>(object).map(drop),
        ("batch", "CronJob") => read_object::<batch::CronJob>(object).map(drop),
        _ => Ok(()),
    }
}

fn parse_subject(
    object: &Value,
    namespace: &str,
    kinds: &OwnerKinds,
    mesh: &Mesh,
) -> anyhow::Result<Option<ManifestSubject>> {
    let Some(kind) = object["kind"].as_str() else {
        bail!("an object has no kind: give a Pod, Deployment, StatefulSet, DaemonSet, Job, CronJob or Rollout")
    };
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let name = object["metadata"]["name"].as_str().or(object["metadata"]["generateName"].as_str()).unwrap_or_default();
    let bad = |error: serde_json::Error| anyhow!("{kind} {name}: {error}");
    check_fields(group, kind, object)?;
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or(namespace);
    if (group, kind) == ("", "Pod") {
        let pod = PodObject::deserialize(object).map_err(bad)?;
        let controller = controller_of(&pod.metadata);
        return Ok(Some(ManifestSubject::Pod(Box::new(pod.pod(namespace, mesh)), controller)));
    }
    let Some(known) = kinds.find(group, kind) else { return Ok(None) };
    let mut metadata = ObjectMeta::deserialize(&object["metadata"]).map_err(bad)?;
    metadata.namespace = Some(namespace.to_owned());
    let spec = WorkloadSpec::deserialize(&object["spec"]).map_err(bad)?;
    let workload = known.workload(&metadata, spec, mesh);
    if workload.template.is_none() {
        bail!("{kind} {name} has no pod template");
    }
    Ok(Some(ManifestSubject::Workload(Arc::new(workload))))
}
