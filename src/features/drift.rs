//! Drift: running pods whose sidecar is not what a new pod of the same workload would get today.
//!
//! Excused pods are no drift: pods of an older template while a roll-out replaces them, and pods of a suspended workload, because
//! the suspension ends by itself. Pods that are being deleted, or have run to their end, do not count at all.
//! Cost: one decision for each workload that has pods.

pub mod age;
mod sentence;

use std::collections::HashSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::decision::effect::{Consequence, EffectOutcome, consequence};
use crate::decision::facts::{Facts, Owner, RunningPod};
use crate::decision::reason::DecisionRule;
use crate::decision::{Decision, decide};
use crate::features::pod_source::{PodSource, pod_sources_with};
use crate::features::status::comparison::{PodComparison, differs};
use crate::features::status::running::{RunningPods, WorkloadKey};
use crate::kernel::text::sanitize;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind};
use age::{AgeCounts, DecisionHistory, policy_key};

/// Time after the creation of its newest pod for which a roll-out is taken to continue. A stuck one excuses nothing.
const ROLL_OUT_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);
/// Label by which pods of a StatefulSet or a DaemonSet name their template. Others name it by the owner in between.
const REVISION_HASH: &str = "controller-revision-hash";

/// Drift of the whole cluster at one instant.
#[derive(Debug, Default)]
pub struct DriftScan {
    /// Workloads with differing pods, in order of namespaces, kinds and names.
    pub drifts: Vec<Drift>,
    /// Running pods at that instant.
    pub running: RunningPods,
    /// First instant at which the result changes by itself.
    pub changes_at: Option<Timestamp>,
}

/// Drift of one workload, or of a pod that no known workload made.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// Object that the pods belong to.
    pub subject: DriftSubject,
    pub expected: ExpectedSidecar,
    pub pods: usize,
    /// Running pods that differ and are not excused.
    pub differing: Vec<Arc<RunningPod>>,
    /// Number of differing pods that were certainly created under the present decision.
    pub missed: usize,
    /// Number of further pods that differ and are excused.
    pub excused: usize,
    /// True where evicted pods come back, and what they get is ours to decide.
    pub is_repairable: bool,
}

/// Reference to the object that drifts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftSubject {
    pub key: WorkloadKey,
    pub api_version: String,
    pub uid: Box<str>,
}

/// Sidecar that a new pod would get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedSidecar {
    pub outcome: EffectOutcome,
    pub revision: Option<Box<str>>,
    pub reason: String,
    /// Policy that decides, if a policy does.
    pub policy: Option<(RuleKind, NamespacedName)>,
}

/// Finds every drift at this instant. `None` while the caches have not synced.
pub fn scan_drift(inventory: &Inventory, now: Timestamp) -> Option<DriftScan> {
    if !inventory.is_synced() || !inventory.pods.is_synced() {
        return None;
    }
    let running = RunningPods::from_inventory(inventory);
    let mut scanner = DriftScanner { inventory, now, drifts: Vec::new(), changes_at: None };
    for (_, period) in inventory.rule_records.suspensions() {
        scanner.note_change_at(period.map(|period| period.starts_at));
        scanner.note_change_at(period.and_then(|period| period.ends_at));
    }
    for origin in pod_sources_with(inventory, &running) {
        let pods = origin.running_pods(&running);
        if !pods.is_empty() {
            origin.with_facts(inventory, |facts| scanner.scan_origin(&origin, facts, pods));
        }
    }
    let DriftScanner { drifts, changes_at, .. } = scanner;
    Some(DriftScan { drifts, running, changes_at })
}

/// Returns whether a pod of a workload, both given by UID, still differs for certain, by a rule that is ours to carry out.
pub fn is_still_drifting(inventory: &Inventory, workload: &str, pod: &str, now: Timestamp) -> bool {
    let Some(pod) = inventory.pods.get(pod).filter(|pod| !pod.is_terminating) else { return false };
    let Some(workload) = inventory.owners.get(workload) else { return false };
    let Some(template) = &workload.template else { return false };
    let facts = inventory.facts_for_template(&workload, template);
    let decision = decide(&facts, now);
    let is_ours = match decision.rule {
        DecisionRule::Override(_) | DecisionRule::Policy(_) | DecisionRule::Nothing => true,
        DecisionRule::Safety(_) | DecisionRule::Suspension(_) | DecisionRule::Unknown(..) => false,
    };
    is_ours && differs(&pod, &facts, &consequence(&facts, &decision))
}

struct DriftScanner<'l> {
    inventory: &'l Inventory,
    now: Timestamp,
    drifts: Vec<Drift>,
    changes_at: Option<Timestamp>,
}

