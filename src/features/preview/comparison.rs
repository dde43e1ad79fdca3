//! Comparison of new pods before and after a change of the rules, and the sources of new pods.
//!
//! Running pods never change. They are counted because new pods take their place.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use json_patch::PatchOperation;
use schemars::JsonSchema;
use serde::Serialize;

use crate::decision::decide;
use crate::decision::effect::{EffectOutcome, consequence};
use crate::decision::facts::{Facts, Owner, RequestKind, RunningPod};
use crate::decision::marks::PodMarks;
use crate::decision::patch::marks_patch;
use crate::features::explain::explanation::{EffectSummary, RuleRef};
use crate::features::status::running::RunningPods;
use crate::kernel::text::sanitize;
use crate::kubernetes::inventory::{DecisionRequest, Inventory};

/// Source of new pods: a workload, or a pod without a known workload.
#[derive(Debug, Clone)]
pub struct PodSource {
    kind: PodSourceKind,
    /// Number of running pods; `None` where pods are not known.
    pub pods: Option<usize>,
}

#[derive(Debug, Clone)]
enum PodSourceKind {
    /// Workload, which makes pods from its template.
    Workload(Arc<Owner>),
    /// Pod without a known workload; its maker would make it again.
    Pod(Arc<RunningPod>),
}

/// What new pods of one origin get.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "NewPod")]
pub struct NewPodOutcome {
    /// What is decided.
    pub action: &'static str,
    /// The rule that wins.
    pub rule: RuleRef,
    /// Why, in one sentence.
    pub reason: String,
    /// What the injector will do.
    pub effect: EffectSummary,
    /// What is written on the pod, as a JSON Patch.
    pub patch: Vec<PatchOperation>,
    #[serde(skip)]
    marks: PodMarks,
}

/// What would change, by namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Preview {
    /// How much would change.
    pub summary: PreviewSummary,
    /// The namespaces in which something would change, by name.
    pub namespaces: Vec<NamespacePreview>,
}

/// How much would change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviewSummary {
    /// Workloads, and pods without one, that were looked at.
    pub workloads: usize,
    /// Those whose new pods would be different.
    pub changed: usize,
    /// Those that would be decided by another rule, to the same end.
    pub other_rule: usize,
    /// Those whose new pods would get a sidecar, and get none now.
    pub gaining: usize,
    /// Those whose new pods would get none, and get one now.
    pub losing: usize,
    /// Those that would become unreachable.
    pub unreachable: usize,
    /// Running pods of all of them; absent where pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<usize>,
    /// Running pods of those whose new pods would be different.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_pods: Option<usize>,
}

/// What would change in one namespace.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "PreviewOfNamespace")]
pub struct NamespacePreview {
    /// Its name.
    pub namespace: String,
    /// The workloads whose new pods would be different.
    pub workloads: Vec<WorkloadDifference>,
}

/// What would change for one workload.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Difference")]
pub struct WorkloadDifference {
    /// Its kind; `Pod` for a pod that no known workload made.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How many pods of it run; absent where pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<usize>,
    /// What a new pod gets now.
    pub before: NewPodOutcome,
    /// What a new pod would get.
    pub after: NewPodOutcome,
}

/// Returns the sources of new pods in all namespaces: workloads, and pods without a known workload.
pub fn pod_sources(inventory: &Inventory) -> Vec<PodSource> {
    pod_sources_with(inventory, &RunningPods::from_inventory(inventory))
}

/// Returns the sources of new pods in the namespace of `running`, or in all namespaces if it holds all running pods.
pub fn pod_sources_with(inventory: &Inventory, running: &RunningPods) -> Vec<PodSource> {
    let counted = running.are_known();
    let workload = |workload: Arc<Owner>| {
        let pods = counted.then(|| running.pods_of(&workload).len());
        PodSource { kind: PodSourceKind::Workload(workload), pods }
    };
    let pod =
        |pod: &Arc<RunningPod>| PodSource { kind: PodSourceKind::Pod(Arc::clone(pod)), pods: counted.then_some(1) };
    let workloads = inventory.workloads_in(running.namespace()).into_iter().map(workload);
    workloads.chain(running.bare().iter().map(pod)).collect()
}

impl PodSource {
    /// Returns the workload; `None` for a pod without a known workload.
    pub fn workload(&self) -> Option<&Arc<Owner>> {
        match &self.kind {
            PodSourceKind::Workload(workload) => Some(workload),
            PodSourceKind::Pod(_) => None,
        }
    }

    pub fn namespace(&self) -> &str {
        match &self.kind {
            PodSourceKind::Workload(workload) => &workload.namespace,
            PodSourceKind::Pod(pod) => &pod.pod.namespace,
        }
    }

