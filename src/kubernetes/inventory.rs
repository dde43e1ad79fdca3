//! Present belief about the cluster: trimmed maps that watches or files fill, and the facts for one request from them.
//!
//! Reading takes no lock and copies no object. For a decision only [`Inventory::facts_for`] reads the inventory.

mod borrowed_templates;
pub mod cache;
mod change_counter;
pub mod demand;
pub mod drift_counts;
pub mod injectors;
mod interning;
pub mod namespace_check;
mod new_pod_facts;
pub mod owner_kind;
pub mod proposed_rules;
pub mod reads;
pub mod routing;
pub mod rule_kind;
pub mod rule_records;
pub mod rules;
pub mod workload;

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::decision::facts::{
    ChainEnd, DecisionSettings, Facts, MissingReason, NamespaceFacts, Owner, OwnerChain, OwnerName, OwnerReference,
    PodFacts, PodTemplate, RequestKind, RunningPod, SelectorUse,
};
use crate::decision::mesh::{InjectorKind, MarkerPlace, Mesh};
use crate::decision::overrides::{Override, OverrideEnd};
use crate::decision::policy::{PolicyCandidates, PolicySet};
use crate::kernel::names;
use borrowed_templates::TemplateBorrowers;
use cache::ObjectCache;
use demand::CacheDemand;
use drift_counts::DriftCounts;
use injectors::InstalledInjectors;
use owner_kind::{KindAvailability, OwnerKinds, is_gateway};
use reads::{ReadObject, ReadOutcome, ReadTarget};
use routing::RoutingInventory;
use rule_records::RuleRecords;
use rules::RuleIndex;

/// Pod that needs a decision, and the claims of its request.
#[derive(Debug, Clone, Copy)]
pub struct DecisionRequest<'q, 'a> {
    /// Kind of the request, such as the creation of a pod.
    pub kind: &'q RequestKind<'a>,
    pub pod: &'q PodFacts<'a>,
    /// Controlling owner, as the pod claims.
    pub controller: Option<&'q OwnerReference>,
    /// Whether the requester is trusted to create pods in the name of their owners.
    pub requester_is_trusted: bool,
}

/// Present belief about the cluster.
#[derive(Debug)]
pub struct Inventory {
    /// Settings of the installation for decisions.
    pub settings: DecisionSettings,
    /// Namespaces, by name.
    pub namespaces: ObjectCache<NamespaceEntry>,
    /// Objects that can own pods, by UID.
    pub owners: ObjectCache<Owner>,
    borrowers: TemplateBorrowers,
    /// Existing pods, by UID. Decisions do not need them; in a cluster they are kept only while they are in demand.
    pub pods: ObjectCache<RunningPod>,
    /// Demand for the pods.
    pub pods_demand: CacheDemand,
    /// Number of running pods that differ from new ones.
    pub drift_counts: DriftCounts,
    /// Kinds of the owners.
    pub owner_kinds: OwnerKinds,
    /// Policies and suspensions.
    pub rules: RuleIndex,
    /// Records of the rule objects. Decisions do not need them.
    pub rule_records: RuleRecords,
    /// Installed injectors of the mesh.
    pub injectors: InstalledInjectors,
    /// Routes to services. Decisions do not need them.
    pub routing: RoutingInventory,
    /// Requesters that are trusted to create pods in the name of their owners.
    pub trusted_requesters: Vec<String>,
}

/// Namespace, with the policies that can concern it.
#[derive(Debug)]
pub struct NamespaceEntry {
    namespace: Arc<NamespaceFacts>,
    // Computed by the first request after a change, since most policies and namespaces never meet.
    candidates: ArcSwapOption<PolicyCandidates>,
}

impl NamespaceEntry {
    pub fn namespace(&self) -> &NamespaceFacts {
        &self.namespace
    }
}

impl From<NamespaceFacts> for NamespaceEntry {
    fn from(namespace: NamespaceFacts) -> Self {
        Self { namespace: Arc::new(namespace), candidates: ArcSwapOption::empty() }
    }
}

impl PartialEq for NamespaceEntry {
    fn eq(&self, other: &Self) -> bool {
        self.namespace == other.namespace
    }
}

/// Limit of a chain of owners; a longer one is a loop.
const MAX_CHAIN_LENGTH: usize = 8;

