//! What we now believe about the cluster: trimmed maps that watches or files fill, and the facts for one request from them.
//!
//! Reading takes no lock and copies no object. [`Inventory::facts_for`] is the only place that reads it for a decision.

pub mod cache;
mod changes;
pub mod drifting;
pub mod injectors;
mod lent;
pub mod owner_kind;
pub mod proposed;
pub mod reads;
pub mod routing;
pub mod rule_kind;
pub mod rules;
mod shared;
pub mod standings;
pub mod wanted;
pub mod workload;

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::decision::facts::{
    ChainEnd, Facts, Missing, Namespace, Owner, OwnerName, OwnerReference, Owners, Pod, RequestKind, RunningPod,
    SelectorUse, Settings, Template,
};
use crate::decision::mesh::{Injector, Mesh, Place};
use crate::decision::owner_override::{Until, Wish};
use crate::decision::policy::{Candidates, Policies};
use crate::kernel::names;
use cache::Cache;
use drifting::DriftingPods;
use injectors::InstalledInjectors;
use lent::Borrowers;
use owner_kind::{OwnerKinds, Served, is_gateway};
use reads::{Found, Outcome, Wanted};
use routing::Routing;
use rules::Rules;
use standings::Standings;
use wanted::Attention;

/// What somebody wants a decision about.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q, 'a> {
    /// Whether it is the creation of a pod.
    pub kind: &'q RequestKind<'a>,
    /// The pod.
    pub pod: &'q Pod<'a>,
    /// The pod's controlling owner, as the pod claims.
    pub controller: Option<&'q OwnerReference>,
    /// Whether whoever asks is trusted to create pods in the name of their owners.
    pub requester_is_trusted: bool,
}

/// What we now believe about the cluster.
#[derive(Debug)]
pub struct Inventory {
    /// What the installation was told about deciding.
    pub settings: Settings,
    /// The namespaces, by name.
    pub namespaces: Cache<NamespaceEntry>,
    /// Everything that can own pods, by UID.
    pub owners: Cache<Owner>,
    borrowers: Borrowers,
    /// Pods that exist, by UID. Decisions do not need them; in a cluster they are kept only while they are wanted.
    pub pods: Cache<RunningPod>,
    /// Whether somebody wants them.
    pub pods_wanted: Attention,
    /// How many of them are not as new ones would be.
    pub drifting: DriftingPods,
    /// The kinds of which those are.
    pub owner_kinds: OwnerKinds,
    /// Policies and suspensions.
    pub rules: Rules,
    /// How the objects stand that those were read from. Decisions do not need it.
    pub standings: Standings,
    /// The installed injectors of the mesh.
    pub injectors: InstalledInjectors,
    /// Routes to services. Decisions do not need them.
    pub routing: Routing,
    /// Who is trusted to create pods in the name of their owners.
    pub trusted_requesters: Vec<String>,
}

/// A namespace, and the policies that can concern it.
#[derive(Debug)]
pub struct NamespaceEntry {
    namespace: Arc<Namespace>,
    // Worked out by the first request after a change, since most policies and namespaces never meet.
    candidates: ArcSwapOption<Candidates>,
}

impl NamespaceEntry {
    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

impl From<Namespace> for NamespaceEntry {
    fn from(namespace: Namespace) -> Self {
        Self { namespace: Arc::new(namespace), candidates: ArcSwapOption::empty() }
    }
}

impl PartialEq for NamespaceEntry {
    fn eq(&self, other: &Self) -> bool {
        self.namespace == other.namespace
    }
}

/// Chains of owners are short; a longer one is a loop.
const LONGEST_CHAIN: usize = 8;

impl Inventory {
    /// An inventory that knows nothing yet.
    pub fn new(settings: Settings, owner_kinds: OwnerKinds, trusted_requesters: Vec<String>) -> Self {
        Self {
            settings,
            namespaces: Cache::default(),
            owners: Cache::default(),
            borrowers: Borrowers::default(),
            pods: Cache::default(),
            pods_wanted: Attention::default(),
            drifting: DriftingPods::default(),
            owner_kinds,
            rules: Rules::default(),
            standings: Standings::default(),
            injectors: InstalledInjectors::default(),
            routing: Routing::default(),
            trusted_requesters,
        }
    }

