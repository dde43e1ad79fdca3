//! Compiled policies: what they match, how they rank, and which of them rule over one pod.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use super::Action;
use super::facts::{ChainEnd, Facts, Namespace, Owner, OwnerName, Owners};
use super::reason::{Part, Unknown};
use super::selector::{Glob, Selector};

/// A policy, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: Box<str>,
    /// Its namespace; `None` for a cluster policy.
    pub namespace: Option<Box<str>>,
    /// Which pods it is about.
    pub matching: Matching,
    /// What it asks for.
    pub action: Action,
    /// The revision to ask for with `Enable`.
    pub revision: Option<Box<str>>,
    /// Higher wins.
    pub priority: i32,
    /// What it lets overrides do.
    pub overrides: Overrides,
    /// Whether it acts, or only says what it would do.
    pub mode: Mode,
}

/// What a policy lets overrides do, from lenient to strict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Overrides {
    /// Every override counts.
    #[default]
    Allow,
    /// An override counts if it says why.
    RequireReason,
    /// No override counts; of a cluster policy, neither does a namespaced policy or suspension.
    Deny,
}

/// Whether a policy acts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// It takes part in decisions.
    #[default]
    Enforce,
    /// What it would change is recorded, and nothing changes.
    Audit,
}

impl Policy {
    /// Orders policies by rank: of two that match the same pod, the one with the smaller rank wins.
    pub fn rank(&self) -> Rank {
        Rank(Reverse(self.priority), self.namespace.is_none(), Reverse(self.matching.specificity()))
    }
}

/// See [`Policy::rank`]: priority, then namespaced before cluster, then the more specific.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(Reverse<i32>, bool, Reverse<Specificity>);

/// How closely a policy says whom it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Specificity {
    /// Neither of the below.
    Anything,
    /// It includes some namespaces only, or selects them by label.
    Namespaces,
    /// It names workloads, selects workloads or pods by label, or names service accounts.
    Pods,
}

/// Which pods a policy or a suspension is about; all parts must hold, and an empty part holds for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matching {
    /// Names of namespaces that it is about.
    pub include: Vec<Glob>,
    /// Names of namespaces that it is not about.
    pub exclude: Vec<Glob>,
    /// Labels of the namespace.
    pub namespace_selector: Selector,
    /// The pod's workload, or the gateway that it belongs to.
    pub workloads: Vec<WorkloadPattern>,
    /// Labels of the workload.
    pub workload_selector: Selector,
    /// Labels of the pod.
    pub pod_selector: Selector,
    /// Names of the pod's service account.
    pub service_accounts: Vec<Glob>,
}

/// A kind of workload and a pattern of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadPattern {
    /// The kind, exactly.
    pub kind: Box<str>,
    /// The name.
    pub name: Glob,
}

/// Whether something matches a pod, as far as can be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// All parts hold.
    Yes,
    /// This part does not hold.
    No(Part),
    /// No part fails, and at least one cannot be told.
    Unknown(Unknown),
}

impl Matching {
    /// How closely it says whom it means.
    pub fn specificity(&self) -> Specificity {
        let Self {
            include,
            exclude: _,
            namespace_selector,
            workloads,
            workload_selector,
            pod_selector,
            service_accounts,
        } = self;
        let pods = !workloads.is_empty()
            || !workload_selector.selects_all()
            || !pod_selector.selects_all()
            || !service_accounts.is_empty();
        let namespaces = include.iter().any(|glob| !glob.matches_all()) || !namespace_selector.selects_all();
        match (pods, namespaces) {
            (true, _) => Specificity::Pods,
            (false, true) => Specificity::Namespaces,
            (false, false) => Specificity::Anything,
        }
    }

    /// The kinds and names of the only workloads that can be meant, where each is named outright.
    fn named_workloads(&self) -> Option<Vec<(&str, &str)>> {
        let named: Option<Vec<_>> =
            self.workloads.iter().map(|pattern| Some((&*pattern.kind, pattern.name.exact()?))).collect();
        named.filter(|named| !named.is_empty())
    }

    /// Whether a namespace of this name can be meant; its labels are another part.
    pub fn names_namespace(&self, name: &str) -> bool {
        (self.include.is_empty() || self.include.iter().any(|glob| glob.matches(name)))
            && !self.exclude.iter().any(|glob| glob.matches(name))
    }

