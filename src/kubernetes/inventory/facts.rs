//! Facts for a decision, from the inventory and from short reads.

use std::sync::Arc;

use super::owner_kind::{KindAvailability, is_gateway};
use super::reads::{ReadLog, ReadObject, ReadOutcome, ReadTarget};
use super::{DecisionRequest, Inventory, NamespaceEntry};
use crate::decision::facts::{
    ChainEnd, Facts, MissingReason, NamespaceFacts, Owner, OwnerChain, OwnerName, OwnerReference, PodFacts,
    PodTemplate, RequestKind, SelectorUse,
};
use crate::decision::policy::{PolicyCandidates, PolicySet};

/// Limit of a chain of owners; a longer one is a loop.
const MAX_CHAIN_LENGTH: usize = 8;

impl Inventory {
    /// Returns the facts for one request.
    pub fn facts_for<'a>(&'a self, request: DecisionRequest<'a, 'a>) -> Facts<'a> {
        self.facts_after_reads(request, &ReadLog::default())
    }

    /// Returns the facts for one request after reads for objects that a cache did not have.
    ///
    /// An object that a filled cache does not have does not exist, unless a read of it has failed. A watch may be late,
    /// so a caller that can read should read all that [`next_read`](Self::next_read) names.
    pub fn facts_after_reads<'a>(&'a self, request: DecisionRequest<'a, 'a>, read: &ReadLog) -> Facts<'a> {
        let entry = self.namespaces.get(&request.pod.namespace);
        let namespace = match &entry {
            Some(entry) => Ok(Arc::clone(&entry.namespace)),
            None => read.objects().find_map(ReadObject::namespace).ok_or_else(|| self.namespaces.missing_reason()),
        };
        let policies = self.rules.policies().ok_or(MissingReason::NotSynced);
        Facts {
            request: request.kind.clone(),
            pod: request.pod,
            policies: policies.map(|policies| candidate_policies(policies, entry.as_deref(), &namespace, request.pod)),
            suspensions: self.rules.suspensions().ok_or(MissingReason::NotSynced),
            owners: self.owners_for(request, read),
            namespace,
            injectors: self.injectors.get().ok_or(MissingReason::NotSynced),
            settings: &self.settings,
        }
    }

    /// Returns the facts for a new pod of this workload's template, as its controllers will create it.
    pub fn facts_for_template<'a>(&'a self, workload: &Arc<Owner>, template: &'a PodTemplate) -> Facts<'a> {
        let PodTemplate { pod, job_override: job, written_at: _ } = template;
        let request = DecisionRequest::trusted_creation(pod, None);
        let mut owners = OwnerChain::default();
        if let Some(wish) = job {
            let Owner { kind: _, name, namespace, .. } = &**workload;
            let (kind, wish) = ("Job".into(), Some(Box::new(wish.clone())));
            let job = Owner {
                kind,
                name: name.clone(),
                namespace: namespace.clone(),
                own_override: wish,
                ..Owner::default()
            };
            owners.chain.push(Arc::new(job));
            // The selector of a Job asks for its UID.
            owners.selector = Some(SelectorUse::default());
        } else {
            owners.selector = workload.selector;
        }
        owners.chain.push(Arc::clone(workload));
        self.follow_owners(&mut owners, workload.controller.as_ref(), &pod.namespace, &ReadLog::default());
        Facts { owners, ..self.facts_for(request) }
    }

    /// Returns the facts for a new pod of a workload whose template is not read, as far as they are known without it.
    /// `pod` is empty but for its namespace.
    pub fn facts_without_template<'a>(&'a self, workload: &Arc<Owner>, pod: &'a PodFacts<'a>) -> Facts<'a> {
        let request = DecisionRequest::trusted_creation(pod, None);
        let mut owners = OwnerChain { chain: vec![Arc::clone(workload)], ..OwnerChain::default() };
        self.follow_owners(&mut owners, workload.controller.as_ref(), &pod.namespace, &ReadLog::default());
        Facts { owners, ..self.facts_for(request) }
    }

    /// Returns the next short read that could add to these facts. Only trusted requesters cause reads.
    pub fn next_read(&self, request: DecisionRequest<'_, '_>, facts: &Facts<'_>, read: &ReadLog) -> Option<ReadTarget> {
        if !request.requester_is_trusted || matches!(request.kind, RequestKind::Other(_)) {
            return None;
        }
        let namespace = &*request.pod.namespace;
        let unread_owner =
            |reference: &OwnerReference| read.unless_read(ReadTarget::Owner(namespace.into(), reference.clone()));
        if facts.namespace.is_err()
            && let Some(target) = read.unless_read(ReadTarget::Namespace(namespace.into()))
        {
            return Some(target);
        }
        let OwnerChain { chain, end, gateway, selector: _ } = &facts.owners;
        let next = chain.last().map_or(request.controller, |last| last.controller.as_ref());
        if end.could_exist()
            && let Some(target) = next.and_then(unread_owner)
        {
            return Some(target);
        }
        match gateway {
            Some(Err(end)) if end.could_exist() => gateway_of(chain, request.controller).and_then(unread_owner),
            _ => None,
        }
    }

    /// Returns the read of the direct owner's selector, unless that is known or was read.
    pub fn selector_read(
        &self,
        request: DecisionRequest<'_, '_>,
        facts: &Facts<'_>,
        read: &ReadLog,
    ) -> Option<ReadTarget> {
        let known = facts.owners.selector.is_some() || facts.owners.chain.is_empty();
        let reference = request.controller.filter(|_| !known && request.requester_is_trusted)?;
        read.unless_read(ReadTarget::Selector(request.pod.namespace.as_ref().into(), reference.clone()))
    }

    fn owners_for(&self, request: DecisionRequest<'_, '_>, read: &ReadLog) -> OwnerChain {
        let mut owners = OwnerChain::default();
        let Some(claimed) = request.controller else { return owners };
        if !request.requester_is_trusted {
            owners.end = ChainEnd::Untrusted(OwnerName::from(claimed));
            return owners;
        }
        self.follow_owners(&mut owners, Some(claimed), &request.pod.namespace, read);
        owners.selector = selector_of(&owners.chain, claimed, request.pod, read);
        owners
    }

    /// Follows controlling owners outward, and looks up the gateway that one of them names.
    pub(super) fn follow_owners(
        &self,
        owners: &mut OwnerChain,
        claimed: Option<&OwnerReference>,
        namespace: &str,
        read: &ReadLog,
    ) {
        let mut next = claimed.filter(|claimed| !is_gateway(claimed)).cloned();
        while let Some(reference) = next {
            match self.find_owner(&reference, namespace, read) {
                Ok(owner) if owner.is_gateway => {
                    owners.end = ChainEnd::Absent(OwnerName::from(&reference));
                    break;
                }
                Ok(owner) if owners.chain.len() < MAX_CHAIN_LENGTH => {
                    next = owner.controller.clone();
                    owners.chain.push(owner);
                }
                Ok(_) => break,
                Err(end) => {
                    owners.end = end;
                    break;
                }
            }
        }
        owners.gateway =
            gateway_of(&owners.chain, claimed).map(|reference| match self.find_owner(reference, namespace, read)? {
                owner if owner.is_gateway => Ok(OwnerName { kind: (&*owner.kind).into(), name: owner.name.clone() }),
                _ => Err(ChainEnd::Absent(OwnerName::from(reference))),
            });
    }

    /// Returns the owner with this UID in this namespace. Of the reference only the UID is believed.
    fn find_owner(&self, reference: &OwnerReference, namespace: &str, read: &ReadLog) -> Result<Arc<Owner>, ChainEnd> {
        let served = self.owner_kinds.availability(&reference.group, &reference.kind);
        if served == KindAvailability::Absent {
            return Err(ChainEnd::Unread(OwnerName::from(reference)));
        }
        let known = self.owners.get(&reference.uid).or_else(|| read.objects().find_map(|found| found.owner(reference)));
        known
            .filter(|owner| *owner.namespace == *namespace)
            .ok_or_else(|| end_without_owner(reference, read.owner_outcome(reference), served))
    }
}

