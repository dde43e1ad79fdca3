//! Workload as watches decode it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::any_kind::of_any_kind;
use crate::kubernetes::inventory::workload::WorkloadSpec;

/// Decoded part of a Deployment or a similar kind. Everything else is skipped.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct WatchedWorkload {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: WorkloadSpec,
}

of_any_kind!(WatchedWorkload, metadata);