    /// Whether the pod of these facts is meant. A part that fails decides, even where another part is unknown.
    pub fn matches(&self, facts: &Facts<'_>) -> Match {
        let Self { workloads, workload_selector, pod_selector, service_accounts, .. } = self;
        let pod = facts.pod;
        if !self.names_namespace(&pod.namespace) {
            return Match::No(Part::Namespaces);
        }
        if !pod_selector.selects_all()
            && !pod
                .labels
                .as_ref()
                .map_or_else(|| pod_selector.matches(&Default::default()), |labels| pod_selector.matches(labels))
        {
            return Match::No(Part::PodSelector);
        }
        let account = pod.service_account.as_deref().unwrap_or("default");
        if !service_accounts.is_empty() && !service_accounts.iter().any(|glob| glob.matches(account)) {
            return Match::No(Part::ServiceAccounts);
        }
        let workload = if workloads.is_empty() && workload_selector.selects_all() {
            Match::Yes
        } else {
            self.matches_workload(facts)
        };
        match (workload, self.matches_namespace_labels(facts)) {
            (Match::Yes, other) | (other, Match::Yes) => other,
            (no @ Match::No(_), _) | (_, no @ Match::No(_)) => no,
            (unknown @ Match::Unknown(_), Match::Unknown(_)) => unknown,
        }
    }

    fn matches_namespace_labels(&self, facts: &Facts<'_>) -> Match {
        match &facts.namespace {
            _ if self.namespace_selector.selects_all() => Match::Yes,
            Ok(namespace) if self.namespace_selector.matches(&namespace.labels) => Match::Yes,
            Ok(_) => Match::No(Part::NamespaceSelector),
            Err(missing) => Match::Unknown(Unknown::Namespace(*missing)),
        }
    }

    fn matches_workload(&self, facts: &Facts<'_>) -> Match {
        let named = |kind: &str, name: &str| {
            self.workloads.iter().any(|pattern| *pattern.kind == *kind && pattern.name.matches(name))
        };
        // A gateway that is not known names nothing: it must not keep a policy that denies from being told.
        let names_gateway = matches!(&facts.owners.gateway, Some(Ok(OwnerName { kind, name })) if named(kind, name));
        if names_gateway && self.workload_selector.selects_all() {
            return Match::Yes;
        }
        if let ChainEnd::Missing(owner, missing) = &facts.owners.end {
            return Match::Unknown(Unknown::Owner(owner.clone(), *missing));
        }
        let Some(Owner { kind, name, labels, .. }) = facts.owners.workload() else {
            return Match::No(Part::Workloads);
        };
        if !self.workloads.is_empty() && !names_gateway && !named(kind, name) {
            Match::No(Part::Workloads)
        } else if self.workload_selector.matches(labels) {
            Match::Yes
        } else {
            Match::No(Part::WorkloadSelector)
        }
    }
}

/// All policies of a cluster in order of rank, compiled once and then only read.
#[derive(Debug, Default)]
pub struct Policies {
    ranked: Vec<Policy>,
    /// Positions of the policies that one namespace may be concerned by because it is named outright.
    by_name: HashMap<Box<str>, Vec<u32>>,
    /// Positions of those that ask for more than a name.
    by_pattern: Vec<u32>,
    generation: u64,
}

/// The policies that can concern one namespace, as positions in order of rank.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Those that can concern any pod of it.
    of_any: Box<[u32]>,
    /// Those that name workloads outright, by kind and then by name.
    of_workload: HashMap<Box<str>, HashMap<Box<str>, Vec<u32>>>,
    generation: u64,
}

impl Policies {
    /// Compiles policies; `generation` tells this set from every other one.
    pub fn new(mut ranked: Vec<Policy>, generation: u64) -> Self {
        ranked.sort_by(|left, right| {
            let key = |policy: &Policy| (policy.rank(), policy.action.strictness(), Reverse(policy.overrides));
            key(left)
                .cmp(&key(right))
                .then_with(|| left.namespace.cmp(&right.namespace))
                .then_with(|| left.name.cmp(&right.name))
        });
        let mut by_name: HashMap<Box<str>, Vec<u32>> = HashMap::new();
        let mut by_pattern = Vec::new();
        for (position, policy) in (0_u32..).zip(&ranked) {
            match &policy.namespace {
                Some(namespace) => by_name.entry(namespace.clone()).or_default().push(position),
                None => by_pattern.push(position),
            }
        }
        Self { ranked, by_name, by_pattern, generation }
    }

