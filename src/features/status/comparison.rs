//! Comparison of running pods with a new pod of the same workload.

use std::sync::Arc;

use crate::decision::effect::{Consequence, EffectOutcome};
use crate::decision::facts::{Facts, RunningPod, Sidecar};

/// Running pods of one source, compared with the new pod that would take their place.
#[derive(Debug)]
pub struct PodComparison<'p> {
    pub pods: usize,
    pub with_sidecar: usize,
    /// Pods that differ from a new one; empty where the effect is not known.
    pub differing: Vec<&'p Arc<RunningPod>>,
    /// Whether the effect on a new pod is known.
    pub is_certain: bool,
}

impl<'p> PodComparison<'p> {
    /// Compares each pod with a new pod that has these facts.
    pub fn compare(pods: &'p [Arc<RunningPod>], facts: &Facts<'_>, consequence: &Consequence<'_>) -> Self {
        Self {
            pods: pods.len(),
            with_sidecar: pods.iter().filter(|pod| pod.sidecar.is_some()).count(),
            differing: pods.iter().filter(|pod| differs(pod, facts, consequence)).collect(),
            is_certain: matches!(consequence.effect.outcome, EffectOutcome::Injected | EffectOutcome::NotInjected),
        }
    }
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
