//! Comparison of a running pod with a new pod of the same workload.

use crate::decision::effect::Consequence;
use crate::decision::effect::EffectOutcome;
use crate::decision::facts::Facts;
use crate::decision::facts::RunningPod;
use crate::decision::facts::Sidecar;
use crate::decision::policy::Policy;
use crate::kubernetes::inventory::rule_kind::NamespacedName;
use crate::kubernetes::inventory::rule_kind::RuleKind;

/// Returns the kind and name of the object that a policy was read from.
pub(crate) fn policy_key(policy: &Policy) -> (RuleKind, NamespacedName) {
    let namespace = policy.namespace.as_deref();
    let kind = if namespace.is_some() { RuleKind::InjectionPolicy } else { RuleKind::ClusterInjectionPolicy };
    (kind, (namespace.unwrap_or_default().into(), policy.name.clone()))
}

/// Returns whether a running pod's sidecar is not what a new pod with these facts would get.
///
/// `false` where the two cannot be compared. A pod that brings its own proxy, as gateways do, never differs for having it. Without
/// a template, a pod may have brought its proxy, unless the marker on it is ours.
pub fn differs(pod: &RunningPod, facts: &Facts<'_>, consequence: &Consequence<'_>) -> bool {
    let Consequence { effect, .. } = consequence;
    let may_bring_it = || {
        facts.pod.has_sidecar
            || (facts.owners.chain.iter().all(|owner| owner.template.is_none()) && !pod.pod.marker_is_ours())
    };
    match (effect.outcome, &pod.sidecar) {
        (EffectOutcome::Injected, None) => true,
        (EffectOutcome::NotInjected, Some(_)) => !may_bring_it(),
        (EffectOutcome::Injected, Some(Sidecar { revision: Some(has), .. })) => {
            let leads_to = effect.entry().and_then(|entry| entry.revision.as_deref());
            leads_to.is_some_and(|revision| *revision != **has)
        }
        (EffectOutcome::Injected, Some(Sidecar { revision: None, .. })) | (EffectOutcome::NotInjected, None) => false,
        (EffectOutcome::Unreachable | EffectOutcome::Unknown, _) => false,
    }
}
