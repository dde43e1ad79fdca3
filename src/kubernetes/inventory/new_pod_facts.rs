//! Facts of new pods that nobody has asked for yet: of a workload, like a running pod, or of a namespace.

use std::sync::Arc;

use super::{DecisionRequest, Inventory};
use crate::decision::facts::{Facts, Owner, OwnerReference, PodFacts, RequestKind, RunningPod};

impl<'q, 'a> DecisionRequest<'q, 'a> {
    /// Creates the request in which a trusted controller creates a pod.
    pub(super) fn trusted_creation(pod: &'q PodFacts<'a>, controller: Option<&'q OwnerReference>) -> Self {
        Self { kind: &RequestKind::PodCreate, pod, controller, requester_is_trusted: true }
    }
}

impl Inventory {
    /// Calls `ask` with the facts of the next new pod of a workload, as far as they are known without a template.
    pub fn with_new_pod_facts<T>(&self, workload: &Arc<Owner>, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
        match &workload.template {
            Some(template) => ask(&self.facts_for_template(workload, template)),
            None => ask(&self.facts_without_template(workload, &unmarked_pod(&workload.namespace))),
        }
    }

    /// Calls `ask` with the facts of a pod that would be created now as this running pod was.
    pub fn with_running_pod_facts<T>(&self, running: &RunningPod, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
        let pod = running.as_requested();
        ask(&self.facts_for(DecisionRequest::trusted_creation(&pod, running.controller.as_ref())))
    }

    /// Calls `ask` with the facts of a new pod of this namespace that has no marker, override or owner.
    pub fn with_unmarked_pod_facts<T>(&self, namespace: &str, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
        ask(&self.facts_for(DecisionRequest::trusted_creation(&unmarked_pod(namespace), None)))
    }
}

fn unmarked_pod(namespace: &str) -> PodFacts<'_> {
    PodFacts { namespace: namespace.into(), ..PodFacts::default() }
}