    /// Which policies can concern a namespace; the answer holds until either changes.
    pub fn candidates(&self, name: &str, namespace: Option<&Namespace>) -> Candidates {
        let selected = |position: &&u32| {
            let matching = &self.ranked[**position as usize].matching;
            matching.names_namespace(name)
                && namespace.is_none_or(|namespace| matching.namespace_selector.matches(&namespace.labels))
        };
        let own = self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        let mut positions: Vec<u32> = own.iter().chain(self.by_pattern.iter().filter(selected)).copied().collect();
        positions.sort_unstable();
        let mut of_workload: HashMap<Box<str>, HashMap<Box<str>, Vec<u32>>> = HashMap::new();
        positions.retain(|position| {
            let named = self.ranked[*position as usize].matching.named_workloads();
            for (kind, name) in named.iter().flatten() {
                let of_name = of_workload.entry((*kind).into()).or_default().entry((*name).into()).or_default();
                // A policy may name one workload twice.
                if of_name.last() != Some(position) {
                    of_name.push(*position);
                }
            }
            named.is_none()
        });
        Candidates { of_any: positions.into(), of_workload, generation: self.generation }
    }

    /// Whether `candidates` were made from this set.
    pub fn made(&self, candidates: &Candidates) -> bool {
        self.generation == candidates.generation
    }

    /// The candidates that can concern a pod of these owners, in order of rank. Those of another set are none of ours.
    pub fn ranked<'p>(&'p self, candidates: &'p Candidates, owners: &Owners) -> impl Iterator<Item = &'p Policy> {
        debug_assert!(self.made(candidates), "candidates of another set");
        let positions = candidates.of(owners);
        (0..positions.len()).filter_map(move |index| self.ranked.get(positions[index] as usize))
    }

    /// All policies in order of rank.
    pub fn all(&self) -> &[Policy] {
        &self.ranked
    }
}

impl Candidates {
    /// Those that can concern a pod of these owners: where a workload is named, only those that name its own.
    fn of(&self, owners: &Owners) -> Cow<'_, [u32]> {
        let Self { of_any, of_workload, generation: _ } = self;
        if of_workload.is_empty() {
            return Cow::Borrowed(of_any);
        }
        let mut named: Vec<u32> = match &owners.end {
            // It may turn out to be any of them.
            ChainEnd::Missing(..) => of_workload.values().flat_map(HashMap::values).flatten().copied().collect(),
            ChainEnd::Top | ChainEnd::Unread(_) | ChainEnd::Untrusted(_) | ChainEnd::Absent(_) => {
                let workload = owners.workload().map(|Owner { kind, name, .. }| (&**kind, &**name));
                let gateway = owners.gateway.iter().flatten().map(|OwnerName { kind, name }| (&**kind, &**name));
                let of = |(kind, name): (&str, &str)| of_workload.get(kind)?.get(name);
                workload.into_iter().chain(gateway).filter_map(of).flatten().copied().collect()
            }
        };
        if named.is_empty() {
            return Cow::Borrowed(of_any);
        }
        named.extend(of_any);
        named.sort_unstable();
        named.dedup();
        Cow::Owned(named)
    }
}

/// The policies that can concern one pod, in order of rank, each asked once whether it matches; a view of those that count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matched<'m, 'p> {
    /// All of them, whatever their mode.
    pub(super) all: &'m [(&'p Policy, Match)],
    /// The one in mode Audit that counts as if it were in Enforce.
    pub(super) promoted: Option<&'p Policy>,
}

impl<'m, 'p> Matched<'m, 'p> {
    /// Those that count.
    pub(super) fn iter(self) -> impl Iterator<Item = &'m (&'p Policy, Match)> + Clone {
        let is_promoted = move |policy| self.promoted.is_some_and(|promoted| std::ptr::eq(promoted, policy));
        self.all.iter().filter(move |(policy, _)| policy.mode == Mode::Enforce || is_promoted(*policy))
    }
}

/// The policies that rule over one pod.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ruling<'p> {
    /// The one that wins.
    pub(super) winner: Option<&'p Policy>,
    /// The one that wins among cluster policies alone, if its word is final.
    pub(super) forbids: Option<&'p Policy>,
    /// The policy that limits overrides most, of the two winners' ranks.
    pub(super) strictest: Option<&'p Policy>,
}

impl<'p> Ruling<'p> {
    /// Whether no override can count, whatever it says.
    pub(super) fn refuses_all(&self) -> bool {
        self.strictest.is_some_and(|policy| policy.overrides == Overrides::Deny)
    }

    /// The ruling where one wins among the cluster policies, and one among all.
    fn of(cluster: Winner<'p>, all: Winner<'p>) -> Self {
        let by_cluster = cluster.strictest;
        if by_cluster.is_some_and(|policy| policy.overrides == Overrides::Deny) {
            return Self { winner: cluster.policy, forbids: by_cluster, strictest: by_cluster };
        }
        let strictest = [all.strictest, by_cluster].into_iter().flatten().max_by_key(|policy| policy.overrides);
        Self { winner: all.policy, forbids: None, strictest }
    }
}