impl Inventory {
    /// Creates an inventory that knows nothing yet.
    pub fn new(settings: DecisionSettings, owner_kinds: OwnerKinds, trusted_requesters: Vec<String>) -> Self {
        Self {
            settings,
            namespaces: ObjectCache::default(),
            owners: ObjectCache::default(),
            borrowers: TemplateBorrowers::default(),
            pods: ObjectCache::default(),
            pods_demand: CacheDemand::default(),
            drift_counts: DriftCounts::default(),
            owner_kinds,
            rules: RuleIndex::default(),
            rule_records: RuleRecords::default(),
            injectors: InstalledInjectors::default(),
            routing: RoutingInventory::default(),
            trusted_requesters,
        }
    }

    /// Returns whether this requester is trusted to create pods in the name of their owners.
    pub fn trusts(&self, username: &str) -> bool {
        self.trusted_requesters.iter().any(|trusted| trusted == username)
    }

    /// Returns every cache, and whether it has been filled. We are ready when all are.
    pub fn cache_states(&self) -> Vec<(String, bool)> {
        let mut caches = vec![("namespaces".to_owned(), self.namespaces.is_synced())];
        caches.extend(self.owner_kinds.cache_states());
        caches.extend(self.rules.cache_states());
        if self.settings.mesh.injector != InjectorKind::Unread {
            caches.push(("mutatingwebhookconfigurations".to_owned(), self.injectors.get().is_some()));
        }
        caches
    }

    /// Returns whether every cache has been filled.
    pub fn is_synced(&self) -> bool {
        self.cache_states().iter().all(|(_, synced)| *synced)
    }

    /// Returns the caches without which a report is incomplete: also the pods, which decide nothing.
    pub fn unread_caches(&self) -> Vec<String> {
        let caches = self.cache_states().into_iter().chain([("pods".to_owned(), self.pods.is_synced())]);
        let unfilled = caches.filter(|(_, synced)| !synced).map(|(cache, _)| cache);
        unfilled.chain(self.owner_kinds.unread_kinds()).collect()
    }

    /// Returns a number that grows with every change that can affect decisions about new pods.
    pub fn change_count(&self) -> u64 {
        let Self { namespaces, owners, rules, rule_records, injectors, .. } = self;
        [&namespaces.changes, &owners.changes, &rules.changes, &rule_records.changes, &injectors.changes]
            .into_iter()
            .map(|changes| changes.count())
            .sum()
    }

