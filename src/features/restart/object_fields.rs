//! Access to fields of a workload object that several kinds share.

use crate::kubernetes::inventory::owner_kind::OwnerKind;
use serde_json::Value;

/// Returns the desired number of pods.
pub(crate) fn desired_replicas(kind: &OwnerKind, object: &Value) -> i64 {
    match kind.kind.as_str() {
        "DaemonSet" if kind.group == "apps" => object["status"]["desiredNumberScheduled"].as_i64().unwrap_or(0),
        _ => object["spec"]["replicas"].as_i64().unwrap_or(1),
    }
}

pub(crate) fn conditions(status: &Value) -> impl Iterator<Item = &Value> {
    status["conditions"].as_array().into_iter().flatten()
}
