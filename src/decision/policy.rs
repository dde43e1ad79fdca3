//! Compiled policies: their matches, their ranks, and the ruling of all policies over one pod.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use super::Action;
use super::facts::{ChainEnd, Facts, NamespaceFacts, Owner, OwnerChain, OwnerName, PodFacts};
use super::reason::{MatchPart, UnknownFact};
use super::selector::{Glob, Selector};

/// Compiled policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub name: Box<str>,
    /// Namespace; `None` for a cluster policy.
    pub namespace: Option<Box<str>>,
    /// Pods that the policy applies to.
    pub matcher: PodMatcher,
    /// Action that the policy asks for.
    pub action: Action,
    /// Revision to ask for with `Enable`.
    pub revision: Option<Box<str>>,
    /// Priority; higher wins.
    pub priority: i32,
    /// Permission for overrides.
    pub overrides: OverridePermission,
    /// Whether the policy acts or is only reported.
    pub mode: EnforcementMode,
}

/// Permission that a policy gives to overrides, from lenient to strict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OverridePermission {
    /// Every override counts.
    #[default]
    Allow,
    /// An override counts if it has a reason.
    RequireReason,
    /// No override counts. Under a cluster policy, namespaced policies and suspensions do not count either.
    Deny,
}

/// Mode of a policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EnforcementMode {
    /// The policy takes part in decisions.
    #[default]
    Enforce,
    /// The policy changes nothing; decisions record what it would change.
    Audit,
}

impl Policy {
    /// Returns the rank: of two policies that match the same pod, the one with the smaller rank wins.
    pub fn rank(&self) -> PolicyRank {
        PolicyRank(Reverse(self.priority), self.namespace.is_none(), Reverse(self.matcher.specificity()))
    }
}

/// Rank of a policy: priority, then namespaced before cluster, then the more specific. See [`Policy::rank`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyRank(Reverse<i32>, bool, Reverse<Specificity>);

/// Degree to which a match narrows down its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Specificity {
    /// Every pod, or all but some namespaces.
    Anything,
    /// Some namespaces only, by name or by label.
    Namespaces,
    /// Workloads by name, workloads or pods by label, or service accounts by name.
    Pods,
}

/// Match of a policy or a suspension. All parts must hold; an empty part holds for every pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodMatcher {
    /// Names of namespaces that match.
    pub include: Vec<Glob>,
    /// Names of namespaces that do not match.
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

/// Kind of workload and pattern of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadPattern {
    /// Exact kind.
    pub kind: Box<str>,
    pub name: Glob,
}

/// Result of matching a pod, as far as the facts are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MatchResult {
    /// All parts hold.
    Yes,
    /// The part fails.
    No(MatchPart),
    /// No part fails, and at least one depends on an unknown fact.
    Unknown(UnknownFact),
}

impl PodMatcher {
    /// Returns the degree to which the match narrows down its pods.
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

    /// Returns kinds and names of the only workloads that can match, if each has an exact name.
    fn named_workloads(&self) -> Option<Vec<(&str, &str)>> {
        let named: Option<Vec<_>> =
            self.workloads.iter().map(|pattern| Some((&*pattern.kind, pattern.name.exact()?))).collect();
        named.filter(|named| !named.is_empty())
    }

    /// Returns whether a namespace of this name can match. Labels of the namespace are another part.
    pub fn names_namespace(&self, name: &str) -> bool {
        (self.include.is_empty() || self.include.iter().any(|glob| glob.matches(name)))
            && !self.exclude.iter().any(|glob| glob.matches(name))
    }

    /// Matches the pod of these facts. A part that fails decides, even if another part is unknown.
    pub fn matches(&self, facts: &Facts<'_>) -> MatchResult {
        if !self.names_namespace(&facts.pod.namespace) {
            return MatchResult::No(MatchPart::Namespaces);
        }
        match self.matches_template(facts.pod) {
            MatchResult::Yes => self.matches_owners(facts),
            other => other,
        }
    }

