//! A workload, trimmed while it is decoded.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::any_kind::of_any_kind;
use crate::kubernetes::inventory::workload::WorkloadSpec;

/// What is decoded of a Deployment and its like; everything else is skipped.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Workload {
    /// Its metadata.
    pub(crate) metadata: ObjectMeta,
    /// Its specification.
    #[serde(default)]
    pub(crate) spec: WorkloadSpec,
}

of_any_kind!(Workload, metadata);
