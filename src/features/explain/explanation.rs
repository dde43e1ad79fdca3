//! Explanation of a decision in full: every rule considered, the patch, and the effect of the injector.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use json_patch::PatchOperation;
use schemars::JsonSchema;
use serde::Serialize;

use crate::decision::effect::consequence;
use crate::decision::facts::{Facts, Owner, RunningPod};
use crate::decision::patch::marks_patch;
use crate::decision::policy::{MatchResult, Policy};
use crate::decision::{Decision, decide, reason};
use crate::features::new_pod::{EffectSummary, RuleRef};
use crate::features::status::running::{PodCounts, RunningPods};
use crate::kernel::text::sanitize;
use crate::kubernetes::inventory::Inventory;

/// Decision about one pod, with every rule considered, and its effect.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Explanation {
    /// Pod that is decided about.
    pub pod: PodName,
    /// Workload of the pod; null if it has none.
    pub workload: Option<ExplainedWorkload>,
    /// Decision and its reason.
    pub decision: DecisionSummary,
    /// Effect of the injector.
    pub effect: EffectSummary,
    /// Changes to the pod, as a JSON Patch.
    pub patch: Vec<PatchOperation>,
    /// Sidecars of the running pods; absent if pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<PodCounts>,
}

/// Namespace and name of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PodName {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod; null if the API server will make one.
    pub name: Option<String>,
}

/// Kind and name of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "WorkloadName")]
pub struct ExplainedWorkload {
    /// Kind of the workload.
    pub kind: String,
    /// Name of the workload.
    pub name: String,
}

/// Decision about a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Decision")]
pub struct DecisionSummary {
    /// Action that is decided.
    pub action: &'static str,
    /// Rule that decides.
    pub rule: RuleRef,
    /// Reason, in one sentence.
    pub reason: String,
    /// End of the decision; absent if its rule has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Rules that were considered, in order.
    pub considered: Vec<ExplainedRule>,
}

/// Rule that was considered, and its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ConsideredRule")]
pub struct ExplainedRule {
    /// Name of the rule.
    pub rule: RuleRef,
    /// Outcome, in one word.
    pub outcome: &'static str,
    /// Reason of the outcome.
    pub reason: String,
    /// Title of the rule in sentences.
    #[serde(skip)]
    pub title: String,
}

impl Explanation {
    /// Decides about these facts at this instant, and keeps every rule considered.
    pub fn from_facts(facts: &Facts<'_>, now: Timestamp) -> Self {
        let decision = decide(facts, now);
        let mut all = decision.considered.clone();
        all.extend(unconsidered_policies(facts, &decision));
        let consequence = consequence(facts, &decision);
        let considered = all.iter().map(|one| ExplainedRule {
            rule: (&one.rule).into(),
            outcome: one.outcome.as_str(),
            reason: one.outcome.to_string(),
            title: one.rule.to_string(),
        });
        Self {
            pod: PodName { namespace: sanitize(&facts.pod.namespace), name: facts.pod.name.as_deref().map(sanitize) },
            workload: facts
                .owners
                .workload()
                .map(|owner| ExplainedWorkload { kind: sanitize(&owner.kind), name: sanitize(&owner.name) }),
            decision: DecisionSummary {
                action: decision.action.as_str(),
                rule: (&decision.rule).into(),
                reason: decision.rule.sentence().to_string(),
                until: decision.until,
                considered: considered.collect(),
            },
            effect: (&consequence.effect).into(),
            patch: marks_patch(facts.pod, facts.settings.mesh, &consequence.marks),
            running: None,
        }
    }

    /// Explains the next new pod of this workload, and counts its running pods where pods are known.
    pub fn for_workload(inventory: &Inventory, workload: &Arc<Owner>, running: &RunningPods, now: Timestamp) -> Self {
        let pods = inventory.pods.is_synced().then(|| running.pods_of(workload));
        inventory.with_new_pod_facts(workload, |facts| Self::from_facts(facts, now).with_running(pods, facts, now))
    }

    /// Explains a pod that would be created now as this running pod was.
    pub fn for_running_pod(inventory: &Inventory, running: &Arc<RunningPod>, now: Timestamp) -> Self {
        let pods = Some(std::slice::from_ref(running));
        inventory.with_running_pod_facts(running, |facts| Self::from_facts(facts, now).with_running(pods, facts, now))
    }

    /// Adds the counts of these running pods; `None` where pods are not known.
    fn with_running(self, pods: Option<&[Arc<RunningPod>]>, facts: &Facts<'_>, now: Timestamp) -> Self {
        let follows = consequence(facts, &decide(facts, now));
        Self { running: pods.map(|pods| PodCounts::count(pods, facts, &follows)), ..self }
    }
}

/// Returns the policies that the decision did not look at, since an index by namespace and workload rules them out.
fn unconsidered_policies<'f>(facts: &'f Facts<'_>, decision: &Decision<'f>) -> Vec<reason::EvaluatedRule<'f>> {
    let Ok((policies, _)) = &facts.policies else { return Vec::new() };
    if matches!(decision.rule, reason::DecisionRule::Safety(_)) {
        return Vec::new();
    }
    let looked_at: HashSet<*const Policy> = decision
        .considered
        .iter()
        .filter_map(|one| match &one.rule {
            reason::DecisionRule::Policy(policy) => Some(std::ptr::from_ref(*policy)),
            _ => None,
        })
        .collect();
    let can_apply = |policy: &&Policy| policy.namespace.as_deref().is_none_or(|own| *own == *facts.pod.namespace);
    let others = policies.all().iter().filter(can_apply).filter(|one| !looked_at.contains(&std::ptr::from_ref(*one)));
    let considered = others.filter_map(|policy| match policy.matcher.matches(facts) {
        MatchResult::No(part) => Some(reason::EvaluatedRule {
            rule: reason::DecisionRule::Policy(policy),
            outcome: reason::RuleOutcome::NoMatch(part),
        }),
        MatchResult::Yes | MatchResult::Unknown(_) => None,
    });
    considered.collect()
}
