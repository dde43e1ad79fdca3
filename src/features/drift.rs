//! Drift: running pods whose sidecar is not what a new pod of the same workload would get today.
//!
//! Excused, and no drift: pods of an older template while a roll-out replaces them, and those that a suspension keeps others
//! from being like, which ends by itself. Pods that are being deleted, or have run to their end, do not count at all.
//! Cost: one decision for each workload that has pods.

pub mod since;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::decision::effect::{Consequence, Outcome, consequence};
use crate::decision::facts::{Facts, Owner, RunningPod};
use crate::decision::reason::Rule;
use crate::decision::{Decision, decide};
use crate::features::preview::comparison::{Origin, origins_with};
use crate::features::status::difference::{differs, key_of};
use crate::features::status::running::{RunningPods, WorkloadKey};
use crate::kernel::text::sanitized;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rule_kind::{RuleKind, RuleName};
use since::{Ages, Since};

/// So long after its newest pod was created a roll-out is taken to go on; one that is stuck for longer excuses nothing.
const ROLL_OUT: SignedDuration = SignedDuration::from_mins(10);
/// By this label the pods of a StatefulSet or a DaemonSet tell of their template; others by the owner in between.
const REVISION_HASH: &str = "controller-revision-hash";

/// What is found at one instant.
#[derive(Debug, Default)]
pub struct Found {
    /// The workloads that have pods which differ, in order of namespaces, kinds and names.
    pub drifts: Vec<Drift>,
    /// The pods that run.
    pub running: RunningPods,
    /// The first instant at which the answer changes though nothing happens.
    pub changes_at: Option<Timestamp>,
}

/// The drift of one workload, or of a pod that no known workload made.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// The object whose pods these are.
    pub subject: Subject,
    /// What a new pod would get.
    pub expected: Expected,
    /// How many pods run.
    pub pods: usize,
    /// Those of them that differ.
    pub differing: Vec<Arc<RunningPod>>,
    /// How many of those were certainly created since it was decided as it is now.
    pub missed: usize,
    /// How many more differ and are excused.
    pub excused: usize,
    /// Whether pods like these come back when they are evicted, and what they get is ours to say.
    pub comes_back: bool,
}

/// An object, as others have to name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its namespace, kind and name.
    pub key: WorkloadKey,
    /// The group and version of its kind.
    pub api_version: String,
    /// Its UID.
    pub uid: Box<str>,
}

/// What a new pod would get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Whether it would get a sidecar.
    pub outcome: Outcome,
    /// The revision that its sidecar would be of.
    pub revision: Option<Box<str>>,
    /// Why, in one sentence.
    pub because: String,
    /// The policy that says so, where one does.
    pub policy: Option<(RuleKind, RuleName)>,
}

/// Every drift at this instant; nothing while that cannot be told.
pub fn drifting(inventory: &Inventory, now: Timestamp) -> Option<Found> {
    let is_known = inventory.pods.is_synced() && inventory.synced().iter().all(|(_, synced)| *synced);
    if !is_known {
        return None;
    }
    let running = RunningPods::of(inventory);
    let mut looking = Looking { inventory, now, drifts: Vec::new(), changes_at: None };
    for (_, period) in inventory.standings.suspensions() {
        looking.changes_at(period.map(|period| period.starts_at));
        looking.changes_at(period.and_then(|period| period.ends_at));
    }
    for origin in origins_with(inventory, &running) {
        let pods = origin.running(&running);
        if !pods.is_empty() {
            origin.about(inventory, |facts| looking.look_at(&origin, facts, pods));
        }
    }
    let Looking { drifts, changes_at, .. } = looking;
    Some(Found { drifts, running, changes_at })
}

