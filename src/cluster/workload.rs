//! A workload, trimmed while it is decoded.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::any_kind::of_any_kind;
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

of_any_kind!(Workload, metadata);