/// Returns the end of a chain whose next owner is not known.
fn end_without_owner(reference: &OwnerReference, outcome: Option<&ReadOutcome>, served: KindAvailability) -> ChainEnd {
    let name = OwnerName::from(reference);
    match (outcome, served) {
        (Some(ReadOutcome::Failed(_)), _) => ChainEnd::Missing(name, MissingReason::NotRead),
        (None, KindAvailability::Filling | KindAvailability::Absent) => {
            ChainEnd::Missing(name, MissingReason::NotSynced)
        }
        (None, KindAvailability::Filled) | (Some(ReadOutcome::NotFound | ReadOutcome::Found(_)), _) => {
            ChainEnd::Absent(name)
        }
    }
}

/// Returns the gateway that the pod itself claims, or that its nearest owner names.
fn gateway_of<'o>(chain: &'o [Arc<Owner>], claimed: Option<&'o OwnerReference>) -> Option<&'o OwnerReference> {
    let of_owner = || chain.iter().find_map(|owner| owner.gateway.as_deref());
    claimed.filter(|claimed| is_gateway(claimed)).or_else(of_owner)
}

/// Returns the policies that can concern the pod's namespace; they are remembered in the entry of the namespace.
fn candidate_policies(
    policies: Arc<PolicySet>,
    entry: Option<&NamespaceEntry>,
    namespace: &Result<Arc<NamespaceFacts>, MissingReason>,
    pod: &PodFacts<'_>,
) -> (Arc<PolicySet>, Arc<PolicyCandidates>) {
    let Some(entry) = entry else {
        let labels = namespace.as_deref().ok();
        let candidates = policies.candidates_for(&pod.namespace, labels);
        return (policies, Arc::new(candidates));
    };
    if let Some(remembered) = entry.candidates.load_full().filter(|candidates| policies.owns(candidates)) {
        return (policies, remembered);
    }
    let candidates = Arc::new(policies.candidates_for(&pod.namespace, Some(&entry.namespace)));
    entry.candidates.store(Some(Arc::clone(&candidates)));
    (policies, candidates)
}

/// Returns the markers that the direct owner's selector uses, as far as that is known without a read of the selector.
fn selector_of(
    chain: &[Arc<Owner>],
    claimed: &OwnerReference,
    pod: &PodFacts<'_>,
    read: &ReadLog,
) -> Option<SelectorUse> {
    let direct = chain.first()?;
    let generated = || {
        // A Job's generated selector asks for its UID and nothing else that a pod template could hold.
        let labels = ["batch.kubernetes.io/controller-uid", "controller-uid"];
        (&*direct.kind == "Job" && labels.iter().any(|label| pod.label(label) == Some(&*claimed.uid)))
            .then(SelectorUse::default)
    };
    // A Deployment gives its ReplicaSets its own selector and the hash of their template.
    let deployment = || chain.get(1).filter(|owner| &*owner.kind == "Deployment").and_then(|owner| owner.selector);
    direct.selector.or_else(deployment).or_else(generated).or_else(|| read.objects().find_map(ReadObject::selector))
}