/// Whether this pod of the workload of this UID still differs, for certain and by a rule that is ours to carry out.
pub fn still_drifts(inventory: &Inventory, workload: &str, pod: &str, now: Timestamp) -> bool {
    let Some(pod) = inventory.pods.get(pod).filter(|pod| !pod.is_leaving) else { return false };
    let Some(workload) = inventory.owners.get(workload) else { return false };
    let Some(template) = &workload.template else { return false };
    let facts = inventory.facts_for_template(&workload, template);
    let decision = decide(&facts, now);
    let is_ours = match decision.rule {
        Rule::Override(_) | Rule::Policy(_) | Rule::Nothing => true,
        Rule::Safety(_) | Rule::Suspension(_) | Rule::Unknown(..) => false,
    };
    is_ours && differs(&pod, &facts, &consequence(&facts, &decision))
}

struct Looking<'l> {
    inventory: &'l Inventory,
    now: Timestamp,
    drifts: Vec<Drift>,
    changes_at: Option<Timestamp>,
}

impl Looking<'_> {
    fn look_at(&mut self, origin: &Origin, facts: &Facts<'_>, pods: &[Arc<RunningPod>]) {
        let decision = decide(facts, self.now);
        self.changes_at(decision.until);
        if let Rule::Unknown(..) = decision.rule {
            return;
        }
        let follows = consequence(facts, &decision);
        let differ: Vec<_> = pods.iter().filter(|pod| differs(pod, facts, &follows)).cloned().collect();
        let Some(first) = differ.first() else { return };
        let Some(subject) = self.subject(origin, first) else { return };
        let (differing, excused) = match decision.rule {
            Rule::Suspension(_) => (Vec::new(), differ.len()),
            _ => self.not_rolled_out(origin, pods, differ),
        };
        let Ages { missed, .. } = Since::of(self.inventory, facts, &decision, &follows).ages(&differing);
        let comes_back = origin.workload().is_some_and(|workload| !makes_jobs(workload));
        self.drifts.push(Drift {
            subject,
            expected: Expected::of(&decision, &follows),
            pods: pods.len(),
            differing,
            missed,
            excused,
            comes_back: comes_back && !matches!(decision.rule, Rule::Safety(_)),
        });
    }

    /// Those of these pods that no roll-out is about to replace, and how many it is.
    fn not_rolled_out(
        &mut self,
        origin: &Origin,
        pods: &[Arc<RunningPod>],
        differing: Vec<Arc<RunningPod>>,
    ) -> (Vec<Arc<RunningPod>>, usize) {
        let rolls_out = origin.workload().is_some_and(|workload| !makes_jobs(workload));
        let newest = pods.iter().filter_map(|pod| pod.created_at).max();
        let Some(newest) = newest.filter(|newest| rolls_out && self.now < *newest + ROLL_OUT) else {
            return (differing, 0);
        };
        let is_newest = |pod: &&Arc<RunningPod>| pod.created_at == Some(newest);
        let is_fine = |pod: &&Arc<RunningPod>| !differing.iter().any(|other| other.uid == pod.uid);
        // Times are told in whole seconds: of two templates in one, that counts whose pods are as new ones would be.
        let of_newest = || pods.iter().filter(is_newest);
        let fine: HashSet<_> = of_newest().filter(is_fine).map(|pod| made_by(pod)).collect();
        let current = if fine.is_empty() { of_newest().map(|pod| made_by(pod)).collect() } else { fine };
        let all = differing.len();
        let (kept, replaced): (Vec<_>, Vec<_>) = differing.into_iter().partition(|pod| current.contains(&made_by(pod)));
        if !replaced.is_empty() {
            self.changes_at(Some(newest + ROLL_OUT));
        }
        let excused = all - kept.len();
        (kept, excused)
    }

    fn subject(&self, origin: &Origin, pod: &RunningPod) -> Option<Subject> {
        let Some(Owner { group, kind, name, namespace, .. }) = origin.workload().map(Arc::as_ref) else {
            let key = (pod.pod.namespace.as_ref().into(), "Pod".into(), pod.name.clone());
            return Some(Subject { key, api_version: "v1".to_owned(), uid: pod.uid.clone() });
        };
        let version = self.inventory.owner_kinds.named(group, kind).map(|known| known.version.as_str())?;
        let slash = if group.is_empty() { "" } else { "/" };
        Some(Subject {
            key: (namespace.clone(), kind.clone(), name.clone()),
            api_version: format!("{group}{slash}{version}"),
            uid: self.inventory.reference_of_workload(pod)?.uid,
        })
    }

    fn changes_at(&mut self, instant: Option<Timestamp>) {
        self.changes_at = [self.changes_at, instant].into_iter().flatten().filter(|instant| *instant > self.now).min();
    }
}

