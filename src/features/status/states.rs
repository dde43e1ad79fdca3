//! Status of every workload: what its new pods would get, what its running pods have, and the state that follows.
//!
//! All workload kinds are covered, and bare pods too. Cost: one decision for each workload.

use crate::features::status::difference::differs;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::running::RunningPods;
use crate::decision::decide;
use crate::decision::effect::{Consequence, EffectOutcome, consequence};
use crate::decision::facts::RunningPod;
use crate::decision::mesh::{InjectorKind, MarkerPlace};
use crate::decision::reason::DecisionRule;
use crate::features::drift::age::{AgeCounts, DecisionHistory};
use crate::features::explain::explanation::{EffectSummary, RuleRef};
use crate::features::preview::comparison::{PodSource, pod_sources_with};
use crate::kernel::text::sanitize;
use crate::kubernetes::inventory::Inventory;

/// How a workload stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[schemars(rename = "WorkloadState")]
pub enum WorkloadState {
    /// Its new pods get a sidecar, or bring one, and all that run have it.
    InMesh,
    /// Its new pods get none, and none that runs has one.
    OutIntended,
    /// Its new pods get a sidecar, and some were created without one though that was so already.
    OutUnexpected,
    /// Its running pods are not as new ones would be, and no webhook is known to have missed one that was to get a sidecar.
    PendingRestart,
    /// Some of its pods are as new ones would be, and some are not.
    Mixed,
    /// What is decided cannot have its effect.
    Unreachable,
    /// Injection is suspended for it.
    Suspended,
    /// It has no pods.
    NoPods,
    /// What its new pods would get, or what its pods have, cannot be told.
    Unknown,
}

impl WorkloadState {
    /// All states, the most worrying first.
    pub const ALL: [Self; 9] = [
        Self::OutUnexpected,
        Self::Unreachable,
        Self::Mixed,
        Self::PendingRestart,
        Self::Suspended,
        Self::Unknown,
        Self::InMesh,
        Self::OutIntended,
        Self::NoPods,
    ];

    /// Returns the state as people read it in a table.
    pub fn as_words(self) -> &'static str {
        match self {
            Self::InMesh => "in mesh",
            Self::OutIntended => "out (intended)",
            Self::OutUnexpected => "out (unexpected)",
            Self::PendingRestart => "pending restart",
            Self::Mixed => "mixed",
            Self::Unreachable => "unreachable",
            Self::Suspended => "suspended",
            Self::NoPods => "no pods",
            Self::Unknown => "unknown",
        }
    }
}

/// How one workload, or a pod that no known workload made, stands.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WorkloadStanding")]
pub struct WorkloadStatus {
    /// Its namespace.
    pub namespace: String,
    /// Its kind; `Pod` for a pod that no known workload made.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: WorkloadState,
    /// Why, in one sentence.
    pub why: String,
    /// What is decided for its new pods.
    pub desired: DesiredInjection,
    /// What the injector will do with them.
    pub effect: EffectSummary,
    /// What its running pods have; absent where pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<ActualInjection>,
}

