//! Decides what happens to one pod, purely: no clock, no I/O, no lock, no log.
//!
//! # The rules
//!
//! The first that applies wins.
//!
//! 1. **Safety: Leave.** The request creates no pod; the pod mirrors a static one or uses the host network; its namespace
//!    is excluded; it belongs to a gateway of the mesh, unless a cluster suspension or a cluster policy that allows no
//!    exception says otherwise. A pod with a container that waits for the injector is never disabled or stripped.
//! 2. **A suspension of injection in force: Disable.** Cluster suspensions first, then those of the namespace.
//! 3. **An override**: the pod's, then the mesh's own marker on the pod, then the workload's from the nearest owner outward,
//!    then the namespace's. One that is over, refused or neither on nor off is passed over for the next. Under a winning
//!    policy that asks for `Remove` the mesh's own markers are no overrides.
//! 4. **The policy in mode Enforce that ranks highest**: by priority; then namespaced before cluster; then the more
//!    specific; among equals `Disable`, then `Remove`, then `Enable`.
//! 5. **Nothing applies: Leave.**
//!
//! The policy that wins among the cluster policies alone can forbid: with `overrides: Deny` no override, namespaced policy
//! or namespaced suspension departs from it, only a cluster suspension; with `RequireReason` an override needs a reason.
//! The winning policy limits overrides in the same way. Within a rank the strictest `overrides` holds.
//!
//! A pod belongs to a **gateway** if one of its owners names it as an owner of its own, controlling or not, and a gateway
//! of that UID exists in the namespace; labels make none. That the mesh's controller made the workload cannot be proven:
//! whoever writes workloads in the namespace writes those references and labels too, and whoever may create a gateway
//! tells Istio by annotations not to manage it, what to call its Deployment, and which image to run. So a gateway is left
//! alone only where its tenant could have had that by an override. A platform that denies and has gateways says which:
//! by a cluster policy of a higher priority whose `workloads` name kind `Gateway`, or by leaving their namespaces out. A
//! suspension does a gateway no harm, since Istio itself marks its pods off. A gateway is no workload: the workload is
//! the Deployment that it owns, so that naming one takes no pod out of a policy for Deployments.
//!
//! An owner that does not exist ends the chain before it, as one of a kind that is not read does.
//!
//! Unknown is not empty: where a rule on the way to the answer hangs on something that is not known, the answer is the one
//! configured for that, and the decision says what was missing. Where the unknown could turn out either way and the action
//! would be the same, that is the action: a policy that may match, or a suspension, does not lift one that asks for as much.
//!
//! Cost: each policy that can concern the namespace is asked once whether it matches; of policies in mode Audit that do,
//! the first 32 cost a further run through the rules.

pub mod effect;
pub mod facts;
pub mod injector;
pub mod marks;
pub mod mesh;
pub mod owner_override;
pub mod patch;
pub mod policy;
pub mod reason;
pub mod receipt;
pub mod selector;
pub mod suspension;

use std::sync::Arc;

use jiff::Timestamp;

use facts::{ChainEnd, Facts, RequestKind};
use owner_override::{Until, Wish};
use policy::{Candidates, Match, Matched, Mode, Overrides, Policies, Policy, Ruling, Rulings};
use reason::{Considered, Outcome, Override, PassedOver, Rule, Safety, Source, Unknown};
use suspension::Suspension;

/// What is to happen to a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The injector is told to inject.
    Enable,
    /// The injector is told not to inject.
    Disable,
    /// The marker is stripped, so that the namespace decides.
    Remove,
    /// Nothing is touched.
    Leave,
}

impl Action {
    /// The action's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enable => "Enable",
            Self::Disable => "Disable",
            Self::Remove => "Remove",
            Self::Leave => "Leave",
        }
    }

    /// Orders what policies of one rank ask for; the smallest wins.
    fn strictness(self) -> u8 {
        match self {
            Self::Disable => 0,
            Self::Remove => 1,
            Self::Enable => 2,
            Self::Leave => 3,
        }
    }
}