    /// Returns whether the match selects a workload; `None` where that is not known, for instance because the template of the
    /// workload is not read. The facts are those of its next new pod.
    pub fn selects_workload(&self, facts: &Facts<'_>, workload: &Owner) -> Option<bool> {
        let needs_template = !self.pod_selector.selects_all() || !self.service_accounts.is_empty();
        if workload.template.is_some() || !needs_template {
            return match self.matches(facts) {
                MatchResult::No(_) => Some(false),
                MatchResult::Yes => Some(true),
                MatchResult::Unknown(_) => None,
            };
        }
        let is_excluded =
            !self.names_namespace(&facts.pod.namespace) || matches!(self.matches_owners(facts), MatchResult::No(_));
        is_excluded.then_some(false)
    }

    /// Matches the parts that look at the pod itself, and so at the template of its workload.
    fn matches_template(&self, pod: &PodFacts<'_>) -> MatchResult {
        let Self { pod_selector, service_accounts, .. } = self;
        let selects_labels = || match &pod.labels {
            Some(labels) => pod_selector.matches(labels),
            None => pod_selector.matches(&Default::default()),
        };
        if !pod_selector.selects_all() && !selects_labels() {
            return MatchResult::No(MatchPart::PodSelector);
        }
        let account = pod.service_account.as_deref().unwrap_or("default");
        if !service_accounts.is_empty() && !service_accounts.iter().any(|glob| glob.matches(account)) {
            return MatchResult::No(MatchPart::ServiceAccounts);
        }
        MatchResult::Yes
    }

    /// Matches the parts that look at the workload and at the labels of the namespace.
    fn matches_owners(&self, facts: &Facts<'_>) -> MatchResult {
        let Self { workloads, workload_selector, .. } = self;
        let workload = if workloads.is_empty() && workload_selector.selects_all() {
            MatchResult::Yes
        } else {
            self.matches_workload(facts)
        };
        match (workload, self.matches_namespace_labels(facts)) {
            (MatchResult::Yes, other) | (other, MatchResult::Yes) => other,
            (no @ MatchResult::No(_), _) | (_, no @ MatchResult::No(_)) => no,
            (unknown @ MatchResult::Unknown(_), MatchResult::Unknown(_)) => unknown,
        }
    }

    fn matches_namespace_labels(&self, facts: &Facts<'_>) -> MatchResult {
        match &facts.namespace {
            _ if self.namespace_selector.selects_all() => MatchResult::Yes,
            Ok(namespace) if self.namespace_selector.matches(&namespace.labels) => MatchResult::Yes,
            Ok(_) => MatchResult::No(MatchPart::NamespaceSelector),
            Err(missing) => MatchResult::Unknown(UnknownFact::Namespace(*missing)),
        }
    }

    fn matches_workload(&self, facts: &Facts<'_>) -> MatchResult {
        let named = |kind: &str, name: &str| {
            self.workloads.iter().any(|pattern| *pattern.kind == *kind && pattern.name.matches(name))
        };
        // A gateway that is not known names nothing: it must not make the match of a denying policy unknown.
        let names_gateway = matches!(&facts.owners.gateway, Some(Ok(OwnerName { kind, name })) if named(kind, name));
        if names_gateway && self.workload_selector.selects_all() {
            return MatchResult::Yes;
        }
        if let ChainEnd::Missing(owner, missing) = &facts.owners.end {
            return MatchResult::Unknown(UnknownFact::Owner(owner.clone(), *missing));
        }
        let Some(Owner { kind, name, labels, .. }) = facts.owners.workload() else {
            return MatchResult::No(MatchPart::Workloads);
        };
        if !self.workloads.is_empty() && !names_gateway && !named(kind, name) {
            MatchResult::No(MatchPart::Workloads)
        } else if self.workload_selector.matches(labels) {
            MatchResult::Yes
        } else {
            MatchResult::No(MatchPart::WorkloadSelector)
        }
    }
}

