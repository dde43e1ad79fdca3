//! The difference between a running pod and a new one.

use crate::decision::effect::Consequence;
use crate::decision::effect::Outcome;
use crate::decision::facts::Facts;
use crate::decision::facts::RunningPod;
use crate::decision::facts::Sidecar;
use crate::decision::policy::Policy;
use crate::kubernetes::inventory::rule_kind::RuleKind;
use crate::kubernetes::inventory::rule_kind::RuleName as Key;

/// The object that a policy was read from.
pub(crate) fn key_of(policy: &Policy) -> (RuleKind, Key) {
    let namespace = policy.namespace.as_deref();
    let kind = if namespace.is_some() { RuleKind::InjectionPolicy } else { RuleKind::ClusterInjectionPolicy };
    (kind, (namespace.unwrap_or_default().into(), policy.name.clone()))
}

/// Whether a running pod's sidecar is not what a new pod with these facts would get, as far as can be told. One that brings its
/// own proxy, as those of gateways do, has it for that reason; where there is no template nothing tells whether it did, unless it
/// was asked for by us.
pub fn differs(pod: &RunningPod, facts: &Facts<'_>, follows: &Consequence<'_>) -> bool {
    let Consequence { effect, .. } = follows;
    let may_bring_it = || {
        facts.pod.has_sidecar
            || (facts.owners.chain.iter().all(|owner| owner.template.is_none()) && !pod.pod.marker_is_ours())
    };
    match (effect.outcome, &pod.sidecar) {
        (Outcome::Injected, None) => true,
        (Outcome::NotInjected, Some(_)) => !may_bring_it(),
        (Outcome::Injected, Some(Sidecar { revision: Some(has), .. })) => {
            let leads_to = effect.entry().and_then(|entry| entry.revision.as_deref());
            leads_to.is_some_and(|revision| *revision != **has)
        }
        (Outcome::Injected, Some(Sidecar { revision: None, .. })) | (Outcome::NotInjected, None) => false,
        (Outcome::Unreachable | Outcome::Unknown, _) => false,
    }
}
