//! Present belief about the cluster: trimmed maps that watches or files fill, and the facts for one request from them.
//!
//! Reading takes no lock and copies no object. For a decision only [`Inventory::facts_for`] reads the inventory.

mod borrowed_templates;
pub mod cache;
mod change_counter;
pub mod demand;
pub mod drift_counts;
mod facts;
pub mod injectors;
mod interning;
pub mod kind_check;
pub mod metadata;
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

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::decision::facts::{
    DecisionSettings, NamespaceFacts, Owner, OwnerChain, OwnerReference, PodFacts, RequestKind, RunningPod,
};
use crate::decision::mesh::InjectorKind;
use crate::decision::policy::PolicyCandidates;
use borrowed_templates::TemplateBorrowers;
use cache::ObjectCache;
use demand::CacheDemand;
use drift_counts::DriftCounts;
use injectors::InstalledInjectors;
use owner_kind::{KindAvailability, OwnerKinds};
use reads::ReadLog;
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
    pub settings: DecisionSettings,
    /// Namespaces, by name.
    pub namespaces: ObjectCache<NamespaceEntry>,
    /// Objects that can own pods, by UID.
    pub owners: ObjectCache<Owner>,
    borrowers: TemplateBorrowers,
    /// Existing pods, by UID. Decisions do not need them; in a cluster they are kept only while they are in demand.
    pub pods: ObjectCache<RunningPod>,
    pub pods_demand: CacheDemand,
    /// Number of running pods that differ from new ones.
    pub drift_counts: DriftCounts,
    pub owner_kinds: OwnerKinds,
    pub rules: RuleIndex,
    /// Records of the rule objects. Decisions do not need them.
    pub rule_records: RuleRecords,
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
        self.follow_owners(&mut owners, pod.controller.as_ref(), &pod.pod.namespace, &ReadLog::default());
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
}

/// Sorts owners by namespace, kind and name.
fn sort_owners(mut owners: Vec<Arc<Owner>>) -> Vec<Arc<Owner>> {
    fn key(owner: &Owner) -> (&str, &str, &str) {
        (&owner.namespace, &owner.kind, &owner.name)
    }
    owners.sort_by(|left, right| key(left).cmp(&key(right)));
    owners
}