/// All policies of a cluster in order of rank. Compiled once, then only read.
#[derive(Debug, Default)]
pub struct PolicySet {
    ranked: Vec<Policy>,
    /// Positions of the policies in each namespace.
    by_name: HashMap<Box<str>, Vec<u32>>,
    /// Positions of the cluster policies.
    by_pattern: Vec<u32>,
    generation: u64,
}

/// Policies that can concern one namespace, as positions in order of rank.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PolicyCandidates {
    /// Policies that can concern any pod of the namespace.
    any_workload: Box<[u32]>,
    /// Policies that only name exact workloads, by kind and then by name.
    by_workload: HashMap<Box<str>, HashMap<Box<str>, Vec<u32>>>,
    generation: u64,
}

impl PolicySet {
    /// Ranks the policies and indexes them. `generation` tells this set from every other one.
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

    /// Returns the policies that can concern a namespace. The result is valid until the set or the namespace changes.
    pub fn candidates_for(&self, name: &str, namespace: Option<&NamespaceFacts>) -> PolicyCandidates {
        let selected = |position: &&u32| {
            let matching = &self.ranked[**position as usize].matcher;
            matching.names_namespace(name)
                && namespace.is_none_or(|namespace| matching.namespace_selector.matches(&namespace.labels))
        };
        let own = self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        let mut positions: Vec<u32> = own.iter().chain(self.by_pattern.iter().filter(selected)).copied().collect();
        positions.sort_unstable();
        let mut by_workload: HashMap<Box<str>, HashMap<Box<str>, Vec<u32>>> = HashMap::new();
        positions.retain(|position| {
            let named = self.ranked[*position as usize].matcher.named_workloads();
            for (kind, name) in named.iter().flatten() {
                let of_name = by_workload.entry((*kind).into()).or_default().entry((*name).into()).or_default();
                // A policy may name a workload twice.
                if of_name.last() != Some(position) {
                    of_name.push(*position);
                }
            }
            named.is_none()
        });
        PolicyCandidates { any_workload: positions.into(), by_workload, generation: self.generation }
    }

    /// Returns whether `candidates` belong to this set.
    pub fn owns(&self, candidates: &PolicyCandidates) -> bool {
        self.generation == candidates.generation
    }

    /// Returns the candidates that can concern a pod of these owners, in order of rank. `candidates` must belong to
    /// this set.
    pub fn ranked<'p>(
        &'p self,
        candidates: &'p PolicyCandidates,
        owners: &OwnerChain,
    ) -> impl Iterator<Item = &'p Policy> {
        debug_assert!(self.owns(candidates), "candidates of another set");
        let positions = candidates.for_owners(owners);
        (0..positions.len()).filter_map(move |index| self.ranked.get(positions[index] as usize))
    }

    /// Returns all policies in order of rank.
    pub fn all(&self) -> &[Policy] {
        &self.ranked
    }
}

impl PolicyCandidates {
    /// Returns the candidates that can concern a pod of these owners. Policies for exact workloads count only for
    /// those.
    fn for_owners(&self, owners: &OwnerChain) -> Cow<'_, [u32]> {
        let Self { any_workload, by_workload, generation: _ } = self;
        if by_workload.is_empty() {
            return Cow::Borrowed(any_workload);
        }
        let mut named: Vec<u32> = match &owners.end {
            // The unknown owner may turn out to be any of the named workloads.
            ChainEnd::Missing(..) => by_workload.values().flat_map(HashMap::values).flatten().copied().collect(),
            ChainEnd::Top | ChainEnd::Unread(_) | ChainEnd::Untrusted(_) | ChainEnd::Absent(_) => {
                let workload = owners.workload().map(|Owner { kind, name, .. }| (&**kind, &**name));
                let gateway = owners.gateway.iter().flatten().map(|OwnerName { kind, name }| (&**kind, &**name));
                let of = |(kind, name): (&str, &str)| by_workload.get(kind)?.get(name);
                workload.into_iter().chain(gateway).filter_map(of).flatten().copied().collect()
            }
        };
        if named.is_empty() {
            return Cow::Borrowed(any_workload);
        }
        named.extend(any_workload);
        named.sort_unstable();
        named.dedup();
        Cow::Owned(named)
    }
}

