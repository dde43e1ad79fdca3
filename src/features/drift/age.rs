//! Age of a decision compared with the age of pods: whether a webhook missed a differing pod, or the pod is older.
//!
//! The receipt of a pod says what was decided for it. A pod without a receipt is dated by its creation, and compared with the
//! last write of everything that the decision depends on, as far as the API server records it.
//! Limits: times are in whole seconds. The API server does not record when a label was removed; only a watch sees that.
//! A deleted rule is known by receipts alone. Earlier configurations of an injector are not known at all.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::decision::Decision;
use crate::decision::effect::{Consequence, EffectOutcome};
use crate::decision::facts::{Facts, RunningPod};
use crate::decision::policy::{PodMatcher, Policy};
use crate::decision::reason::{DecisionRule, OverrideSource, RuleOutcome};
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind};

/// History of the present decision for the pods of one source.
#[derive(Debug)]
pub(crate) struct DecisionHistory<'s> {
    outcome: EffectOutcome,
    /// Receipt that a new pod gets.
    receipt: Option<&'s str>,
    /// Last write of the winning rule.
    written_at: Option<Timestamp>,
    /// Latest time from which the decision has certainly been what it is.
    settled_at: Option<Timestamp>,
}

/// Number of differing pods by cause; the cause of the others is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AgeCounts {
    /// Pods created under the present decision.
    pub(crate) missed: usize,
    /// Pods created under an earlier, different decision.
    pub(crate) older: usize,
}

/// Webhook that missed a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MissedWebhook {
    /// Ours or the injector's.
    Any,
    Ours,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PodAge {
    Missed,
    Older,
    Unknown,
}

impl<'s> DecisionHistory<'s> {
    /// Collects the history of this decision, which has this consequence.
    pub(crate) fn new(
        inventory: &Inventory,
        facts: &'s Facts<'_>,
        decision: &Decision<'_>,
        consequence: &'s Consequence<'_>,
    ) -> Self {
        let written_at = rule_written_at(inventory, &decision.rule);
        let brought = facts.pod.receipt().map(|receipt| receipt.0);
        Self {
            outcome: consequence.effect.outcome,
            receipt: consequence.marks.receipt.apply_to(brought),
            written_at,
            settled_at: written_at.and_then(|written_at| settled_at(written_at, facts, decision)),
        }
    }

    /// Counts these differing pods by cause.
    pub(crate) fn count_ages<'p>(&self, pods: impl IntoIterator<Item = &'p Arc<RunningPod>>) -> AgeCounts {
        let mut ages = AgeCounts::default();
        for pod in pods {
            match self.age_of(pod) {
                PodAge::Missed => ages.missed += 1,
                PodAge::Older => ages.older += 1,
                PodAge::Unknown => {}
            }
        }
        ages
    }

    fn age_of(&self, pod: &RunningPod) -> PodAge {
        // A sidecar of another revision may be the one that the revision's name led to when the pod was created.
        let is_opposite = pod.sidecar.is_none() == (self.outcome == EffectOutcome::Injected);
        let Some(receipt) = pod.pod.receipt() else { return self.age_by_time(pod.created_at, is_opposite) };
        if Some(receipt.0) != self.receipt {
            return PodAge::Older;
        }
        // The receipt proves that we were called, so the injector was not.
        if is_opposite && self.outcome == EffectOutcome::Injected { PodAge::Missed } else { PodAge::Unknown }
    }

    fn age_by_time(&self, created: Option<Timestamp>, is_opposite: bool) -> PodAge {
        let Some(created) = created else { return PodAge::Unknown };
        match (self.written_at, self.settled_at) {
            (Some(written), _) if created < written => PodAge::Older,
            (_, Some(settled)) if settled < created && is_opposite => PodAge::Missed,
            (Some(_) | None, _) => PodAge::Unknown,
        }
    }
}

impl MissedWebhook {
    /// Returns the webhook that missed a pod whose new pods get this outcome.
    pub(crate) fn for_outcome(outcome: EffectOutcome) -> Self {
        match outcome {
            EffectOutcome::Injected => Self::Any,
            // The injector itself was called, or there would be no sidecar.
            EffectOutcome::NotInjected | EffectOutcome::Unreachable | EffectOutcome::Unknown => Self::Ours,
        }
    }
}

impl fmt::Display for MissedWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "the webhooks were not called, or did not answer",
            Self::Ours => "our webhook was not called, or did not answer",
        })
    }
}

/// Returns the kind and name of the object that a policy was read from.
pub(super) fn policy_key(policy: &Policy) -> (RuleKind, NamespacedName) {
    let namespace = policy.namespace.as_deref();
    let kind = if namespace.is_some() { RuleKind::InjectionPolicy } else { RuleKind::ClusterInjectionPolicy };
    (kind, (namespace.unwrap_or_default().into(), policy.name.clone()))
}

/// Returns the last write of a rule, where the API server records it.
fn rule_written_at(inventory: &Inventory, rule: &DecisionRule<'_>) -> Option<Timestamp> {
    match rule {
        DecisionRule::Policy(policy) => {
            let (kind, name) = policy_key(policy);
            inventory.rule_records.get(kind, &name).and_then(|standing| standing.spec_written_at)
        }
        DecisionRule::Override(own) => match &own.source {
            OverrideSource::Workload(owner) => owner.own_override().since,
            OverrideSource::Namespace(name) => {
                inventory.namespaces.get(name).and_then(|entry| entry.namespace().own_override.since)
            }
            OverrideSource::Pod
            | OverrideSource::Marker(_)
            | OverrideSource::Legacy(_)
            | OverrideSource::UncountedOwner(_) => None,
        },
        DecisionRule::Safety(_) | DecisionRule::Suspension(_) | DecisionRule::Nothing | DecisionRule::Unknown(..) => {
            None
        }
    }
}

/// Returns the latest change of everything that the decision depends on: the rule, labels, the template, and the end of rules
/// that came before.
fn settled_at(written: Timestamp, facts: &Facts<'_>, decision: &Decision<'_>) -> Option<Timestamp> {
    let namespace = facts.namespace.as_ref().ok().and_then(|namespace| namespace.labelled_at);
    // As everywhere, the outermost owner with a template is the workload.
    let template = facts.owners.chain.iter().rev().find_map(|owner| owner.template.as_ref());
    let template = template.and_then(|template| template.written_at);
    if let DecisionRule::Policy(policy) = decision.rule {
        let PodMatcher { namespace_selector, workload_selector, pod_selector, .. } = &policy.matcher;
        let by_workload = !workload_selector.selects_all() || !pod_selector.selects_all();
        if (!namespace_selector.selects_all() && namespace.is_none()) || (by_workload && template.is_none()) {
            return None;
        }
    }
    let ended = decision.considered.iter().filter_map(|one| match one.outcome {
        RuleOutcome::Ended(end) => Some(end),
        _ => None,
    });
    [Some(written), namespace, template].into_iter().flatten().chain(ended).max()
}
