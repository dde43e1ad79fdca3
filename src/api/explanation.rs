//! `/api/v1/namespaces/{namespace}/workloads/{kind}/{name}`: explains the decision for one workload.

use std::sync::Arc;

use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::ApiState;
use super::endpoint::ApiEndpoint;
use super::extract::{ApiRequest, with_unread};
use super::problem::ApiProblem;
use crate::decision::facts::RunningPod;
use crate::features::explain::explanation::Explanation;
use crate::features::pod_source::{PodSource, pod_sources_with};
use crate::features::status::running::RunningPods;
use crate::features::status::state::WorkloadState;
use crate::features::status::states::workload_status;
use crate::kernel::text::CleanText;
use crate::kubernetes::client::access::ProtectedResource;
use crate::kubernetes::inventory::Inventory;

/// The explanation as `outrigger explain -o json` prints it, and how the workload stands.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Explained")]
pub(super) struct ExplanationResponse {
    #[serde(flatten)]
    explanation: Explanation,
    /// How it stands.
    state: WorkloadState,
    /// Why, in one sentence.
    why: String,
    /// The running pods that are not as a new one would be.
    differing: Vec<String>,
    /// Parts of the cluster that are not known here.
    unread: Vec<String>,
    /// Whether the answer is not complete without those.
    partial: bool,
}

/// Workload or pod that the path names.
struct WorkloadPath {
    namespace: String,
    kind: String,
    name: String,
}

/// Returns the endpoints of explanations.
pub(super) fn endpoints() -> Vec<ApiEndpoint> {
    vec![ApiEndpoint::cached_get::<ExplanationResponse, _>(
        "explainWorkload",
        "/api/v1/namespaces/{namespace}/workloads/{kind}/{name}",
        "Tells what a new pod of a workload gets, and why, with every rule considered.",
        explain,
    )]
}

pub(super) async fn explain(request: ApiRequest) -> Response {
    let part = |name: &str| request.path_part(name).unwrap_or_default();
    let path = WorkloadPath { namespace: part("namespace"), kind: part("kind"), name: part("name") };
    let namespace = path.namespace.clone();
    request
        .answer_read(("get", ProtectedResource::Workloads), Some(&namespace), move |api| explain_path(api, &path))
        .await
}

fn explain_path(api: &ApiState, path: &WorkloadPath) -> Result<ExplanationResponse, ApiProblem> {
    let (response, unread) = with_unread(&api.inventory, || path.explain(api));
    Ok(ExplanationResponse { partial: !unread.is_empty(), unread, ..response? })
}

impl WorkloadPath {
    fn explain(&self, api: &ApiState) -> Result<ExplanationResponse, ApiProblem> {
        let Self { namespace, kind, name } = self;
        let (inventory, now) = (&api.inventory, api.clock.now());
        let running = RunningPods::in_namespace(inventory, Some(namespace));
        let sources = pod_sources_with(inventory, &running);
        let is_named = |one: &&PodSource| one.kind().eq_ignore_ascii_case(kind) && one.name() == name;
        let source = sources.iter().find(is_named);
        let status = source.map(|source| workload_status(inventory, now, source, &running));
        let explanation = match source.and_then(PodSource::workload) {
            Some(workload) => Explanation::for_workload(inventory, workload, &running, now),
            None => Explanation::for_running_pod(inventory, &self.pod(inventory)?, now),
        };
        Ok(ExplanationResponse {
            explanation,
            state: status.as_ref().map_or(WorkloadState::Unknown, |status| status.state),
            why: status.as_ref().map(|status| status.why.clone()).unwrap_or_default(),
            differing: status.and_then(|status| status.actual).map(|actual| actual.differing).unwrap_or_default(),
            partial: false,
            unread: Vec::new(),
        })
    }

    /// Finds the running pod of this name, with or without a workload.
    fn pod(&self, inventory: &Inventory) -> Result<Arc<RunningPod>, ApiProblem> {
        let Self { namespace, kind, name } = self;
        let is_named = |one: &RunningPod| one.pod.namespace == **namespace && *one.name == **name;
        let found = if kind.eq_ignore_ascii_case("pod") { inventory.pods.filter(is_named).pop() } else { None };
        found.ok_or_else(|| {
            let (kind, name, namespace) = (CleanText(kind), CleanText(name), CleanText(namespace));
            let unread = inventory.unread_caches();
            let but =
                if unread.is_empty() { String::new() } else { format!("; not yet known are {}", unread.join(", ")) };
            ApiProblem::not_found(format!("there is no {kind}/{name} in namespace {namespace}{but}"))
        })
    }
}