/// The rulings that are possible while it is not known of some policies whether they match.
#[derive(Debug)]
pub(super) struct Rulings<'p> {
    /// The one by the policies that are known to match.
    pub(super) certain: Ruling<'p>,
    /// One of each further sort: there are few, however many policies cannot be told. Some may not really be possible.
    pub(super) others: Vec<Ruling<'p>>,
    /// What has to be known to tell which it is.
    pub(super) unknown: Option<Unknown>,
}

impl<'p> Rulings<'p> {
    pub(super) fn of(matched: Matched<'_, 'p>) -> Self {
        let cluster = Winners::of(matched.iter().filter(|(policy, _)| policy.namespace.is_none()));
        let all = Winners::of(matched.iter());
        let certain = Ruling::of(cluster.certain, all.certain);
        // Whatever a namespaced policy turns out to match, it cannot depart from this.
        let is_final = certain.forbids.is_some() && cluster.others.is_empty();
        let mut others: Vec<Ruling<'p>> = Vec::new();
        for cluster in cluster.possible().filter(|_| !is_final) {
            for all in all.possible() {
                let ruling = Ruling::of(cluster, all);
                let sort = |ruling: &Ruling<'_>| {
                    let Ruling { winner, forbids, strictest } = ruling;
                    (winner.map(|one| one.action), forbids.is_some(), strictest.map(|one| one.overrides))
                };
                if ![certain].iter().chain(&others).any(|other| sort(other) == sort(&ruling)) {
                    others.push(ruling);
                }
            }
        }
        let unknown = cluster.unknown.or(all.unknown).filter(|_| !others.is_empty());
        Self { certain, others, unknown }
    }
}

/// A policy that wins, and the one of its rank that limits overrides most.
#[derive(Debug, Clone, Copy, Default)]
struct Winner<'p> {
    policy: Option<&'p Policy>,
    strictest: Option<&'p Policy>,
}

/// The policies that may win.
struct Winners<'p> {
    /// The one that does, of those that are known to match.
    certain: Winner<'p>,
    /// The further ones, one of each action and limit.
    others: Vec<Winner<'p>>,
    unknown: Option<Unknown>,
}

impl<'p> Winners<'p> {
    fn of<'m>(matched: impl Iterator<Item = &'m (&'p Policy, Match)> + Clone) -> Self
    where
        'p: 'm,
    {
        let first = matched.clone().find(|(_, matches)| *matches == Match::Yes).map(|(policy, _)| *policy);
        let rank = first.map(Policy::rank);
        let not_below = matched.take_while(|(policy, _)| rank.is_none_or(|rank| policy.rank() <= rank));
        let of_rank = not_below
            .clone()
            .filter(|(policy, matches)| *matches == Match::Yes && Some(policy.rank()) == rank)
            .map(|(policy, _)| *policy);
        let certain = Winner { policy: first, strictest: of_rank.max_by_key(|policy| policy.overrides) };
        let mut unknown = None;
        let untold = not_below.filter_map(|(policy, matches)| match matches {
            Match::Unknown(why) => {
                unknown.get_or_insert_with(|| why.clone());
                Some(*policy)
            }
            Match::Yes | Match::No(_) => None,
        });
        let mut untold: Vec<&Policy> = untold.collect();
        // Those of a rank are in order of these as well, so few of each rank are left.
        untold.dedup_by_key(|policy| (policy.rank(), policy.action, policy.overrides));
        Self { certain, others: Self::untold(certain, &untold), unknown }
    }

    /// The winners and limits that are possible besides the certain one.
    fn untold(certain: Winner<'p>, untold: &[&'p Policy]) -> Vec<Winner<'p>> {
        let mut others: Vec<Winner<'p>> = Vec::new();
        for of_rank in untold.chunk_by(|one, other| one.rank() == other.rank()) {
            let is_its_rank = |policy: &&Policy| policy.rank() == of_rank[0].rank();
            let (first, sure) = (certain.policy.filter(is_its_rank), certain.strictest.filter(is_its_rank));
            for winner in of_rank.iter().copied().chain(first) {
                let least = sure.map_or(winner.overrides, |sure| sure.overrides.max(winner.overrides));
                for strictest in of_rank.iter().copied().chain(sure).filter(|one| one.overrides >= least) {
                    let other = Winner { policy: Some(winner), strictest: Some(strictest) };
                    if !others.iter().any(|known| known.sort() == other.sort()) {
                        others.push(other);
                    }
                }
            }
        }
        others
    }

    fn possible(&self) -> impl Iterator<Item = Winner<'p>> {
        [self.certain].into_iter().chain(self.others.iter().copied())
    }
}

impl Winner<'_> {
    fn sort(&self) -> (Option<Action>, Option<Overrides>) {
        (self.policy.map(|policy| policy.action), self.strictest.map(|policy| policy.overrides))
    }
}