    /// Whether this requester is trusted to create pods in the name of their owners.
    pub fn trusts(&self, username: &str) -> bool {
        self.trusted_requesters.iter().any(|trusted| trusted == username)
    }

    /// Every cache that exists, and whether it has been filled. All of them are when we are ready.
    pub fn synced(&self) -> Vec<(String, bool)> {
        let mut caches = vec![("namespaces".to_owned(), self.namespaces.is_synced())];
        caches.extend(self.owner_kinds.synced());
        caches.extend(self.rules.synced());
        if self.settings.mesh.injector != Injector::Unread {
            caches.push(("mutatingwebhookconfigurations".to_owned(), self.injectors.get().is_some()));
        }
        caches
    }

    /// Everything that is not known, without which what is told is not complete: also the pods, which decide nothing.
    pub fn unread(&self) -> Vec<String> {
        let caches = self.synced().into_iter().chain([("pods".to_owned(), self.pods.is_synced())]);
        let unfilled = caches.filter(|(_, synced)| !synced).map(|(cache, _)| cache);
        unfilled.chain(self.owner_kinds.unread()).collect()
    }

    /// A number that grows with every change of anything that decides what new pods get.
    pub fn changes(&self) -> u64 {
        let Self { namespaces, owners, rules, standings, injectors, .. } = self;
        [&namespaces.changes, &owners.changes, &rules.changes, &standings.changes, &injectors.changes]
            .into_iter()
            .map(|changes| changes.count())
            .sum()
    }

