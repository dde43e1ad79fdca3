//! One decision told in full: every rule considered, what is written, what the injector makes of it.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use json_patch::PatchOperation;
use schemars::JsonSchema;
use serde::Serialize;

use crate::decision::effect::{Effect, Outcome, consequence};
use crate::decision::facts::{Facts, Owner, RequestKind, RunningPod};
use crate::decision::patch::patch;
use crate::decision::policy::{Match, Policy};
use crate::decision::reason;
use crate::decision::{Decision, decide};
use crate::features::status::running::{Counts, RunningPods};
use crate::kernel::text::{Clean, sanitized};
use crate::kubernetes::inventory::{Inventory, Question};

/// A decision about one pod, and what follows from it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Explanation {
    /// The pod.
    pub pod: PodName,
    /// The pod's workload; null for a bare pod.
    pub workload: Option<WorkloadName>,
    /// What is decided.
    pub decision: Told,
    /// What the injector will do.
    pub effect: EffectTold,
    /// What is written on the pod, as a JSON Patch.
    pub patch: Vec<PatchOperation>,
    /// What the workload's running pods have, where pods are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<Counts>,
}

/// A pod's name; null where the API server will make one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: Option<String>,
}

/// A workload's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WorkloadName {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Decision")]
pub struct Told {
    /// What is to happen.
    pub action: &'static str,
    /// The rule that won.
    pub rule: RuleName,
    /// Why, in one sentence.
    pub reason: String,
    /// Until when that holds, where the rule itself ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Every rule considered.
    pub considered: Vec<Considered>,
}

/// How a rule is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RuleName {
    /// `Safety`, `Suspension`, `Override`, `Policy` or `None`.
    pub kind: &'static str,
    /// Its name among its kind.
    pub name: String,
    /// Its namespace, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A rule that was considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ConsideredRule")]
pub struct Considered {
    /// The rule.
    pub rule: RuleName,
    /// What became of it, in one word.
    pub outcome: &'static str,
    /// Why.
    pub reason: String,
    /// How the rule calls itself in a sentence.
    #[serde(skip)]
    pub title: String,
}

/// What the injector will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Effect")]
pub struct EffectTold {
    /// In one word.
    #[serde(serialize_with = "word")]
    #[schemars(with = "String")]
    pub outcome: Outcome,
    /// Why, in one sentence.
    pub reason: String,
    /// The webhook entry that is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// The revision of the control plane that it leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

impl Explanation {
    /// Decides about these facts at this instant, and tells everything.
    pub fn of(facts: &Facts<'_>, now: Timestamp) -> Self {
        let decision = decide(facts, now);
        let mut all = decision.considered.clone();
        all.extend(passed_by(facts, &decision));
        let consequence = consequence(facts, &decision);
        let considered = all.iter().map(|one| Considered {
            rule: (&one.rule).into(),
            outcome: one.outcome.as_str(),
            reason: one.outcome.to_string(),
            title: one.rule.to_string(),
        });
        Self {
            pod: PodName { namespace: sanitized(&facts.pod.namespace), name: facts.pod.name.as_deref().map(sanitized) },
            workload: facts
                .owners
                .workload()
                .map(|owner| WorkloadName { kind: sanitized(&owner.kind), name: sanitized(&owner.name) }),
            decision: Told {
                action: decision.action.as_str(),
                rule: (&decision.rule).into(),
                reason: decision.rule.sentence().to_string(),
                until: decision.until,
                considered: considered.collect(),
            },
            effect: (&consequence.effect).into(),
            patch: patch(facts.pod, facts.settings.mesh, &consequence.marks),
            running: None,
        }
    }

    /// What a new pod of this workload would get, beside what its running pods have.
    pub fn of_workload(inventory: &Inventory, workload: &Arc<Owner>, running: &RunningPods, now: Timestamp) -> Self {
        let template = workload.template.as_deref().expect("a workload has a template");
        let facts = inventory.facts_for_template(workload, template);
        let pods = inventory.pods.is_synced().then(|| running.of_workload(workload));
        Self::of(&facts, now).beside(pods, &facts, now)
    }

    /// What a pod would get that were created now as this one was.
    pub fn of_running(inventory: &Inventory, running: &Arc<RunningPod>, now: Timestamp) -> Self {
        let pod = running.as_asked();
        let controller = running.controller.as_ref();
        let question = Question { kind: &RequestKind::PodCreate, pod: &pod, controller, requester_is_trusted: true };
        let facts = inventory.facts_for(question, &[]);
        Self::of(&facts, now).beside(Some(std::slice::from_ref(running)), &facts, now)
    }

    /// The same beside what these running pods have.
    fn beside(self, pods: Option<&[Arc<RunningPod>]>, facts: &Facts<'_>, now: Timestamp) -> Self {
        let follows = consequence(facts, &decide(facts, now));
        Self { running: pods.map(|pods| Counts::of(pods, facts, &follows)), ..self }
    }
}

/// The policies that a decision does not even look at, because their namespaces or workloads tell that they cannot match.
fn passed_by<'f>(facts: &'f Facts<'_>, decision: &Decision<'f>) -> Vec<reason::Considered<'f>> {
    let Ok((policies, _)) = &facts.policies else { return Vec::new() };
    if matches!(decision.rule, reason::Rule::Safety(_)) {
        return Vec::new();
    }
    let looked_at: HashSet<*const Policy> = decision
        .considered
        .iter()
        .filter_map(|one| match &one.rule {
            reason::Rule::Policy(policy) => Some(std::ptr::from_ref(*policy)),
            _ => None,
        })
        .collect();
    let can_be_meant = |policy: &&Policy| policy.namespace.as_deref().is_none_or(|own| *own == *facts.pod.namespace);
    let others =
        policies.all().iter().filter(can_be_meant).filter(|one| !looked_at.contains(&std::ptr::from_ref(*one)));
    let considered = others.filter_map(|policy| match policy.matching.matches(facts) {
        Match::No(part) => {
            Some(reason::Considered { rule: reason::Rule::Policy(policy), outcome: reason::Outcome::NoMatch(part) })
        }
        Match::Yes | Match::Unknown(_) => None,
    });
    considered.collect()
}

impl From<&reason::Rule<'_>> for RuleName {
    fn from(rule: &reason::Rule<'_>) -> Self {
        let namespace = rule.namespace().map(|namespace| Clean(namespace).to_string());
        Self { kind: rule.kind(), name: Clean(&rule.name()).to_string(), namespace }
    }
}

impl From<&Effect<'_>> for EffectTold {
    fn from(effect: &Effect<'_>) -> Self {
        let entry = effect.entry();
        Self {
            outcome: effect.outcome,
            reason: effect.why.to_string(),
            webhook: entry.map(|entry| entry.webhook.to_string()),
            revision: entry.and_then(|entry| entry.revision.as_deref()).map(str::to_owned),
        }
    }
}

fn word<S: serde::Serializer>(outcome: &Outcome, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(outcome.as_str())
}
