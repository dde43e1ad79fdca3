//! What would change: what new pods would get before and after a change of the rules, compared.
//!
//! Running pods never change; they are counted because new ones take their place.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use json_patch::PatchOperation;
use schemars::JsonSchema;
use serde::Serialize;

use crate::decision::decide;
use crate::decision::effect::{Outcome, consequence};
use crate::decision::facts::{Facts, Owner, RequestKind, RunningPod};
use crate::decision::marks::Marks;
use crate::decision::patch::patch;
use crate::features::explain::explanation::{EffectTold, RuleName};
use crate::features::status::running::RunningPods;
use crate::kernel::text::sanitized;
use crate::kubernetes::inventory::{Inventory, Question};

/// Something that new pods come from.
#[derive(Debug, Clone)]
pub struct Origin {
    makes: Makes,
    /// How many pods of it run, where pods are known.
    pub pods: Option<usize>,
}

#[derive(Debug, Clone)]
enum Makes {
    /// A workload, by its template.
    Workload(Arc<Owner>),
    /// Whoever made this pod, which no known workload did, and would make it again.
    Pod(Arc<RunningPod>),
}

/// What new pods of one origin get.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "NewPod")]
pub struct Answer {
    /// What is decided.
    pub action: &'static str,
    /// The rule that wins.
    pub rule: RuleName,
    /// Why, in one sentence.
    pub reason: String,
    /// What the injector will do.
    pub effect: EffectTold,
    /// What is written on the pod, as a JSON Patch.
    pub patch: Vec<PatchOperation>,
    #[serde(skip)]
    marks: Marks,
}

/// What would change, by namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Preview {
    /// How much would change.
    pub summary: Summary,
    /// The namespaces in which something would change, by name.
    pub namespaces: Vec<OfNamespace>,
}

/// How much would change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PreviewSummary")]
pub struct Summary {
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
pub struct OfNamespace {
    /// Its name.
    pub namespace: String,
    /// The workloads whose new pods would be different.
    pub workloads: Vec<Difference>,
}

/// What would change for one workload.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Difference {
    /// Its kind; `Pod` for a pod that no known workload made.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How many pods of it run; absent where pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<usize>,
    /// What a new pod gets now.
    pub before: Answer,
    /// What a new pod would get.
    pub after: Answer,
}

/// Everything that new pods come from: the workloads, and the pods that no known workload made.
pub fn origins(inventory: &Inventory) -> Vec<Origin> {
    origins_with(inventory, &RunningPods::of(inventory))
}

/// The same of the namespace of these pods, or of all, as they are of the inventory.
pub fn origins_with(inventory: &Inventory, running: &RunningPods) -> Vec<Origin> {
    let counted = running.are_known();
    let workload = |workload: Arc<Owner>| {
        let pods = counted.then(|| running.of_workload(&workload).len());
        Origin { makes: Makes::Workload(workload), pods }
    };
    let pod = |pod: &Arc<RunningPod>| Origin { makes: Makes::Pod(Arc::clone(pod)), pods: counted.then_some(1) };
    let workloads = inventory.workloads_in(running.namespace()).into_iter().map(workload);
    workloads.chain(running.bare().iter().map(pod)).collect()
}

impl Origin {
    /// The workload; none for a pod that no known one made.
    pub fn workload(&self) -> Option<&Arc<Owner>> {
        match &self.makes {
            Makes::Workload(workload) => Some(workload),
            Makes::Pod(_) => None,
        }
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        match &self.makes {
            Makes::Workload(workload) => &workload.namespace,
            Makes::Pod(pod) => &pod.pod.namespace,
        }
    }