    /// The facts for one question; `read` holds what was asked for because a cache did not have it, and what that came to.
    ///
    /// What a filled cache does not have does not exist, unless it was asked for and that failed. Whoever can read has to
    /// ask for all that is [`wanted`](Self::wanted), since a watch may be late.
    pub fn facts_for<'a>(&'a self, question: Question<'a, 'a>, read: &[(Wanted, Outcome)]) -> Facts<'a> {
        let entry = self.namespaces.get(&question.pod.namespace);
        let namespace = match &entry {
            Some(entry) => Ok(Arc::clone(&entry.namespace)),
            None => found(read).find_map(Found::namespace).ok_or_else(|| self.namespaces.missing()),
        };
        let policies = self.rules.policies().ok_or(Missing::NotSynced);
        Facts {
            request: question.kind.clone(),
            pod: question.pod,
            policies: policies.map(|policies| candidates(policies, entry.as_deref(), &namespace, question.pod)),
            suspensions: self.rules.suspensions().ok_or(Missing::NotSynced),
            owners: self.owners_of(question, read),
            namespace,
            injectors: self.injectors.get().ok_or(Missing::NotSynced),
            settings: &self.settings,
        }
    }

    /// The facts for a new pod that this workload's template will make, as its controllers will create it.
    pub fn facts_for_template<'a>(&'a self, workload: &Arc<Owner>, template: &'a Template) -> Facts<'a> {
        let Template { pod, job, written_at: _ } = template;
        let question = Question { kind: &RequestKind::PodCreate, pod, controller: None, requester_is_trusted: true };
        let mut owners = Owners::default();
        if let Some(wish) = job {
            let Owner { kind: _, name, namespace, .. } = &**workload;
            let (kind, wish) = ("Job".into(), Some(Box::new(wish.clone())));
            let job = Owner { kind, name: name.clone(), namespace: namespace.clone(), wish, ..Owner::default() };
            owners.chain.push(Arc::new(job));
            // The selector of a Job asks for its UID.
            owners.selector = Some(SelectorUse::default());
        } else {
            owners.selector = workload.selector;
        }
        owners.chain.push(Arc::clone(workload));
        self.follow(&mut owners, workload.controller.as_ref(), &pod.namespace, &[]);
        Facts { owners, ..self.facts_for(question, &[]) }
    }

    /// The facts for a new pod of a workload whose template is not read, as far as they can be told without it; `pod` is empty
    /// but for its namespace.
    pub fn facts_without_template<'a>(&'a self, workload: &Arc<Owner>, pod: &'a Pod<'a>) -> Facts<'a> {
        let question = Question { kind: &RequestKind::PodCreate, pod, controller: None, requester_is_trusted: true };
        let mut owners = Owners { chain: vec![Arc::clone(workload)], ..Owners::default() };
        self.follow(&mut owners, workload.controller.as_ref(), &pod.namespace, &[]);
        Facts { owners, ..self.facts_for(question, &[]) }
    }

    /// The workload of a pod that exists: the outermost of its owners with a template.
    pub fn workload_of(&self, pod: &RunningPod) -> Option<Arc<Owner>> {
        let mut chain = self.chain_of(pod);
        chain.iter().rposition(|owner| owner.template.is_some()).map(|outermost| chain.swap_remove(outermost))
    }

    /// How the next owner in, or the pod itself, names that workload.
    pub fn reference_of_workload(&self, pod: &RunningPod) -> Option<OwnerReference> {
        let chain = self.chain_of(pod);
        let outermost = chain.iter().rposition(|owner| owner.template.is_some())?;
        let nearer = outermost.checked_sub(1).map(|nearer| &chain[nearer]);
        nearer.map_or(pod.controller.as_ref(), |nearer| nearer.controller.as_ref()).cloned()
    }

    fn chain_of(&self, pod: &RunningPod) -> Vec<Arc<Owner>> {
        let mut owners = Owners::default();
        self.follow(&mut owners, pod.controller.as_ref(), &pod.pod.namespace, &[]);
        owners.chain
    }

    /// The workloads whose templates make new pods; what another workload makes, such as its Jobs, is none of its own.
    pub fn workloads(&self) -> Vec<Arc<Owner>> {
        self.workloads_in(None)
    }

    /// The same of one namespace, or of all.
    pub fn workloads_in(&self, namespace: Option<&str>) -> Vec<Arc<Owner>> {
        let controller =
            |owner: &Owner| owner.controller.as_ref().and_then(|reference| self.owners.get(&reference.uid));
        let makes_pods = |owner: &Owner| {
            owner.template.is_some()
                && namespace.is_none_or(|wanted| *owner.namespace == *wanted)
                && controller(owner).is_none_or(|controller| controller.template.is_none())
        };
        sorted(self.owners.those(makes_pods))
    }

    /// The workloads whose templates are not read: owners of pods that no other owner controls, as far as we can see.
    pub fn workloads_without_template(&self) -> Vec<Arc<Owner>> {
        let is_outermost = |owner: &Arc<Owner>| {
            let is_read =
                |reference: &OwnerReference| self.owner_kinds.served(&reference.group, &reference.kind) != Served::No;
            owner.template.is_none() && !owner.is_gateway && !owner.controller.as_ref().is_some_and(is_read)
        };
        sorted(self.owners.all().into_iter().filter(is_outermost).collect())
    }

    /// What a short read could add to these facts, if anything was not asked for yet. Only a trusted requester makes us
    /// read.
    pub fn wanted(&self, question: Question<'_, '_>, facts: &Facts<'_>, read: &[(Wanted, Outcome)]) -> Option<Wanted> {
        if !question.requester_is_trusted || matches!(question.kind, RequestKind::Other(_)) {
            return None;
        }
        let namespace: Box<str> = question.pod.namespace.as_ref().into();
        let could_exist = |end: &ChainEnd| matches!(end, ChainEnd::Missing(..) | ChainEnd::Absent(_));
        let Owners { chain, end, gateway, selector: _ } = &facts.owners;
        let nearest = || chain.last().map_or(question.controller, |last| last.controller.as_ref());
        let owner = could_exist(end).then(nearest).flatten();
        let gateway = gateway.as_ref().is_some_and(|gateway| gateway.as_ref().is_err_and(could_exist));
        let gateway = gateway.then(|| gateway_of(chain, question.controller)).flatten();
        let of = |reference: &OwnerReference| Wanted::Owner(namespace.clone(), reference.clone());
        let unknown = facts.namespace.is_err().then(|| Wanted::Namespace(namespace.clone()));
        let mut wanted = unknown.into_iter().chain(owner.into_iter().chain(gateway).map(of));
        wanted.find(|wanted| !read.iter().any(|(asked, _)| asked == wanted))
    }

    /// The read that tells whether the direct owner's selector uses the mesh's marks, if it was not asked for yet.
    pub fn wanted_selector(
        &self,
        question: Question<'_, '_>,
        facts: &Facts<'_>,
        read: &[(Wanted, Outcome)],
    ) -> Option<Wanted> {
        let known = facts.owners.selector.is_some() || facts.owners.chain.is_empty();
        let reference = question.controller.filter(|_| !known && question.requester_is_trusted)?;
        let wanted = Wanted::Selector(question.pod.namespace.as_ref().into(), reference.clone());
        (!read.iter().any(|(asked, _)| *asked == wanted)).then_some(wanted)
    }

    fn owners_of(&self, question: Question<'_, '_>, read: &[(Wanted, Outcome)]) -> Owners {
        let mut owners = Owners::default();
        let Some(claimed) = question.controller else { return owners };
        if !question.requester_is_trusted {
            owners.end = ChainEnd::Untrusted(OwnerName::from(claimed));
            return owners;
        }
        self.follow(&mut owners, Some(claimed), &question.pod.namespace, read);
        owners.selector = selector_of(&owners.chain, claimed, question.pod, read);
        owners
    }

    /// Follows controlling owners outward, and looks up the gateway that one of them names.
    fn follow(
        &self,
        owners: &mut Owners,
        claimed: Option<&OwnerReference>,
        namespace: &str,
        read: &[(Wanted, Outcome)],
    ) {
        let mut next = claimed.filter(|claimed| !is_gateway(claimed)).cloned();
        while let Some(reference) = next {
            match self.known(&reference, namespace, read) {
                Ok(owner) if owner.is_gateway => {
                    owners.end = ChainEnd::Absent(OwnerName::from(&reference));
                    break;
                }
                Ok(owner) if owners.chain.len() < LONGEST_CHAIN => {
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
            gateway_of(&owners.chain, claimed).map(|reference| match self.known(reference, namespace, read)? {
                owner if owner.is_gateway => Ok(OwnerName { kind: (&*owner.kind).into(), name: owner.name.clone() }),
                _ => Err(ChainEnd::Absent(OwnerName::from(reference))),
            });
    }

    /// The owner with this UID in this namespace; what the reference says besides the UID is not believed.
    fn known(
        &self,
        reference: &OwnerReference,
        namespace: &str,
        read: &[(Wanted, Outcome)],
    ) -> Result<Arc<Owner>, ChainEnd> {
        let served = self.owner_kinds.served(&reference.group, &reference.kind);
        if served == Served::No {
            return Err(ChainEnd::Unread(OwnerName::from(reference)));
        }
        let known = self.owners.get(&reference.uid).or_else(|| found(read).find_map(|found| found.owner(reference)));
        known.filter(|owner| *owner.namespace == *namespace).ok_or_else(|| {
            let name = OwnerName::from(reference);
            let is_this = |asked: &Wanted| matches!(asked, Wanted::Owner(_, other) if other == reference);
            let outcome = read.iter().find_map(|(asked, outcome)| is_this(asked).then_some(outcome));
            match (outcome, served) {
                (Some(Outcome::Failed(_)), _) => ChainEnd::Missing(name, Missing::NotRead),
                (None, Served::NotYet | Served::No) => ChainEnd::Missing(name, Missing::NotSynced),
                (None, Served::Yes) | (Some(Outcome::NotFound | Outcome::Found(_)), _) => ChainEnd::Absent(name),
            }
        })
    }
}

/// What was found of what was asked for.
fn found(read: &[(Wanted, Outcome)]) -> impl Iterator<Item = &Found> {
    read.iter().filter_map(|(_, outcome)| match outcome {
        Outcome::Found(found) => Some(found),
        Outcome::NotFound | Outcome::Failed(_) => None,
    })
}

/// The gateway that the nearest of these owners to name one names, or that the pod itself claims.
fn gateway_of<'o>(chain: &'o [Arc<Owner>], claimed: Option<&'o OwnerReference>) -> Option<&'o OwnerReference> {
    let of_owner = || chain.iter().find_map(|owner| owner.gateway.as_deref());
    claimed.filter(|claimed| is_gateway(claimed)).or_else(of_owner)
}

/// By namespace, kind and name.
fn sorted(mut owners: Vec<Arc<Owner>>) -> Vec<Arc<Owner>> {
    fn key(owner: &Owner) -> (&str, &str, &str) {
        (&owner.namespace, &owner.kind, &owner.name)
    }
    owners.sort_by(|left, right| key(left).cmp(&key(right)));
    owners
}

/// The policies that can concern the question's namespace, remembered beside it.
fn candidates(
    policies: Arc<Policies>,
    entry: Option<&NamespaceEntry>,
    namespace: &Result<Arc<Namespace>, Missing>,
    pod: &Pod<'_>,
) -> (Arc<Policies>, Arc<Candidates>) {
    let Some(entry) = entry else {
        let labels = namespace.as_deref().ok();
        let candidates = policies.candidates(&pod.namespace, labels);
        return (policies, Arc::new(candidates));
    };
    if let Some(remembered) = entry.candidates.load_full().filter(|candidates| policies.made(candidates)) {
        return (policies, remembered);
    }
    let candidates = Arc::new(policies.candidates(&pod.namespace, Some(&entry.namespace)));
    entry.candidates.store(Some(Arc::clone(&candidates)));
    (policies, candidates)
}

/// What the direct owner's selector says, as far as that is known without asking for it.
fn selector_of(
    chain: &[Arc<Owner>],
    claimed: &OwnerReference,
    pod: &Pod<'_>,
    read: &[(Wanted, Outcome)],
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
    direct.selector.or_else(deployment).or_else(generated).or_else(|| found(read).find_map(Found::selector))
}

/// The override that stands in an object's metadata.
pub fn wish_of(metadata: &ObjectMeta) -> Wish<'static> {
    let text =
        |key| metadata.annotations.as_ref().and_then(|annotations| annotations.get(key)).cloned().map(Cow::Owned);
    let inject = text(names::INJECT);
    let since = inject.as_ref().and_then(|_| override_written_at(metadata, &["f:metadata"]));
    Wish { inject, reason: text(names::REASON), until: text(names::UNTIL).map(Until::read), since }
}

/// When the override below this path of an object was written last, as far as the API server's managed fields tell.
fn override_written_at(metadata: &ObjectMeta, path: &[&str]) -> Option<jiff::Timestamp> {
    let key = format!("f:{}", names::INJECT);
    let path: Vec<&str> = path.iter().copied().chain(["f:annotations", &key]).collect();
    written_at(metadata, &path)
}

/// Where the managed fields of an object tell of its labels.
const LABELS: [&str; 2] = ["f:metadata", "f:labels"];

/// When what stands at this path of an object was written last, as far as the API server's managed fields tell.
fn written_at(metadata: &ObjectMeta, path: &[&str]) -> Option<jiff::Timestamp> {
    let owns = |fields: &serde_json::Value| path.iter().try_fold(fields, |fields, step| fields.get(*step)).is_some();
    let managed = metadata.managed_fields.iter().flatten();
    let of_key = managed.filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| owns(&fields.0)));
    of_key.filter_map(|entry| entry.time.as_ref()).map(|time| time.0).max()
}

/// What is kept of a namespace.
pub fn namespace_of(metadata: &ObjectMeta, mesh: &Mesh) -> Namespace {
    let name = metadata.name.as_deref().unwrap_or_default();
    let mut labels = metadata.labels.clone().unwrap_or_default();
    // The API server sees to this label; a file may lack it.
    labels.entry("kubernetes.io/metadata.name".to_owned()).or_insert_with(|| name.to_owned());
    let annotations = metadata.annotations.as_ref().filter(|_| mesh.marker_place == Place::Annotation);
    Namespace {
        name: name.into(),
        labels: labels.into_iter().collect(),
        wish: wish_of(metadata),
        marker: annotations.and_then(|annotations| annotations.get(mesh.marker_key)).map(|value| value.as_str().into()),
        labelled_at: written_at(metadata, &LABELS),
    }
}
