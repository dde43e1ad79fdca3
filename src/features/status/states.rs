//! Status of every workload: what its new pods would get, what its running pods have, and the state that follows.
//!
//! All workload kinds are covered, and bare pods too. Cost: one decision for each workload.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::comparison::PodComparison;
use super::running::RunningPods;
use super::state::{SidecarCount, StateEvidence, WorkloadState, classify};
use crate::decision::effect::{consequence, undecided_consequence};
use crate::decision::facts::RunningPod;
use crate::decision::mesh::{InjectorKind, MarkerPlace};
use crate::decision::reason::DecisionRule;
use crate::decision::{Decision, decide};
use crate::features::drift::age::DecisionHistory;
use crate::features::new_pod::{EffectSummary, RuleRef};
use crate::features::pod_source::{PodSource, pod_sources_with};
use crate::kernel::names::{DATAPLANE_MODE, INJECTION_LABEL, REVISION_LABEL};
use crate::kernel::text::sanitize;
use crate::kubernetes::inventory::Inventory;

/// Status of one workload, or of a pod that no known workload made.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WorkloadStanding")]
pub struct WorkloadStatus {
    /// Namespace of the workload.
    pub namespace: String,
    /// Kind of the workload; `Pod` for a pod that no known workload made.
    pub kind: String,
    /// Name of the workload.
    pub name: String,
    /// State of the workload.
    pub state: WorkloadState,
    /// Reason of the state, in one sentence.
    pub why: String,
    /// Decision for new pods.
    pub desired: DesiredInjection,
    /// Effect of the injector on new pods.
    pub effect: EffectSummary,
    /// Sidecars of the running pods; absent where pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<ActualInjection>,
}

/// Decision for new pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Desired")]
pub struct DesiredInjection {
    /// Action that is decided.
    pub action: &'static str,
    /// Rule that wins.
    pub rule: RuleRef,
    /// Reason, in one sentence.
    pub reason: String,
    /// End of the decision, where the rule itself ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Sidecars of running pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Actual")]
pub struct ActualInjection {
    /// Number of pods that have not run to their end.
    pub pods: usize,
    /// Number of those pods that have a sidecar.
    pub with_sidecar: usize,
    /// Names of the pods that differ from a new one; empty where that is not known.
    pub differing: Vec<String>,
}

/// Status of a namespace and its workloads.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NamespaceStanding")]
pub struct NamespaceStatus {
    /// Name of the namespace.
    pub namespace: String,
    /// Labels of the namespace that the mesh's injector reads.
    pub injection_labels: BTreeMap<String, String>,
    /// Effect of the injector on a pod without marker, override or owner.
    pub unmarked_pods: EffectSummary,
    /// Number of workloads by state.
    pub totals: StateTotals,
    /// Workloads of the namespace, the most worrying first.
    pub workloads: Vec<WorkloadStatus>,
}

/// Number of workloads by state, and of their pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Totals")]
pub struct StateTotals {
    /// Number of workloads.
    pub workloads: usize,
    /// Number of workloads by state; a state without workloads is left out.
    pub by_state: BTreeMap<WorkloadState, usize>,
    /// Number of running pods.
    pub pods: usize,
    /// Number of those pods that have a sidecar.
    pub with_sidecar: usize,
}

/// Returns the status of every workload, in order of namespaces, kinds and names.
pub fn workload_statuses(inventory: &Inventory, now: Timestamp) -> Vec<WorkloadStatus> {
    workload_statuses_in(inventory, now, None)
}

/// Returns the status of the workloads of one namespace, or of all namespaces.
pub fn workload_statuses_in(inventory: &Inventory, now: Timestamp, namespace: Option<&str>) -> Vec<WorkloadStatus> {
    let running = RunningPods::in_namespace(inventory, namespace);
    let origins = pod_sources_with(inventory, &running);
    origins.iter().map(|origin| workload_status(inventory, now, origin, &running)).collect()
}

/// Returns the status of one workload, or of one bare pod.
pub fn workload_status(
    inventory: &Inventory,
    now: Timestamp,
    origin: &PodSource,
    running: &RunningPods,
) -> WorkloadStatus {
    let pods = running.are_known().then(|| origin.running_pods(running));
    status_of(inventory, now, origin, pods)
}

/// Groups statuses by namespace, and adds what the labels of each namespace do. Includes namespaces without workloads.
pub fn group_by_namespace(inventory: &Inventory, statuses: Vec<WorkloadStatus>) -> Vec<NamespaceStatus> {
    let mut of: BTreeMap<String, Vec<WorkloadStatus>> = BTreeMap::new();
    for entry in inventory.namespaces.all() {
        of.insert(entry.namespace().name.to_string(), Vec::new());
    }
    for status in statuses {
        of.entry(status.namespace.clone()).or_default().push(status);
    }
    of.into_iter().map(|(namespace, workloads)| namespace_status(inventory, namespace, workloads)).collect()
}

/// Sums up one namespace, and puts its most worrying workloads first.
pub fn namespace_status(
    inventory: &Inventory,
    namespace: String,
    mut workloads: Vec<WorkloadStatus>,
) -> NamespaceStatus {
    let worry = |state: WorkloadState| WorkloadState::ALL.iter().position(|one| *one == state);
    workloads.sort_by(|left, right| {
        (worry(left.state), &left.kind, &left.name).cmp(&(worry(right.state), &right.kind, &right.name))
    });
    let totals = StateTotals::count(&workloads);
    let injection_labels = injection_labels(inventory, &namespace);
    let unmarked_pods = inventory
        .with_unmarked_pod_facts(&namespace, |facts| EffectSummary::from(&undecided_consequence(facts).effect));
    NamespaceStatus { namespace, injection_labels, unmarked_pods, totals, workloads }
}

/// Returns the labels and annotations of a namespace that this mesh's injector reads.
fn injection_labels(inventory: &Inventory, name: &str) -> BTreeMap<String, String> {
    let Some(entry) = inventory.namespaces.get(name) else { return BTreeMap::new() };
    let (namespace, mesh) = (entry.namespace(), inventory.settings.mesh);
    let keys = match mesh.injector {
        InjectorKind::Istio { .. } => vec![INJECTION_LABEL, REVISION_LABEL, DATAPLANE_MODE],
        InjectorKind::Linkerd { .. } | InjectorKind::Unread => Vec::new(),
    };
    let label = |key: &str| Some((key.to_owned(), sanitize(namespace.labels.get(key)?)));
    let marker = (mesh.marker_place == MarkerPlace::Annotation).then_some(namespace.marker.as_deref()).flatten();
    let marker = marker.map(|value| (mesh.marker_key.to_owned(), sanitize(value)));
    keys.into_iter().filter_map(label).chain(marker).collect()
}

impl StateTotals {
    /// Counts workloads by state, and their pods.
    pub fn count<'s>(statuses: impl IntoIterator<Item = &'s WorkloadStatus>) -> Self {
        let mut totals = Self::default();
        for WorkloadStatus { state, actual, .. } in statuses {
            totals.workloads += 1;
            *totals.by_state.entry(*state).or_default() += 1;
            if let Some(ActualInjection { pods, with_sidecar, .. }) = actual {
                totals.pods += pods;
                totals.with_sidecar += with_sidecar;
            }
        }
        totals
    }
}