/// Whether a workload's pods are those of Jobs, of which none is made again.
fn makes_jobs(workload: &Owner) -> bool {
    *workload.group == *"batch"
}

/// What tells the template that made a pod from an earlier one of the same workload.
fn made_by(pod: &RunningPod) -> (Option<&str>, Option<&str>) {
    (pod.controller.as_ref().map(|owner| &*owner.uid), pod.pod.label(REVISION_HASH))
}

impl Subject {
    /// How sentences name it.
    pub fn named(&self) -> String {
        let (namespace, kind, name) = &self.key;
        format!("{} {}/{}", sanitized(kind), sanitized(namespace), sanitized(name))
    }
}

impl Expected {
    fn of(decision: &Decision<'_>, follows: &Consequence<'_>) -> Self {
        let Consequence { effect, .. } = follows;
        let because = match decision.rule {
            Rule::Nothing => effect.why.to_string(),
            _ => decision.rule.sentence().to_string(),
        };
        let policy = match decision.rule {
            Rule::Policy(policy) => Some(key_of(policy)),
            _ => None,
        };
        let revision = effect.entry().and_then(|entry| entry.revision.clone());
        Self { outcome: effect.outcome, revision, because, policy }
    }
}

impl Drift {
    /// What the pods have, and what a new one would get, in one sentence.
    pub fn sentence(&self) -> String {
        let Self { expected: Expected { outcome, revision, because, .. }, pods, differing, missed, .. } = self;
        let has = |count: usize| if count == 1 { "has" } else { "have" };
        let mut by_revision: BTreeMap<&str, usize> = BTreeMap::new();
        let with = differing.iter().filter_map(|pod| pod.sidecar.as_ref());
        for sidecar in with {
            *by_revision.entry(sidecar.revision.as_deref().unwrap_or_default()).or_default() += 1;
        }
        let with: usize = by_revision.values().sum();
        let without = differing.len() - with;
        let mut parts = Vec::new();
        let mut part = |count: usize, what: &str| {
            let of = if parts.is_empty() { format!(" of {pods} pods") } else { String::new() };
            parts.push(format!("{count}{of} {} {what}", has(count)));
        };
        if without > 0 {
            part(without, "no sidecar");
        }
        match outcome {
            Outcome::Injected => by_revision
                .iter()
                .for_each(|(revision, count)| part(*count, &format!("a sidecar of revision {}", sanitized(revision)))),
            Outcome::NotInjected | Outcome::Unreachable | Outcome::Unknown if with > 0 => part(with, "a sidecar"),
            Outcome::NotInjected | Outcome::Unreachable | Outcome::Unknown => {}
        }
        let gets = match (outcome, revision.as_ref().filter(|_| with > 0)) {
            (Outcome::Injected, Some(revision)) => format!("one of revision {revision}"),
            (Outcome::Injected, None) => "one".to_owned(),
            (Outcome::NotInjected | Outcome::Unreachable | Outcome::Unknown, _) => "none".to_owned(),
        };
        let since = if *missed == 0 {
            String::new()
        } else {
            format!("; {missed} created since that was decided: {}", Ages::unasked(*outcome))
        };
        format!("{}; a new pod would get {gets}: {because}{since}", parts.join(", "))
    }
}