/// The answer for one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<'f> {
    /// What is to happen.
    pub action: Action,
    /// The rule that won.
    pub rule: Rule<'f>,
    /// Until when that holds, where the rule itself ends.
    pub until: Option<Timestamp>,
    /// The revision that the winning policy asks for.
    pub revision: Option<&'f str>,
    /// Whether the pod's own revision label must not defeat this.
    pub is_final: bool,
    /// Every rule considered, and what became of it.
    pub considered: Vec<Considered<'f>>,
}

/// Of so many matching policies in mode Audit is told what they would decide; each costs a decision of its own.
const MOST_AUDITED: usize = 32;

/// Decides for one pod at one instant.
pub fn decide<'f>(facts: &'f Facts<'_>, now: Timestamp) -> Decision<'f> {
    let (mut decision, all) = judged(facts, now, None);
    record_audited(facts, now, &all, &mut decision);
    decision
}

/// Decides as if this policy in mode Audit were in Enforce, or, without one, with those in Enforce alone.
pub fn decide_with<'f>(facts: &'f Facts<'_>, now: Timestamp, promoted: Option<&'f Policy>) -> Decision<'f> {
    judged(facts, now, promoted).0
}

/// A decision, and the policies that could concern the pod, each with whether it matches.
fn judged<'f>(
    facts: &'f Facts<'_>,
    now: Timestamp,
    promoted: Option<&'f Policy>,
) -> (Decision<'f>, Vec<(&'f Policy, Match)>) {
    if let Some(safety) = safety(facts) {
        let (action, rule) = (Action::Leave, Rule::Safety(safety));
        let considered = vec![Considered { rule: rule.clone(), outcome: Outcome::Won }];
        return (Decision { action, rule, until: None, revision: None, is_final: false, considered }, Vec::new());
    }
    let asked = |(policies, candidates): &'f (Arc<Policies>, Arc<Candidates>)| {
        let matches = |policy: &'f Policy| (policy, policy.matching.matches(facts));
        policies.ranked(candidates, &facts.owners).map(matches).collect::<Vec<_>>()
    };
    match &facts.policies {
        Ok(policies) => {
            let all = asked(policies);
            (decided(facts, now, Matched { all: &all, promoted }, true), all)
        }
        Err(missing) => {
            let unknown = Unknown::Policies(*missing);
            (Deciding::new(facts, now, None, true).under(&Ruling::default(), Some(unknown)), Vec::new())
        }
    }
}

/// Decides by the policies that count. Where some cannot be told, that is the answer that all possible rulings give.
fn decided<'f>(facts: &'f Facts<'_>, now: Timestamp, matched: Matched<'_, 'f>, tells: bool) -> Decision<'f> {
    let deciding = |tells| Deciding::new(facts, now, Some(matched), tells);
    let Rulings { certain: ruling, others, unknown } = Rulings::of(matched);
    let certain = deciding(tells).under(&ruling, None);
    let is_known = |decision: &Decision<'_>| !matches!(decision.rule, Rule::Unknown(..));
    let agrees = |ruling: &Ruling<'f>| {
        let other = deciding(false).under(ruling, None);
        is_known(&other) && other.action == certain.action
    };
    match unknown {
        Some(unknown) if !(is_known(&certain) && others.iter().all(agrees)) => {
            deciding(tells).under(&Ruling::default(), Some(unknown))
        }
        Some(_) | None => certain,
    }
}

/// Records for each matching policy in mode Audit what the decision would be with that one policy in Enforce.
///
/// Of very many only the first are told, those of the cluster before any that a namespace could add.
fn record_audited<'f>(facts: &'f Facts<'_>, now: Timestamp, all: &[(&'f Policy, Match)], decision: &mut Decision<'f>) {
    let audited = all.iter().filter(|(policy, _)| policy.mode == Mode::Audit);
    let of_cluster = audited.clone().filter(|(policy, matches)| policy.namespace.is_none() && *matches == Match::Yes);
    let mut of_namespace = MOST_AUDITED.saturating_sub(of_cluster.count());
    let mut of_cluster = MOST_AUDITED;
    for (policy, matches) in audited {
        let left = if policy.namespace.is_none() { &mut of_cluster } else { &mut of_namespace };
        let outcome = match matches {
            Match::Yes if *left == 0 => Outcome::Untold,
            Match::Yes => {
                *left -= 1;
                Outcome::Would(decided(facts, now, Matched { all, promoted: Some(policy) }, false).action)
            }
            Match::No(part) => Outcome::NoMatch(*part),
            Match::Unknown(unknown) => Outcome::Unknown(unknown.clone()),
        };
        decision.considered.push(Considered { rule: Rule::Policy(policy), outcome });
    }
}