    /// Returns the facts for one request. `read` holds the outcomes of earlier reads for objects that a cache did not
    /// have.
    ///
    /// An object that a filled cache does not have does not exist, unless a read of it has failed. A watch may be late,
    /// so a caller that can read should read all that [`next_read`](Self::next_read) names.
    pub fn facts_for<'a>(&'a self, request: DecisionRequest<'a, 'a>, read: &[(ReadTarget, ReadOutcome)]) -> Facts<'a> {
        let entry = self.namespaces.get(&request.pod.namespace);
        let namespace = match &entry {
            Some(entry) => Ok(Arc::clone(&entry.namespace)),
            None => read_objects(read).find_map(ReadObject::namespace).ok_or_else(|| self.namespaces.missing_reason()),
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
        self.follow_owners(&mut owners, workload.controller.as_ref(), &pod.namespace, &[]);
        Facts { owners, ..self.facts_for(request, &[]) }
    }

    /// Returns the facts for a new pod of a workload whose template is not read, as far as they are known without it.
    /// `pod` is empty but for its namespace.
    pub fn facts_without_template<'a>(&'a self, workload: &Arc<Owner>, pod: &'a PodFacts<'a>) -> Facts<'a> {
        let request = DecisionRequest::trusted_creation(pod, None);
        let mut owners = OwnerChain { chain: vec![Arc::clone(workload)], ..OwnerChain::default() };
        self.follow_owners(&mut owners, workload.controller.as_ref(), &pod.namespace, &[]);
        Facts { owners, ..self.facts_for(request, &[]) }
    }

    /// Returns the workload of an existing pod: the outermost of its owners with a template.
    pub fn workload_of(&self, pod: &RunningPod) -> Option<Arc<Owner>> {
        let mut chain = self.owner_chain(pod);
        chain.iter().rposition(|owner| owner.template.is_some()).map(|outermost| chain.swap_remove(outermost))
    }

    /// Returns the reference to that workload, as the next inner owner, or the pod itself, names it.
    pub fn workload_reference(&self, pod: &RunningPod) -> Option<OwnerReference> {
        let chain = self.owner_chain(pod);
        let outermost = chain.iter().rposition(|owner| owner.template.is_some())?;
        let nearer = outermost.checked_sub(1).map(|nearer| &chain[nearer]);
        nearer.map_or(pod.controller.as_ref(), |nearer| nearer.controller.as_ref()).cloned()
    }

    fn owner_chain(&self, pod: &RunningPod) -> Vec<Arc<Owner>> {
        let mut owners = OwnerChain::default();
        self.follow_owners(&mut owners, pod.controller.as_ref(), &pod.pod.namespace, &[]);
        owners.chain
    }

    /// Returns the workloads whose templates make new pods. Objects that another workload makes, such as its Jobs, do
    /// not count.
    pub fn workloads(&self) -> Vec<Arc<Owner>> {
        self.workloads_in(None)
    }

    /// Returns such workloads of one namespace, or of all.
    pub fn workloads_in(&self, namespace: Option<&str>) -> Vec<Arc<Owner>> {
        let controller =
            |owner: &Owner| owner.controller.as_ref().and_then(|reference| self.owners.get(&reference.uid));
        let makes_pods = |owner: &Owner| {
            owner.template.is_some()
                && namespace.is_none_or(|namespace| *owner.namespace == *namespace)
                && controller(owner).is_none_or(|controller| controller.template.is_none())
        };
        sort_owners(self.owners.filter(makes_pods))
    }

    /// Returns the workloads whose templates are not read: owners of pods without a known owner of their own.
    pub fn workloads_without_template(&self) -> Vec<Arc<Owner>> {
        let is_outermost = |owner: &Arc<Owner>| {
            let is_read = |reference: &OwnerReference| {
                self.owner_kinds.availability(&reference.group, &reference.kind) != KindAvailability::Absent
            };
            owner.template.is_none() && !owner.is_gateway && !owner.controller.as_ref().is_some_and(is_read)
        };
        sort_owners(self.owners.all().into_iter().filter(is_outermost).collect())
    }

    /// Returns the next short read that could add to these facts. Only trusted requesters cause reads.
    pub fn next_read(
        &self,
        request: DecisionRequest<'_, '_>,
        facts: &Facts<'_>,
        read: &[(ReadTarget, ReadOutcome)],
    ) -> Option<ReadTarget> {
        if !request.requester_is_trusted || matches!(request.kind, RequestKind::Other(_)) {
            return None;
        }
        let namespace: Box<str> = request.pod.namespace.as_ref().into();
        let could_exist = |end: &ChainEnd| matches!(end, ChainEnd::Missing(..) | ChainEnd::Absent(_));
        let OwnerChain { chain, end, gateway, selector: _ } = &facts.owners;
        let nearest = || chain.last().map_or(request.controller, |last| last.controller.as_ref());
        let owner = could_exist(end).then(nearest).flatten();
        let gateway = gateway.as_ref().is_some_and(|gateway| gateway.as_ref().is_err_and(could_exist));
        let gateway = gateway.then(|| gateway_of(chain, request.controller)).flatten();
        let of = |reference: &OwnerReference| ReadTarget::Owner(namespace.clone(), reference.clone());
        let unknown = facts.namespace.is_err().then(|| ReadTarget::Namespace(namespace.clone()));
        let mut candidates = unknown.into_iter().chain(owner.into_iter().chain(gateway).map(of));
        candidates.find(|target| !read.iter().any(|(done, _)| done == target))
    }

    /// Returns the read of the direct owner's selector, unless that is known or was read.
    pub fn selector_read(
        &self,
        request: DecisionRequest<'_, '_>,
        facts: &Facts<'_>,
        read: &[(ReadTarget, ReadOutcome)],
    ) -> Option<ReadTarget> {
        let known = facts.owners.selector.is_some() || facts.owners.chain.is_empty();
        let reference = request.controller.filter(|_| !known && request.requester_is_trusted)?;
        let target = ReadTarget::Selector(request.pod.namespace.as_ref().into(), reference.clone());
        (!read.iter().any(|(done, _)| *done == target)).then_some(target)
    }

    fn owners_for(&self, request: DecisionRequest<'_, '_>, read: &[(ReadTarget, ReadOutcome)]) -> OwnerChain {
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
    fn follow_owners(
        &self,
        owners: &mut OwnerChain,
        claimed: Option<&OwnerReference>,
        namespace: &str,
        read: &[(ReadTarget, ReadOutcome)],
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
    fn find_owner(
        &self,
        reference: &OwnerReference,
        namespace: &str,
        read: &[(ReadTarget, ReadOutcome)],
    ) -> Result<Arc<Owner>, ChainEnd> {
        let served = self.owner_kinds.availability(&reference.group, &reference.kind);
        if served == KindAvailability::Absent {
            return Err(ChainEnd::Unread(OwnerName::from(reference)));
        }
        let known =
            self.owners.get(&reference.uid).or_else(|| read_objects(read).find_map(|found| found.owner(reference)));
        known.filter(|owner| *owner.namespace == *namespace).ok_or_else(|| {
            let name = OwnerName::from(reference);
            let is_this = |asked: &ReadTarget| matches!(asked, ReadTarget::Owner(_, other) if other == reference);
            let outcome = read.iter().find_map(|(asked, outcome)| is_this(asked).then_some(outcome));
            match (outcome, served) {
                (Some(ReadOutcome::Failed(_)), _) => ChainEnd::Missing(name, MissingReason::NotRead),
                (None, KindAvailability::Filling | KindAvailability::Absent) => {
                    ChainEnd::Missing(name, MissingReason::NotSynced)
                }
                (None, KindAvailability::Filled) | (Some(ReadOutcome::NotFound | ReadOutcome::Found(_)), _) => {
                    ChainEnd::Absent(name)
                }
            }
        })
    }
}

/// Returns the objects among the outcomes of reads.
fn read_objects(read: &[(ReadTarget, ReadOutcome)]) -> impl Iterator<Item = &ReadObject> {
    read.iter().filter_map(|(_, outcome)| match outcome {
        ReadOutcome::Found(found) => Some(found),
        ReadOutcome::NotFound | ReadOutcome::Failed(_) => None,
    })
}

/// Returns the gateway that the pod itself claims, or that its nearest owner names.
fn gateway_of<'o>(chain: &'o [Arc<Owner>], claimed: Option<&'o OwnerReference>) -> Option<&'o OwnerReference> {
    let of_owner = || chain.iter().find_map(|owner| owner.gateway.as_deref());
    claimed.filter(|claimed| is_gateway(claimed)).or_else(of_owner)
}

/// Sorts owners by namespace, kind and name.
fn sort_owners(mut owners: Vec<Arc<Owner>>) -> Vec<Arc<Owner>> {
    fn key(owner: &Owner) -> (&str, &str, &str) {
        (&owner.namespace, &owner.kind, &owner.name)
    }
    owners.sort_by(|left, right| key(left).cmp(&key(right)));
    owners
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
    read: &[(ReadTarget, ReadOutcome)],
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
    direct.selector.or_else(deployment).or_else(generated).or_else(|| read_objects(read).find_map(ReadObject::selector))
}

/// Reads the override from an object's metadata.
pub fn read_override(metadata: &ObjectMeta) -> Override<'static> {
    let text =
        |key| metadata.annotations.as_ref().and_then(|annotations| annotations.get(key)).cloned().map(Cow::Owned);
    let inject = text(names::INJECT);
    let since = inject.as_ref().and_then(|_| override_written_at(metadata, &["f:metadata"]));
    Override { inject, reason: text(names::REASON), until: text(names::UNTIL).map(OverrideEnd::parse), since }
}

