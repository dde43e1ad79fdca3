//! A workload, trimmed while it is decoded to its metadata and the selector of its pods.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::Resource;
use kube::api::ApiResource;
use serde::Deserialize;

/// What is decoded of a Deployment and its like; everything else is skipped.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Workload {
    /// Its metadata.
    pub(super) metadata: ObjectMeta,
    /// Its specification.
    #[serde(default)]
    pub(super) spec: WorkloadSpec,
}

/// What is decoded of a workload's specification.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct WorkloadSpec {
    /// The selector of its pods.
    pub(super) selector: Option<PodSelector>,
}

/// A label selector, or the plain map of labels that a ReplicationController has.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum PodSelector {
    /// An ordinary one.
    Selector(Strict),
    /// A map of labels.
    Labels(std::collections::BTreeMap<String, String>),
}

/// A label selector without other fields, so that a map of labels is not taken for an empty one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Strict {
    match_labels: Option<std::collections::BTreeMap<String, String>>,
    match_expressions: Option<Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement>>,
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

impl Resource for Workload {
    type DynamicType = ApiResource;
    type Scope = kube::core::DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