impl DriftScanner<'_> {
    fn scan_origin(&mut self, origin: &PodSource, facts: &Facts<'_>, pods: &[Arc<RunningPod>]) {
        let decision = decide(facts, self.now);
        self.note_change_at(decision.until);
        if let DecisionRule::Unknown(..) = decision.rule {
            return;
        }
        let consequence = consequence(facts, &decision);
        let differ: Vec<_> = PodComparison::compare(pods, facts, &consequence).differing.into_iter().cloned().collect();
        let Some(first) = differ.first() else { return };
        let Some(subject) = self.subject_of(origin, first) else { return };
        let (differing, excused) = match decision.rule {
            DecisionRule::Suspension(_) => (Vec::new(), differ.len()),
            _ => self.exclude_roll_out(origin, pods, differ),
        };
        let AgeCounts { missed, .. } =
            DecisionHistory::new(self.inventory, facts, &decision, &consequence).count_ages(&differing);
        let comes_back = origin.workload().is_some_and(|workload| !makes_jobs(workload));
        self.drifts.push(Drift {
            subject,
            expected: ExpectedSidecar::new(&decision, &consequence),
            pods: pods.len(),
            differing,
            missed,
            excused,
            is_repairable: comes_back && !matches!(decision.rule, DecisionRule::Safety(_)),
        });
    }

    /// Splits off the pods that a roll-out is about to replace. Returns the others, and the number of pods split off.
    fn exclude_roll_out(
        &mut self,
        origin: &PodSource,
        pods: &[Arc<RunningPod>],
        differing: Vec<Arc<RunningPod>>,
    ) -> (Vec<Arc<RunningPod>>, usize) {
        let rolls_out = origin.workload().is_some_and(|workload| !makes_jobs(workload));
        let newest = pods.iter().filter_map(|pod| pod.created_at).max();
        let Some(newest) = newest.filter(|newest| rolls_out && self.now < *newest + ROLL_OUT_TIMEOUT) else {
            return (differing, 0);
        };
        let is_newest = |pod: &&Arc<RunningPod>| pod.created_at == Some(newest);
        let is_fine = |pod: &&Arc<RunningPod>| !differing.iter().any(|other| other.uid == pod.uid);
        // Times are in whole seconds. Of two templates in the same second, the one whose pods do not differ is the current one.
        let of_newest = || pods.iter().filter(is_newest);
        let fine: HashSet<_> = of_newest().filter(is_fine).map(|pod| template_identity(pod)).collect();
        let current = if fine.is_empty() { of_newest().map(|pod| template_identity(pod)).collect() } else { fine };
        let all = differing.len();
        let (kept, replaced): (Vec<_>, Vec<_>) =
            differing.into_iter().partition(|pod| current.contains(&template_identity(pod)));
        if !replaced.is_empty() {
            self.note_change_at(Some(newest + ROLL_OUT_TIMEOUT));
        }
        let excused = all - kept.len();
        (kept, excused)
    }

    fn subject_of(&self, origin: &PodSource, pod: &RunningPod) -> Option<DriftSubject> {
        let Some(Owner { group, kind, name, namespace, .. }) = origin.workload().map(Arc::as_ref) else {
            let key = (pod.pod.namespace.as_ref().into(), "Pod".into(), pod.name.clone());
            return Some(DriftSubject { key, api_version: "v1".to_owned(), uid: pod.uid.clone() });
        };
        let version = self.inventory.owner_kinds.find(group, kind).map(|known| known.version.as_str())?;
        let slash = if group.is_empty() { "" } else { "/" };
        Some(DriftSubject {
            key: (namespace.clone(), kind.clone(), name.clone()),
            api_version: format!("{group}{slash}{version}"),
            uid: self.inventory.workload_reference(pod)?.uid,
        })
    }

    fn note_change_at(&mut self, instant: Option<Timestamp>) {
        self.changes_at = [self.changes_at, instant].into_iter().flatten().filter(|instant| *instant > self.now).min();
    }
}

/// Returns whether the pods of a workload belong to Jobs, which never replace an evicted pod.
fn makes_jobs(workload: &Owner) -> bool {
    *workload.group == *"batch"
}

/// Returns what distinguishes the template of a pod from an earlier template of the same workload.
fn template_identity(pod: &RunningPod) -> (Option<&str>, Option<&str>) {
    (pod.controller.as_ref().map(|owner| &*owner.uid), pod.pod.label(REVISION_HASH))
}

impl DriftSubject {
    /// Names the object as sentences do: `Deployment shop/web`.
    pub fn display_name(&self) -> String {
        let (namespace, kind, name) = &self.key;
        format!("{} {}/{}", sanitize(kind), sanitize(namespace), sanitize(name))
    }
}

impl ExpectedSidecar {
    fn new(decision: &Decision<'_>, consequence: &Consequence<'_>) -> Self {
        let Consequence { effect, .. } = consequence;
        let because = match decision.rule {
            DecisionRule::Nothing => effect.reason.to_string(),
            _ => decision.rule.sentence().to_string(),
        };
        let policy = match decision.rule {
            DecisionRule::Policy(policy) => Some(policy_key(policy)),
            _ => None,
        };
        let revision = effect.entry().and_then(|entry| entry.revision.clone());
        Self { outcome: effect.outcome, revision, reason: because, policy }
    }
}