/// Returns the time of the last write of the override below this path, as far as the API server's managed fields record
/// it.
fn override_written_at(metadata: &ObjectMeta, path: &[&str]) -> Option<jiff::Timestamp> {
    let key = format!("f:{}", names::INJECT);
    let path: Vec<&str> = path.iter().copied().chain(["f:annotations", &key]).collect();
    written_at(metadata, &path)
}

/// Path of an object's labels in its managed fields.
const LABELS_PATH: [&str; 2] = ["f:metadata", "f:labels"];

/// Returns the time of the last write at this path of an object, as far as the API server's managed fields record it.
fn written_at(metadata: &ObjectMeta, path: &[&str]) -> Option<jiff::Timestamp> {
    let owns = |fields: &serde_json::Value| path.iter().try_fold(fields, |fields, step| fields.get(*step)).is_some();
    let managed = metadata.managed_fields.iter().flatten();
    let of_key = managed.filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| owns(&fields.0)));
    of_key.filter_map(|entry| entry.time.as_ref()).map(|time| time.0).max()
}

/// Returns the inventory's view of a namespace.
pub fn namespace_of(metadata: &ObjectMeta, mesh: &Mesh) -> NamespaceFacts {
    let name = metadata.name.as_deref().unwrap_or_default();
    let mut labels = metadata.labels.clone().unwrap_or_default();
    // The API server always sets this label; a file may lack it.
    labels.entry("kubernetes.io/metadata.name".to_owned()).or_insert_with(|| name.to_owned());
    let annotations = metadata.annotations.as_ref().filter(|_| mesh.marker_place == MarkerPlace::Annotation);
    NamespaceFacts {
        name: name.into(),
        labels: labels.into_iter().collect(),
        own_override: read_override(metadata),
        marker: annotations.and_then(|annotations| annotations.get(mesh.marker_key)).map(|value| value.as_str().into()),
        labelled_at: written_at(metadata, &LABELS_PATH),
    }
}