/// Policies that can concern one pod, in order of rank, each matched once; a view of the policies that count.
#[derive(Debug, Clone, Copy)]
pub(super) struct MatchedPolicies<'m, 'p> {
    /// All policies, whatever their mode.
    pub(super) all: &'m [(&'p Policy, MatchResult)],
    /// Audit policy that counts as if it were in mode Enforce.
    pub(super) promoted: Option<&'p Policy>,
}

impl<'m, 'p> MatchedPolicies<'m, 'p> {
    /// Returns the policies that count.
    pub(super) fn iter(self) -> impl Iterator<Item = &'m (&'p Policy, MatchResult)> + Clone {
        let is_promoted = move |policy| self.promoted.is_some_and(|promoted| std::ptr::eq(promoted, policy));
        self.all.iter().filter(move |(policy, _)| policy.mode == EnforcementMode::Enforce || is_promoted(*policy))
    }
}

/// Ruling of the policies over one pod.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ruling<'p> {
    /// Winning policy.
    pub(super) winner: Option<&'p Policy>,
    /// Cluster policy with `overrides: Deny` that wins among cluster policies and so allows no exception.
    pub(super) denying_policy: Option<&'p Policy>,
    /// Policy that limits overrides most, among the ranks of both winners.
    pub(super) strictest: Option<&'p Policy>,
}

impl<'p> Ruling<'p> {
    /// Returns whether no override can count.
    pub(super) fn refuses_all(&self) -> bool {
        self.strictest.is_some_and(|policy| policy.overrides == OverridePermission::Deny)
    }

    /// Combines the winner among the cluster policies with the winner among all policies.
    fn from_winners(cluster: RankWinner<'p>, all: RankWinner<'p>) -> Self {
        let by_cluster = cluster.strictest;
        if by_cluster.is_some_and(|policy| policy.overrides == OverridePermission::Deny) {
            return Self { winner: cluster.policy, denying_policy: by_cluster, strictest: by_cluster };
        }
        let strictest = [all.strictest, by_cluster].into_iter().flatten().max_by_key(|policy| policy.overrides);
        Self { winner: all.policy, denying_policy: None, strictest }
    }
}

/// All possible rulings if some policies have an unknown match.
#[derive(Debug)]
pub(super) struct PossibleRulings<'p> {
    /// Ruling of the policies that are known to match.
    pub(super) certain: Ruling<'p>,
    /// Further rulings, one of each class. Few, however many matches are unknown; some may not really be possible.
    pub(super) others: Vec<Ruling<'p>>,
    /// Fact that would decide between the rulings.
    pub(super) unknown: Option<UnknownFact>,
}

impl<'p> PossibleRulings<'p> {
    pub(super) fn from_matches(matched: MatchedPolicies<'_, 'p>) -> Self {
        let cluster = PossibleWinners::from_matches(matched.iter().filter(|(policy, _)| policy.namespace.is_none()));
        let all = PossibleWinners::from_matches(matched.iter());
        let certain = Ruling::from_winners(cluster.certain, all.certain);
        // No namespaced policy can depart from a denying cluster policy, whatever it turns out to match.
        let is_final = certain.denying_policy.is_some() && cluster.others.is_empty();
        let mut others: Vec<Ruling<'p>> = Vec::new();
        for cluster in cluster.possible().filter(|_| !is_final) {
            for all in all.possible() {
                let ruling = Ruling::from_winners(cluster, all);
                let class = |ruling: &Ruling<'_>| {
                    let Ruling { winner, denying_policy, strictest } = ruling;
                    (winner.map(|one| one.action), denying_policy.is_some(), strictest.map(|one| one.overrides))
                };
                if ![certain].iter().chain(&others).any(|other| class(other) == class(&ruling)) {
                    others.push(ruling);
                }
            }
        }
        let unknown = cluster.unknown.or(all.unknown).filter(|_| !others.is_empty());
        Self { certain, others, unknown }
    }
}