    /// Returns the kind of the workload, or `Pod`.
    pub fn kind(&self) -> &str {
        match &self.kind {
            PodSourceKind::Workload(workload) => &workload.kind,
            PodSourceKind::Pod(_) => "Pod",
        }
    }

    pub fn name(&self) -> &str {
        match &self.kind {
            PodSourceKind::Workload(workload) => &workload.name,
            PodSourceKind::Pod(pod) => &pod.name,
        }
    }

    /// Selects the running pods that came from this source.
    pub fn running_pods<'r>(&'r self, running: &'r RunningPods) -> &'r [Arc<RunningPod>] {
        match &self.kind {
            PodSourceKind::Workload(workload) => running.pods_of(workload),
            PodSourceKind::Pod(pod) => std::slice::from_ref(pod),
        }
    }

    /// Calls `ask` with the facts of a new pod from this source.
    pub fn with_facts<T>(&self, inventory: &Inventory, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
        match &self.kind {
            PodSourceKind::Workload(workload) => {
                let template = workload.template.as_deref().expect("a workload has a template");
                ask(&inventory.facts_for_template(workload, template))
            }
            PodSourceKind::Pod(running) => {
                let pod = running.as_requested();
                let (kind, controller) = (&RequestKind::PodCreate, running.controller.as_ref());
                let question = DecisionRequest { kind, pod: &pod, controller, requester_is_trusted: true };
                ask(&inventory.facts_for(question, &[]))
            }
        }
    }
}

impl NewPodOutcome {
    /// Decides about a new pod from this source.
    pub fn from_source(source: &PodSource, inventory: &Inventory, now: Timestamp) -> Self {
        source.with_facts(inventory, |facts| Self::from_facts(facts, now))
    }

    /// Decides about a new pod with these facts.
    pub fn from_facts(facts: &Facts<'_>, now: Timestamp) -> Self {
        let decision = decide(facts, now);
        let consequence = consequence(facts, &decision);
        Self {
            action: decision.action.as_str(),
            rule: (&decision.rule).into(),
            reason: decision.rule.sentence().to_string(),
            effect: (&consequence.effect).into(),
            patch: marks_patch(facts.pod, facts.settings.mesh, &consequence.marks),
            marks: consequence.marks,
        }
    }

    /// Returns whether new pods are the same apart from the receipt, which names the rule.
    fn is_equivalent(&self, other: &Self) -> bool {
        let result = |pod: &Self| (pod.action, pod.effect.outcome, pod.effect.revision.clone());
        let visible_marks = |marks: &PodMarks| {
            let PodMarks { marker, legacy, revision, receipt: _ } = marks.clone();
            (marker, legacy, revision)
        };
        result(self) == result(other) && visible_marks(&self.marks) == visible_marks(&other.marks)
    }

    fn becomes(&self, after: &Self, outcome: EffectOutcome) -> bool {
        after.effect.outcome == outcome && self.effect.outcome != outcome
    }
}

impl Preview {
    /// Compares the outcomes of each source before and after a change.
    pub fn compare<'o>(outcomes: impl Iterator<Item = (&'o PodSource, NewPodOutcome, NewPodOutcome)>) -> Self {
        let mut summary = PreviewSummary { pods: Some(0), changed_pods: Some(0), ..PreviewSummary::default() };
        let mut namespaces: BTreeMap<&str, Vec<WorkloadDifference>> = BTreeMap::new();
        let sum = |sum: Option<usize>, more: Option<usize>| sum.zip(more).map(|(sum, more)| sum + more);
        for (source, before, after) in outcomes {
            summary.workloads += 1;
            summary.pods = sum(summary.pods, source.pods);
            if before.is_equivalent(&after) {
                summary.other_rule += usize::from(before.rule != after.rule);
                continue;
            }
            summary.changed += 1;
            summary.changed_pods = sum(summary.changed_pods, source.pods);
            summary.gaining += usize::from(before.becomes(&after, EffectOutcome::Injected));
            summary.losing += usize::from(after.becomes(&before, EffectOutcome::Injected));
            summary.unreachable += usize::from(before.becomes(&after, EffectOutcome::Unreachable));
            let (kind, name) = (sanitize(source.kind()), sanitize(source.name()));
            let difference = WorkloadDifference { kind, name, pods: source.pods, before, after };
            namespaces.entry(source.namespace()).or_default().push(difference);
        }
        summary.changed_pods = summary.changed_pods.filter(|_| summary.pods.is_some());
        let namespace_preview = |(name, workloads): (&str, Vec<WorkloadDifference>)| NamespacePreview {
            namespace: sanitize(name),
            workloads,
        };
        Self { summary, namespaces: namespaces.into_iter().map(namespace_preview).collect() }
    }
}