/// Returns the status of the workload of this origin, with these running pods; `None` where pods are not known.
fn status_of(
    inventory: &Inventory,
    now: Timestamp,
    origin: &PodSource,
    pods: Option<&[Arc<RunningPod>]>,
) -> WorkloadStatus {
    origin.with_facts(inventory, |facts| {
        let decision = decide(facts, now);
        let consequence = consequence(facts, &decision);
        let comparison = PodComparison::compare(pods.unwrap_or_default(), facts, &consequence);
        let history = DecisionHistory::new(inventory, facts, &decision, &consequence);
        let effect = EffectSummary::from(&consequence.effect);
        let reason = classify(&StateEvidence {
            is_suspended: matches!(decision.rule, DecisionRule::Suspension(_)),
            effect: &effect,
            sidecars: pods.map(|_| SidecarCount { with: comparison.with_sidecar, all: comparison.pods }),
            differing: comparison.differing.len(),
            ages: history.count_ages(comparison.differing.iter().copied()),
            brings_sidecar: facts.pod.has_sidecar,
        });
        WorkloadStatus {
            namespace: sanitize(origin.namespace()),
            kind: sanitize(origin.kind()),
            name: sanitize(origin.name()),
            state: reason.state(),
            why: reason.to_string(),
            desired: DesiredInjection::from(&decision),
            effect,
            actual: pods.map(|_| ActualInjection::from(&comparison)),
        }
    })
}

impl From<&Decision<'_>> for DesiredInjection {
    fn from(decision: &Decision<'_>) -> Self {
        Self {
            action: decision.action.as_str(),
            rule: (&decision.rule).into(),
            reason: decision.rule.sentence().to_string(),
            until: decision.until,
        }
    }
}

impl From<&PodComparison<'_>> for ActualInjection {
    fn from(comparison: &PodComparison<'_>) -> Self {
        let PodComparison { pods, with_sidecar, differing, is_certain: _ } = comparison;
        let differing = differing.iter().map(|pod| sanitize(&pod.name)).collect();
        Self { pods: *pods, with_sidecar: *with_sidecar, differing }
    }
}