/// One run through the rules: the first rule that proposes something wins, the others are recorded.
struct Deciding<'m, 'f, 'a> {
    facts: &'f Facts<'a>,
    now: Timestamp,
    matched: Option<Matched<'m, 'f>>,
    /// Whether what is considered is recorded.
    tells: bool,
    verdict: Option<Verdict<'f>>,
    /// What would have to be known to tell whether a suspension disables: no other action stands before that is.
    suspended_if: Option<Unknown>,
    considered: Vec<Considered<'f>>,
}

struct Verdict<'f> {
    action: Action,
    rule: Rule<'f>,
    until: Option<Timestamp>,
}

impl<'m, 'f, 'a> Deciding<'m, 'f, 'a> {
    fn new(facts: &'f Facts<'a>, now: Timestamp, matched: Option<Matched<'m, 'f>>, tells: bool) -> Self {
        Self { facts, now, matched, tells, verdict: None, suspended_if: None, considered: Vec::new() }
    }

    /// Follows the rules under this ruling, or until they ask for one that is not known.
    fn under(mut self, ruling: &Ruling<'f>, unknown: Option<Unknown>) -> Decision<'f> {
        self.cluster_suspensions();
        if let Some(unknown) = unknown {
            self.hangs_on(unknown);
        }
        self.gateway(ruling);
        self.own_suspensions(ruling);
        self.overrides(ruling);
        self.policies(ruling);
        if let Some(unknown) = self.suspended_if.take() {
            self.hangs_on(unknown);
        }
        self.decision(ruling)
    }

    fn cluster_suspensions(&mut self) {
        match &self.facts.suspensions {
            Ok(suspensions) => suspensions.cluster().iter().for_each(|suspension| self.suspension(suspension, None)),
            Err(missing) => self.hangs_on(Unknown::Suspensions(*missing)),
        }
    }

    /// A gateway of the mesh is left alone where no cluster policy forbids that, and so is decided what may belong to one.
    fn gateway(&mut self, ruling: &Ruling<'f>) {
        let safety = Rule::Safety(Safety::MeshGateway);
        match (&self.facts.owners.gateway, ruling.forbids) {
            (None, _) => {}
            (Some(Ok(_)), None) => self.propose(Action::Leave, safety, None),
            (Some(Ok(_)), Some(policy)) => self.record(safety, Outcome::Refused(policy)),
            (Some(Err(end)), _) => self.chain_end(end, ruling.forbids.is_none()),
        }
    }

    fn own_suspensions(&mut self, ruling: &Ruling<'f>) {
        let Ok(suspensions) = &self.facts.suspensions else { return };
        for suspension in suspensions.of_namespace(&self.facts.pod.namespace) {
            self.suspension(suspension, ruling.forbids);
        }
    }

    fn suspension(&mut self, suspension: &'f Suspension, forbidden_by: Option<&'f Policy>) {
        let rule = Rule::Suspension(suspension);
        match suspension.matching.matches(self.facts) {
            Match::No(part) => self.record(rule, Outcome::NoMatch(part)),
            _ if self.now < suspension.starts_at => self.record(rule, Outcome::NotYet(suspension.starts_at)),
            _ if !suspension.holds_at(self.now) => {
                self.record(rule, Outcome::Ended(suspension.ends_at.unwrap_or(Timestamp::MAX)));
            }
            // What is refused anyway cannot make a decision hang on something unknown.
            Match::Yes | Match::Unknown(_) if let Some(policy) = forbidden_by => {
                self.record(rule, Outcome::Refused(policy));
            }
            Match::Unknown(unknown) => {
                self.suspended_if.get_or_insert_with(|| unknown.clone());
                self.record(rule, Outcome::Unknown(unknown));
            }
            Match::Yes => self.propose(Action::Disable, rule, suspension.ends_at),
        }
    }

    fn overrides(&mut self, ruling: &Ruling<'f>) {
        let Facts { pod, owners, namespace, settings, .. } = self.facts;
        let wish = &pod.annotations.wish;
        self.wish(Source::Pod, wish, ruling);
        let key = settings.mesh.marker_key;
        let marker = pod.marker(settings.mesh);
        if let Some(value) = marker {
            self.marker(Override { source: Source::Marker(key), value, reason: wish.reason.as_deref() }, ruling);
        }
        // The injector reads the annotation only where the label's key is absent; a stale marker of ours counts as absent.
        if (marker.is_none() || pod.marker_is_ours())
            && let (Some(key), Some(value)) = (settings.mesh.legacy_annotation, pod.annotations.legacy.as_deref())
        {
            self.marker(Override { source: Source::Legacy(key), value, reason: wish.reason.as_deref() }, ruling);
        }
        for owner in &owners.chain {
            self.wish(Source::Workload(owner), owner.wish(), ruling);
        }
        self.chain_end(&owners.end, !ruling.refuses_all());
        match namespace {
            Ok(namespace) => self.wish(Source::Namespace(&namespace.name), &namespace.wish, ruling),
            Err(_) if ruling.refuses_all() => {}
            Err(missing) => self.hangs_on(Unknown::Namespace(*missing)),
        }
    }

    /// Records why an owner does not count; where it may exist and would matter, the decision hangs on it.
    fn chain_end(&mut self, end: &'f ChainEnd, matters: bool) {
        let (name, outcome) = match end {
            ChainEnd::Top => return,
            ChainEnd::Unread(name) => (name, Outcome::PassedOver(PassedOver::UnreadKind)),
            ChainEnd::Untrusted(name) => (name, Outcome::PassedOver(PassedOver::UntrustedRequester)),
            ChainEnd::Absent(name) => (name, Outcome::PassedOver(PassedOver::NoSuchOwner)),
            ChainEnd::Missing(name, missing) => {
                let unknown = Unknown::Owner(name.clone(), *missing);
                if matters {
                    self.hangs_on(unknown.clone());
                }
                (name, Outcome::Unknown(unknown))
            }
        };
        let uncounted = Override { source: Source::UncountedOwner(name), value: "", reason: None };
        self.record(Rule::Override(uncounted), outcome);
    }

    fn wish(&mut self, source: Source<'f>, wish: &'f Wish<'_>, ruling: &Ruling<'f>) {
        let Some(value) = wish.inject.as_deref() else { return };
        let asks = match value {
            "true" => Some(Action::Enable),
            "false" => Some(Action::Disable),
            _ => None,
        };
        self.own_wish(Override { source, value, reason: wish.reason.as_deref() }, asks, wish, ruling);
    }

    /// The mesh's own marker on the pod, in which people wrote their wishes before there was ours.
    fn marker(&mut self, marker: Override<'f>, ruling: &Ruling<'f>) {
        let Facts { pod, settings, .. } = self.facts;
        if matches!(marker.source, Source::Marker(_)) && pod.marker_is_ours() {
            self.record(Rule::Override(marker), Outcome::PassedOver(PassedOver::StaleReceipt));
        } else if let Some(policy) = ruling.winner.filter(|policy| policy.action == Action::Remove) {
            self.record(Rule::Override(marker), Outcome::PassedOver(PassedOver::Stripped(policy)));
        } else {
            let asks = settings.mesh.reads(marker.value).map(|on| if on { Action::Enable } else { Action::Disable });
            self.own_wish(marker, asks, &pod.annotations.wish, ruling);
        }
    }

    fn own_wish(&mut self, own: Override<'f>, asks: Option<Action>, wish: &'f Wish<'_>, ruling: &Ruling<'f>) {
        let until = match &wish.until {
            None => None,
            Some(Until::At(end)) if *end > self.now => Some(*end),
            Some(Until::At(end)) => return self.record(Rule::Override(own), Outcome::Ended(*end)),
            Some(Until::Unreadable(text)) => {
                return self.record(Rule::Override(own), Outcome::PassedOver(PassedOver::UnreadableEnd(text)));
            }
        };
        let Some(action) = asks else {
            return self.record(Rule::Override(own), Outcome::PassedOver(PassedOver::UnknownValue));
        };
        let refused = ruling.strictest.filter(|policy| match policy.overrides {
            Overrides::Allow => false,
            Overrides::RequireReason => !wish.has_reason(),
            Overrides::Deny => true,
        });
        match refused {
            Some(policy) => self.record(Rule::Override(own), Outcome::Refused(policy)),
            None => self.propose(action, Rule::Override(own), until),
        }
    }

    fn policies(&mut self, ruling: &Ruling<'f>) {
        let wins = |policy: &Policy| ruling.winner.is_some_and(|winner| std::ptr::eq(winner, policy));
        for (policy, matches) in self.matched.into_iter().flat_map(Matched::iter) {
            let rule = Rule::Policy(policy);
            match (matches, ruling.forbids) {
                (Match::Yes | Match::Unknown(_), _) if wins(policy) => self.propose(policy.action, rule, None),
                (Match::Yes, Some(forbids)) if policy.namespace.is_some() => {
                    self.record(rule, Outcome::Refused(forbids))
                }
                (Match::Yes, _) => self.record(rule, Outcome::Outranked),
                (Match::No(part), _) => self.record(rule, Outcome::NoMatch(*part)),
                (Match::Unknown(unknown), _) => self.record(rule, Outcome::Unknown(unknown.clone())),
            }
        }
    }

    fn propose(&mut self, action: Action, rule: Rule<'f>, until: Option<Timestamp>) {
        if self.verdict.is_some() {
            return self.record(rule, Outcome::Outranked);
        }
        if let Some(unknown) = self.suspended_if.take_if(|_| action != Action::Disable) {
            self.hangs_on(unknown);
            return self.record(rule, Outcome::Outranked);
        }
        self.suspended_if = None;
        self.record(rule.clone(), Outcome::Won);
        self.verdict = Some(Verdict { action, rule, until });
    }

    /// The answer cannot be told from here on, unless it stands already.
    fn hangs_on(&mut self, unknown: Unknown) {
        if self.verdict.is_none() {
            let answer = self.facts.settings.when_unknown;
            self.verdict = Some(Verdict { action: answer, rule: Rule::Unknown(unknown, answer), until: None });
        }
    }

    fn record(&mut self, rule: Rule<'f>, outcome: Outcome<'f>) {
        if self.tells {
            self.considered.push(Considered { rule, outcome });
        }
    }

    fn decision(self, ruling: &Ruling<'f>) -> Decision<'f> {
        let Self { facts, verdict, mut considered, .. } = self;
        let nothing = Verdict { action: Action::Leave, rule: Rule::Nothing, until: None };
        let mut verdict = verdict.unwrap_or(nothing);
        let would_break = facts.pod.waits_for_proxy && matches!(verdict.action, Action::Disable | Action::Remove);
        if let (true, Rule::Unknown(unknown, _)) = (would_break, &verdict.rule) {
            // Still unknown, and not to be told as if it were certain.
            let rule = Rule::Unknown(unknown.clone(), Action::Leave);
            verdict = Verdict { action: Action::Leave, rule, until: None };
        } else if would_break {
            let safety = Rule::Safety(Safety::WaitsForProxy);
            considered
                .iter_mut()
                .filter(|one| one.outcome == Outcome::Won)
                .for_each(|one| one.outcome = Outcome::Outranked);
            considered.insert(0, Considered { rule: safety.clone(), outcome: Outcome::Won });
            verdict = Verdict { action: Action::Leave, rule: safety, until: None };
        }
        let Verdict { action, rule, until } = verdict;
        let (revision, is_final) = match &rule {
            Rule::Policy(policy) => (policy.revision.as_deref(), ruling.forbids.is_some()),
            _ => (None, false),
        };
        Decision { action, rule, until, revision, is_final, considered }
    }
}

/// The first reason not to touch a pod at all.
fn safety(facts: &Facts<'_>) -> Option<Safety> {
    let Facts { request, pod, settings, .. } = facts;
    let rules = [
        (matches!(request, RequestKind::Other(_)), Safety::NotAPodCreation),
        (pod.annotations.mirror, Safety::MirrorPod),
        (pod.host_network, Safety::HostNetwork),
        (settings.excluded_namespaces.iter().any(|name| *name == pod.namespace), Safety::ExcludedNamespace),
    ];
    rules.into_iter().find_map(|(applies, safety)| applies.then_some(safety))
}
