//! A workload, trimmed while it is decoded.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::ApiResource;
use serde::Deserialize;

use crate::inventory::workload::WorkloadSpec;

/// What is decoded of a Deployment and its like; everything else is skipped.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Workload {
    /// Its metadata.
    pub(super) metadata: ObjectMeta,
    /// Its specification.
    #[serde(default)]
    pub(super) spec: WorkloadSpec,
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