/// What is decided for new pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Desired")]
pub struct DesiredInjection {
    /// What is to happen.
    pub action: &'static str,
    /// The rule that wins.
    pub rule: RuleRef,
    /// Why, in one sentence.
    pub reason: String,
    /// Until when that holds, where the rule itself ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What running pods have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Actual")]
pub struct ActualInjection {
    /// Pods that have not run to their end.
    pub pods: usize,
    /// Those of them with a sidecar.
    pub with_sidecar: usize,
    /// The names of those that are not as a new pod would be; empty where that cannot be told.
    pub differing: Vec<String>,
}

/// How all of a namespace stand.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NamespaceStanding")]
pub struct NamespaceStatus {
    /// Its name.
    pub namespace: String,
    /// Those of its labels that the mesh's injector reads.
    pub injection_labels: BTreeMap<String, String>,
    /// What the injector does with a pod of it that says nothing itself.
    pub unmarked_pods: EffectSummary,
    /// How many of each state.
    pub totals: StateTotals,
    /// Its workloads, the most worrying first.
    pub workloads: Vec<WorkloadStatus>,
}

/// How many of each state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Totals")]
pub struct StateTotals {
    /// All of them.
    pub workloads: usize,
    /// By state; a state of which there is none is left out.
    pub by_state: BTreeMap<WorkloadState, usize>,
    /// Running pods.
    pub pods: usize,
    /// Those with a sidecar.
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
    StatusContext { inventory, now }.status_of(origin, pods)
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
    let unmarked_pods =
        crate::features::explain::workload_facts::with_unmarked_pod_facts(inventory, &namespace, |facts| {
            EffectSummary::from(&crate::decision::effect::undecided_consequence(facts).effect)
        });
    NamespaceStatus { namespace, injection_labels, unmarked_pods, totals, workloads }
}

/// Returns the labels and annotations of a namespace that this mesh's injector reads.
fn injection_labels(inventory: &Inventory, name: &str) -> BTreeMap<String, String> {
    let Some(entry) = inventory.namespaces.get(name) else { return BTreeMap::new() };
    let (namespace, mesh) = (entry.namespace(), inventory.settings.mesh);
    let keys = match mesh.injector {
        InjectorKind::Istio { .. } => vec!["istio-injection", "istio.io/rev", "istio.io/dataplane-mode"],
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

struct StatusContext<'l> {
    inventory: &'l Inventory,
    now: Timestamp,
}

impl StatusContext<'_> {
    fn status_of(&self, origin: &PodSource, pods: Option<&[Arc<RunningPod>]>) -> WorkloadStatus {
        origin.with_facts(self.inventory, |facts| {
            let decision = decide(facts, self.now);
            let consequence = consequence(facts, &decision);
            let desired = DesiredInjection {
                action: decision.action.as_str(),
                rule: (&decision.rule).into(),
                reason: decision.rule.sentence().to_string(),
                until: decision.until,
            };
            let differing: Vec<_> =
                pods.unwrap_or_default().iter().filter(|pod| differs(pod, facts, &consequence)).collect();
            let evidence = StateEvidence {
                rule: &decision.rule,
                consequence: &consequence,
                pods,
                differing: &differing,
                brings_sidecar: facts.pod.has_sidecar,
                ages: DecisionHistory::new(self.inventory, facts, &decision, &consequence)
                    .count_ages(differing.iter().copied()),
            };
            let (state, why) = evidence.state();
            let pod_name = |pod: &&Arc<RunningPod>| sanitize(&pod.name);
            let actual = pods.map(|pods| ActualInjection {
                pods: pods.len(),
                with_sidecar: pods.iter().filter(|pod| pod.sidecar.is_some()).count(),
                differing: differing.iter().map(pod_name).collect(),
            });
            WorkloadStatus {
                namespace: sanitize(origin.namespace()),
                kind: sanitize(origin.kind()),
                name: sanitize(origin.name()),
                state,
                why,
                desired,
                effect: (&consequence.effect).into(),
                actual,
            }
        })
    }
}

/// Everything that the state of one workload hangs on.
struct StateEvidence<'t> {
    rule: &'t DecisionRule<'t>,
    consequence: &'t Consequence<'t>,
    pods: Option<&'t [Arc<RunningPod>]>,
    differing: &'t [&'t Arc<RunningPod>],
    ages: AgeCounts,
    /// Whether new pods bring a sidecar of their own.
    brings_sidecar: bool,
}

impl StateEvidence<'_> {
    fn state(&self) -> (WorkloadState, String) {
        let Self { rule, consequence, pods, differing, ages: AgeCounts { missed, .. }, brings_sidecar } = self;
        let outcome = consequence.effect.outcome;
        let Some(pods) = pods else { return (WorkloadState::Unknown, "its pods are not known".to_owned()) };
        let (all, count) = (pods.len(), differing.len());
        let with = pods.iter().filter(|pod| pod.sidecar.is_some()).count();
        let have = format!("{with} of {all} pods have a sidecar");
        if matches!(rule, DecisionRule::Suspension(_)) {
            return (WorkloadState::Suspended, format!("new pods get no sidecar while it lasts; {have}"));
        }
        match outcome {
            EffectOutcome::Unreachable => return (WorkloadState::Unreachable, consequence.effect.reason.to_string()),
            EffectOutcome::Unknown => return (WorkloadState::Unknown, consequence.effect.reason.to_string()),
            EffectOutcome::Injected | EffectOutcome::NotInjected => {}
        }
        if all == 0 {
            return (WorkloadState::NoPods, "no pod of it runs".to_owned());
        }
        match (outcome, count) {
            (EffectOutcome::Injected, 0) => (WorkloadState::InMesh, have),
            (_, 0) if with > 0 => {
                let state = if with == all { WorkloadState::InMesh } else { WorkloadState::Mixed };
                let tells = if *brings_sidecar { "" } else { "nothing tells whether they " };
                (state, format!("{have}, and {tells}bring it themselves"))
            }
            (_, 0) => (WorkloadState::OutIntended, have),
            (EffectOutcome::Injected, _) if *missed > 0 && with < all => {
                let sentence = format!(
                    "{missed} of {all} pods were created after that was decided, and are not as a new pod would be"
                );
                (WorkloadState::OutUnexpected, format!("{sentence}: {}", AgeCounts::missed_reason(outcome)))
            }
            (_, count) if count == all => {
                (WorkloadState::PendingRestart, format!("{have}, and none is as a new pod would be: {}", self.cause()))
            }
            (_, count) => {
                let sentence = format!("{have}, and {count} are not as a new pod would be");
                let cause = if *missed > 0 { format!(": {}", self.cause()) } else { String::new() };
                (WorkloadState::Mixed, sentence + &cause)
            }
        }
    }

    fn cause(&self) -> String {
        let Self { consequence, differing, ages: AgeCounts { missed, older }, .. } = self;
        match (missed, older) {
            (0, older) if *older == differing.len() => "they are older".to_owned(),
            (0, _) => "they are older, or a webhook was not asked".to_owned(),
            (missed, _) => {
                format!(
                    "{missed} created after that was decided, {}",
                    AgeCounts::missed_reason(consequence.effect.outcome)
                )
            }
        }
    }
}