    /// Its kind.
    pub fn kind(&self) -> &str {
        match &self.makes {
            Makes::Workload(workload) => &workload.kind,
            Makes::Pod(_) => "Pod",
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match &self.makes {
            Makes::Workload(workload) => &workload.name,
            Makes::Pod(pod) => &pod.name,
        }
    }

    /// Its running pods.
    pub fn running<'r>(&'r self, running: &'r RunningPods) -> &'r [Arc<RunningPod>] {
        match &self.makes {
            Makes::Workload(workload) => running.of_workload(workload),
            Makes::Pod(pod) => std::slice::from_ref(pod),
        }
    }

    /// Asks something about the facts of its new pods.
    pub fn about<T>(&self, inventory: &Inventory, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
        match &self.makes {
            Makes::Workload(workload) => {
                let template = workload.template.as_deref().expect("a workload has a template");
                ask(&inventory.facts_for_template(workload, template))
            }
            Makes::Pod(running) => {
                let pod = running.as_asked();
                let (kind, controller) = (&RequestKind::PodCreate, running.controller.as_ref());
                let question = Question { kind, pod: &pod, controller, requester_is_trusted: true };
                ask(&inventory.facts_for(question, &[]))
            }
        }
    }
}

impl Answer {
    /// What a new pod of this origin gets.
    pub fn of(origin: &Origin, inventory: &Inventory, now: Timestamp) -> Self {
        origin.about(inventory, |facts| Self::to(facts, now))
    }

    /// What a new pod with these facts gets.
    pub fn to(facts: &Facts<'_>, now: Timestamp) -> Self {
        let decision = decide(facts, now);
        let consequence = consequence(facts, &decision);
        Self {
            action: decision.action.as_str(),
            rule: (&decision.rule).into(),
            reason: decision.rule.sentence().to_string(),
            effect: (&consequence.effect).into(),
            patch: patch(facts.pod, facts.settings.mesh, &consequence.marks),
            marks: consequence.marks,
        }
    }

    /// Whether a new pod is the same, apart from the receipt, which names the rule.
    fn is_same(&self, other: &Self) -> bool {
        let told = |answer: &Self| (answer.action, answer.effect.outcome, answer.effect.revision.clone());
        let written = |marks: &Marks| {
            let Marks { marker, legacy, revision, receipt: _ } = marks.clone();
            (marker, legacy, revision)
        };
        told(self) == told(other) && written(&self.marks) == written(&other.marks)
    }

    fn becomes(&self, after: &Self, outcome: Outcome) -> bool {
        after.effect.outcome == outcome && self.effect.outcome != outcome
    }
}

impl Preview {
    /// Compares what each of these gets before and after.
    pub fn of<'o>(answers: impl Iterator<Item = (&'o Origin, Answer, Answer)>) -> Self {
        let mut summary = Summary { pods: Some(0), changed_pods: Some(0), ..Summary::default() };
        let mut namespaces: BTreeMap<&str, Vec<Difference>> = BTreeMap::new();
        let sum = |sum: Option<usize>, more: Option<usize>| sum.zip(more).map(|(sum, more)| sum + more);
        for (origin, before, after) in answers {
            summary.workloads += 1;
            summary.pods = sum(summary.pods, origin.pods);
            if before.is_same(&after) {
                summary.other_rule += usize::from(before.rule != after.rule);
                continue;
            }
            summary.changed += 1;
            summary.changed_pods = sum(summary.changed_pods, origin.pods);
            summary.gaining += usize::from(before.becomes(&after, Outcome::Injected));
            summary.losing += usize::from(after.becomes(&before, Outcome::Injected));
            summary.unreachable += usize::from(before.becomes(&after, Outcome::Unreachable));
            let (kind, name) = (sanitized(origin.kind()), sanitized(origin.name()));
            let difference = Difference { kind, name, pods: origin.pods, before, after };
            namespaces.entry(origin.namespace()).or_default().push(difference);
        }
        summary.changed_pods = summary.changed_pods.filter(|_| summary.pods.is_some());
        let of_namespace =
            |(name, workloads): (&str, Vec<Difference>)| OfNamespace { namespace: sanitized(name), workloads };
        Self { summary, namespaces: namespaces.into_iter().map(of_namespace).collect() }
    }
}