/// Winning policy, and the policy of its rank that limits overrides most.
#[derive(Debug, Clone, Copy, Default)]
struct RankWinner<'p> {
    policy: Option<&'p Policy>,
    strictest: Option<&'p Policy>,
}

/// Policies that may win.
struct PossibleWinners<'p> {
    /// RankWinner among the policies that are known to match.
    certain: RankWinner<'p>,
    /// Further possible winners, one of each action and permission.
    others: Vec<RankWinner<'p>>,
    unknown: Option<UnknownFact>,
}

impl<'p> PossibleWinners<'p> {
    fn from_matches<'m>(matched: impl Iterator<Item = &'m (&'p Policy, MatchResult)> + Clone) -> Self
    where
        'p: 'm,
    {
        let first = matched.clone().find(|(_, matches)| *matches == MatchResult::Yes).map(|(policy, _)| *policy);
        let rank = first.map(Policy::rank);
        let not_below = matched.take_while(|(policy, _)| rank.is_none_or(|rank| policy.rank() <= rank));
        let of_rank = not_below
            .clone()
            .filter(|(policy, matches)| *matches == MatchResult::Yes && Some(policy.rank()) == rank)
            .map(|(policy, _)| *policy);
        let certain = RankWinner { policy: first, strictest: of_rank.max_by_key(|policy| policy.overrides) };
        let mut unknown = None;
        let unknown_matches = not_below.filter_map(|(policy, matches)| match matches {
            MatchResult::Unknown(why) => {
                unknown.get_or_insert_with(|| why.clone());
                Some(*policy)
            }
            MatchResult::Yes | MatchResult::No(_) => None,
        });
        let mut unknown_matches: Vec<&Policy> = unknown_matches.collect();
        // Policies of one rank are sorted by these two as well, so few of each rank remain.
        unknown_matches.dedup_by_key(|policy| (policy.rank(), policy.action, policy.overrides));
        Self { certain, others: Self::other_winners(certain, &unknown_matches), unknown }
    }

    /// Returns the further winners that are possible besides the certain one.
    fn other_winners(certain: RankWinner<'p>, unknown_matches: &[&'p Policy]) -> Vec<RankWinner<'p>> {
        let mut others: Vec<RankWinner<'p>> = Vec::new();
        for of_rank in unknown_matches.chunk_by(|one, other| one.rank() == other.rank()) {
            let is_its_rank = |policy: &&Policy| policy.rank() == of_rank[0].rank();
            let (first, sure) = (certain.policy.filter(is_its_rank), certain.strictest.filter(is_its_rank));
            for winner in of_rank.iter().copied().chain(first) {
                let least = sure.map_or(winner.overrides, |sure| sure.overrides.max(winner.overrides));
                for strictest in of_rank.iter().copied().chain(sure).filter(|one| one.overrides >= least) {
                    let other = RankWinner { policy: Some(winner), strictest: Some(strictest) };
                    if !others.iter().any(|known| known.class() == other.class()) {
                        others.push(other);
                    }
                }
            }
        }
        others
    }

    fn possible(&self) -> impl Iterator<Item = RankWinner<'p>> {
        [self.certain].into_iter().chain(self.others.iter().copied())
    }
}

impl RankWinner<'_> {
    fn class(&self) -> (Option<Action>, Option<OverridePermission>) {
        (self.policy.map(|policy| policy.action), self.strictest.map(|policy| policy.overrides))
    }
}
