//! Decides what happens to one pod, purely: no clock, no I/O, no lock, no log.
//!
//! # The rules
//!
//! The first that applies wins.
//!
//! 1. **Safety: Leave.** The request creates no pod, or the pod mirrors a static one, or the pod uses the host network,
//!    or its namespace is excluded. A pod of a mesh gateway is left alone too, unless a cluster suspension or a cluster
//!    policy with `overrides: Deny` says otherwise. A pod with a container that waits for the injector is never
//!    disabled or stripped.
//! 2. **A suspension of injection in force: Disable.** Cluster suspensions first, then those of the namespace.
//! 3. **An override.** Order: our annotation on the pod, the mesh's own marker on the pod, the annotations of the
//!    owners (nearest first), the annotation of the namespace. An override that is over, refused, or neither on nor off
//!    is passed over for the next. Under a winning policy with action `Remove`, the mesh's own markers do not count as
//!    overrides.
//! 4. **The policy in mode Enforce that ranks highest.** Rank: priority; then namespaced before cluster; then the more
//!    specific. Among equals: `Disable`, then `Remove`, then `Enable`.
//! 5. **Nothing applies: Leave.**
//!
//! The policy that wins among the cluster policies alone can forbid exceptions. With `overrides: Deny`, no override,
//! namespaced policy or namespaced suspension departs from it; a cluster suspension still does. With `RequireReason`,
//! an override needs a reason. The winning policy limits overrides in the same way. Within a rank the strictest
//! `overrides` holds.
//!
//! A pod belongs to a **gateway** if one of its owners has an owner reference to the gateway (controlling or not) and a
//! gateway of that UID exists in the namespace. Labels do not count. Nothing proves that the mesh's controller made the
//! workload: a tenant who writes workloads also writes their references and labels. A tenant who creates a gateway can
//! even tell Istio, by annotations, not to manage it, how to name its Deployment, and which image to run. A gateway is
//! therefore left alone only if its tenant could have used an override for the same. A platform that denies overrides
//! and has gateways must exempt them: by a cluster policy of a higher priority with kind `Gateway` under `workloads`,
//! or by excluding their namespaces. A suspension does no harm to a gateway, since Istio itself marks its pods off. A
//! gateway is no workload: the workload is the Deployment that it owns, so naming a gateway takes no pod out of a
//! policy for Deployments.
//!
//! An owner that does not exist ends the owner chain before it. So does an owner of a kind that is not read.
//!
//! Unknown is not empty. If a rule depends on a fact that is not known, the decision takes the action configured for
//! unknowns and names the missing fact. If every possible value of the fact leads to the same action, the decision
//! takes that action: a policy or suspension that only may match does not lift another that asks for the same.
//!
//! Cost: each policy that can concern the namespace is matched once. Of the matching policies in mode Audit, the first
//! 32 cost a further run through the rules each.

pub mod effect;
pub mod facts;
pub mod injector;
pub mod marks;
pub mod mesh;
pub mod overrides;
pub mod patch;
pub mod policy;
pub mod reason;
pub mod receipt;
pub mod selector;
pub mod suspension;

use std::sync::Arc;

use jiff::Timestamp;

use facts::{ChainEnd, Facts, RequestKind};
use overrides::{Override, OverrideEnd};
use policy::{
    EnforcementMode, MatchResult, MatchedPolicies, OverridePermission, Policy, PolicyCandidates, PolicySet,
    PossibleRulings, Ruling,
};
use reason::{
    DecisionRule, EvaluatedRule, OverrideRule, OverrideSkip, OverrideSource, RuleOutcome, SafetyRule, UnknownFact,
};
use suspension::InjectionSuspension;

/// Change that a decision asks for on one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Marks the pod so that the injector injects.
    Enable,
    /// Marks the pod so that the injector does not inject.
    Disable,
    /// Strips the marker, so that the namespace decides.
    Remove,
    /// Touches nothing.
    Leave,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enable => "Enable",
            Self::Disable => "Disable",
            Self::Remove => "Remove",
            Self::Leave => "Leave",
        }
    }

    /// Orders the actions of policies of one rank; the smallest wins.
    fn strictness(self) -> u8 {
        match self {
            Self::Disable => 0,
            Self::Remove => 1,
            Self::Enable => 2,
            Self::Leave => 3,
        }
    }
}

/// Result of the rules for one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<'f> {
    pub action: Action,
    pub rule: DecisionRule<'f>,
    /// End of the winning rule, if it has one.
    pub until: Option<Timestamp>,
    /// Revision that the winning policy asks for.
    pub revision: Option<&'f str>,
    /// Whether the pod's own revision label must not defeat this decision.
    pub is_final: bool,
    /// Every rule that was considered, with its outcome.
    pub considered: Vec<EvaluatedRule<'f>>,
}

/// Upper bound of matching Audit policies that are evaluated; each costs a decision of its own.
const MAX_AUDITED: usize = 32;

/// Decides for one pod at one instant.
pub fn decide<'f>(facts: &'f Facts<'_>, now: Timestamp) -> Decision<'f> {
    let (mut decision, all) = decide_with_matches(facts, now, None);
    record_audited(facts, now, &all, &mut decision);
    decision
}

/// Decides as if the `promoted` Audit policy were in mode Enforce. Without one, only policies in mode Enforce count.
pub fn decide_with<'f>(facts: &'f Facts<'_>, now: Timestamp, promoted: Option<&'f Policy>) -> Decision<'f> {
    decide_with_matches(facts, now, promoted).0
}

/// Returns a decision, and every policy that could concern the pod with its match result.
fn decide_with_matches<'f>(
    facts: &'f Facts<'_>,
    now: Timestamp,
    promoted: Option<&'f Policy>,
) -> (Decision<'f>, Vec<(&'f Policy, MatchResult)>) {
    if let Some(safety) = safety_rule(facts) {
        let (action, rule) = (Action::Leave, DecisionRule::Safety(safety));
        let considered = vec![EvaluatedRule { rule: rule.clone(), outcome: RuleOutcome::Won }];
        return (Decision { action, rule, until: None, revision: None, is_final: false, considered }, Vec::new());
    }
    let match_all = |(policies, candidates): &'f (Arc<PolicySet>, Arc<PolicyCandidates>)| {
        let matches = |policy: &'f Policy| (policy, policy.matcher.matches(facts));
        policies.ranked(candidates, &facts.owners).map(matches).collect::<Vec<_>>()
    };
    match &facts.policies {
        Ok(policies) => {
            let all = match_all(policies);
            (decide_by_policies(facts, now, MatchedPolicies { all: &all, promoted }, true), all)
        }
        Err(missing) => {
            let unknown = UnknownFact::Policies(*missing);
            (RuleRun::new(facts, now, None, true).follow(&Ruling::default(), Some(unknown)), Vec::new())
        }
    }
}

/// Decides by the policies that count. If some matches are unknown, all possible rulings must agree on the action.
fn decide_by_policies<'f>(
    facts: &'f Facts<'_>,
    now: Timestamp,
    matched: MatchedPolicies<'_, 'f>,
    records: bool,
) -> Decision<'f> {
    let rule_run = |records| RuleRun::new(facts, now, Some(matched), records);
    let PossibleRulings { certain: ruling, others, unknown } = PossibleRulings::from_matches(matched);
    let certain = rule_run(records).follow(&ruling, None);
    let is_known = |decision: &Decision<'_>| !matches!(decision.rule, DecisionRule::Unknown(..));
    let agrees = |ruling: &Ruling<'f>| {
        let other = rule_run(false).follow(ruling, None);
        is_known(&other) && other.action == certain.action
    };
    match unknown {
        Some(unknown) if !(is_known(&certain) && others.iter().all(agrees)) => {
            rule_run(records).follow(&Ruling::default(), Some(unknown))
        }
        Some(_) | None => certain,
    }
}

/// Records for each matching Audit policy the action that the decision would have with that one policy in Enforce.
///
/// Evaluates only the first [`MAX_AUDITED`], cluster policies before any that a namespace could add.
fn record_audited<'f>(
    facts: &'f Facts<'_>,
    now: Timestamp,
    all: &[(&'f Policy, MatchResult)],
    decision: &mut Decision<'f>,
) {
    let audited = all.iter().filter(|(policy, _)| policy.mode == EnforcementMode::Audit);
    let cluster_remaining =
        audited.clone().filter(|(policy, matches)| policy.namespace.is_none() && *matches == MatchResult::Yes);
    let mut namespace_remaining = MAX_AUDITED.saturating_sub(cluster_remaining.count());
    let mut cluster_remaining = MAX_AUDITED;
    for (policy, matches) in audited {
        let remaining = if policy.namespace.is_none() { &mut cluster_remaining } else { &mut namespace_remaining };
        let outcome = match matches {
            MatchResult::Yes if *remaining == 0 => RuleOutcome::Untold,
            MatchResult::Yes => {
                *remaining -= 1;
                RuleOutcome::Would(
                    decide_by_policies(facts, now, MatchedPolicies { all, promoted: Some(policy) }, false).action,
                )
            }
            MatchResult::No(part) => RuleOutcome::NoMatch(*part),
            MatchResult::Unknown(unknown) => RuleOutcome::Unknown(unknown.clone()),
        };
        decision.considered.push(EvaluatedRule { rule: DecisionRule::Policy(policy), outcome });
    }
}

/// Run through the rules: the first rule that proposes an action wins, the others are recorded.
struct RuleRun<'m, 'f, 'a> {
    facts: &'f Facts<'a>,
    now: Timestamp,
    matched: Option<MatchedPolicies<'m, 'f>>,
    /// Whether considered rules are recorded.
    records: bool,
    verdict: Option<RuleVerdict<'f>>,
    /// Missing fact on which a suspension depends. Until it is known, no action but Disable can win.
    possible_suspension: Option<UnknownFact>,
    considered: Vec<EvaluatedRule<'f>>,
}

struct RuleVerdict<'f> {
    action: Action,
    rule: DecisionRule<'f>,
    until: Option<Timestamp>,
}

impl<'m, 'f, 'a> RuleRun<'m, 'f, 'a> {
    fn new(facts: &'f Facts<'a>, now: Timestamp, matched: Option<MatchedPolicies<'m, 'f>>, records: bool) -> Self {
        Self { facts, now, matched, records, verdict: None, possible_suspension: None, considered: Vec::new() }
    }

    /// Follows the rules under `ruling`. Stops at the first rule that needs the ruling if `unknown` says that it is not
    /// known.
    fn follow(mut self, ruling: &Ruling<'f>, unknown: Option<UnknownFact>) -> Decision<'f> {
        self.apply_cluster_suspensions();
        if let Some(unknown) = unknown {
            self.settle_unknown(unknown);
        }
        self.apply_gateway(ruling);
        self.apply_namespaced_suspensions(ruling);
        self.apply_overrides(ruling);
        self.apply_policies(ruling);
        if let Some(unknown) = self.possible_suspension.take() {
            self.settle_unknown(unknown);
        }
        self.into_decision(ruling)
    }

    fn apply_cluster_suspensions(&mut self) {
        match &self.facts.suspensions {
            Ok(suspensions) => {
                suspensions.cluster().iter().for_each(|suspension| self.apply_suspension(suspension, None))
            }
            Err(missing) => self.settle_unknown(UnknownFact::Suspensions(*missing)),
        }
    }

    /// Leaves a pod of a mesh gateway alone unless a cluster policy forbids it; records why an owner is not read.
    fn apply_gateway(&mut self, ruling: &Ruling<'f>) {
        let safety = DecisionRule::Safety(SafetyRule::MeshGateway);
        match (&self.facts.owners.gateway, ruling.denying_policy) {
            (None, _) => {}
            (Some(Ok(_)), None) => self.propose(Action::Leave, safety, None),
            (Some(Ok(_)), Some(policy)) => self.record(safety, RuleOutcome::Refused(policy)),
            (Some(Err(end)), _) => self.apply_chain_end(end, ruling.denying_policy.is_none()),
        }
    }

    fn apply_namespaced_suspensions(&mut self, ruling: &Ruling<'f>) {
        let Ok(suspensions) = &self.facts.suspensions else { return };
        for suspension in suspensions.in_namespace(&self.facts.pod.namespace) {
            self.apply_suspension(suspension, ruling.denying_policy);
        }
    }

    fn apply_suspension(&mut self, suspension: &'f InjectionSuspension, forbidden_by: Option<&'f Policy>) {
        let rule = DecisionRule::Suspension(suspension);
        match suspension.matcher.matches(self.facts) {
            MatchResult::No(part) => self.record(rule, RuleOutcome::NoMatch(part)),
            _ if self.now < suspension.starts_at => self.record(rule, RuleOutcome::NotYet(suspension.starts_at)),
            _ if !suspension.holds_at(self.now) => {
                self.record(rule, RuleOutcome::Ended(suspension.ends_at.unwrap_or(Timestamp::MAX)));
            }
            // A suspension that is refused anyway must not make the decision depend on an unknown fact.
            MatchResult::Yes | MatchResult::Unknown(_) if let Some(policy) = forbidden_by => {
                self.record(rule, RuleOutcome::Refused(policy));
            }
            MatchResult::Unknown(unknown) => {
                self.possible_suspension.get_or_insert_with(|| unknown.clone());
                self.record(rule, RuleOutcome::Unknown(unknown));
            }
            MatchResult::Yes => self.propose(Action::Disable, rule, suspension.ends_at),
        }
    }

    fn apply_overrides(&mut self, ruling: &Ruling<'f>) {
        let Facts { pod, owners, namespace, settings, .. } = self.facts;
        let own_override = &pod.annotations.own_override;
        self.apply_override(OverrideSource::Pod, own_override, ruling);
        let key = settings.mesh.marker_key;
        let marker = pod.marker(settings.mesh);
        if let Some(value) = marker {
            self.apply_marker(
                OverrideRule { source: OverrideSource::Marker(key), value, reason: own_override.reason.as_deref() },
                ruling,
            );
        }
        // The injector reads the annotation only if the label's key is absent; a stale marker of ours counts as absent.
        if (marker.is_none() || pod.marker_is_ours())
            && let (Some(key), Some(value)) = (settings.mesh.legacy_annotation, pod.annotations.legacy.as_deref())
        {
            self.apply_marker(
                OverrideRule { source: OverrideSource::Legacy(key), value, reason: own_override.reason.as_deref() },
                ruling,
            );
        }
        for owner in &owners.chain {
            self.apply_override(OverrideSource::Workload(owner), owner.own_override(), ruling);
        }
        self.apply_chain_end(&owners.end, !ruling.refuses_all());
        match namespace {
            Ok(namespace) => {
                self.apply_override(OverrideSource::Namespace(&namespace.name), &namespace.own_override, ruling)
            }
            Err(_) if ruling.refuses_all() => {}
            Err(missing) => self.settle_unknown(UnknownFact::Namespace(*missing)),
        }
    }

    /// Records why an owner does not count. If it may exist and would matter, the decision depends on it.
    fn apply_chain_end(&mut self, end: &'f ChainEnd, matters: bool) {
        let (name, outcome) = match end {
            ChainEnd::Top => return,
            ChainEnd::Unread(name) => (name, RuleOutcome::PassedOver(OverrideSkip::UnreadKind)),
            ChainEnd::Untrusted(name) => (name, RuleOutcome::PassedOver(OverrideSkip::UntrustedRequester)),
            ChainEnd::Absent(name) => (name, RuleOutcome::PassedOver(OverrideSkip::NoSuchOwner)),
            ChainEnd::Missing(name, missing) => {
                let unknown = UnknownFact::Owner(name.clone(), *missing);
                if matters {
                    self.settle_unknown(unknown.clone());
                }
                (name, RuleOutcome::Unknown(unknown))
            }
        };
        let uncounted = OverrideRule { source: OverrideSource::UncountedOwner(name), value: "", reason: None };
        self.record(DecisionRule::Override(uncounted), outcome);
    }

    fn apply_override(&mut self, source: OverrideSource<'f>, own_override: &'f Override<'_>, ruling: &Ruling<'f>) {
        let Some(value) = own_override.inject.as_deref() else { return };
        let requested = match value {
            "true" => Some(Action::Enable),
            "false" => Some(Action::Disable),
            _ => None,
        };
        self.propose_override(
            OverrideRule { source, value, reason: own_override.reason.as_deref() },
            requested,
            own_override,
            ruling,
        );
    }

    /// Considers the mesh's own marker on the pod as an override: the only one there was before our annotation.
    fn apply_marker(&mut self, marker: OverrideRule<'f>, ruling: &Ruling<'f>) {
        let Facts { pod, settings, .. } = self.facts;
        if matches!(marker.source, OverrideSource::Marker(_)) && pod.marker_is_ours() {
            self.record(DecisionRule::Override(marker), RuleOutcome::PassedOver(OverrideSkip::StaleReceipt));
        } else if let Some(policy) = ruling.winner.filter(|policy| policy.action == Action::Remove) {
            self.record(DecisionRule::Override(marker), RuleOutcome::PassedOver(OverrideSkip::Stripped(policy)));
        } else {
            let requested =
                settings.mesh.parse_marker(marker.value).map(|on| if on { Action::Enable } else { Action::Disable });
            self.propose_override(marker, requested, &pod.annotations.own_override, ruling);
        }
    }

    fn propose_override(
        &mut self,
        own: OverrideRule<'f>,
        requested: Option<Action>,
        own_override: &'f Override<'_>,
        ruling: &Ruling<'f>,
    ) {
        let until = match &own_override.until {
            None => None,
            Some(OverrideEnd::At(end)) if *end > self.now => Some(*end),
            Some(OverrideEnd::At(end)) => return self.record(DecisionRule::Override(own), RuleOutcome::Ended(*end)),
            Some(OverrideEnd::Unreadable(text)) => {
                return self
                    .record(DecisionRule::Override(own), RuleOutcome::PassedOver(OverrideSkip::UnreadableEnd(text)));
            }
        };
        let Some(action) = requested else {
            return self.record(DecisionRule::Override(own), RuleOutcome::PassedOver(OverrideSkip::UnknownValue));
        };
        let refused = ruling.strictest.filter(|policy| match policy.overrides {
            OverridePermission::Allow => false,
            OverridePermission::RequireReason => !own_override.has_reason(),
            OverridePermission::Deny => true,
        });
        match refused {
            Some(policy) => self.record(DecisionRule::Override(own), RuleOutcome::Refused(policy)),
            None => self.propose(action, DecisionRule::Override(own), until),
        }
    }

    fn apply_policies(&mut self, ruling: &Ruling<'f>) {
        let wins = |policy: &Policy| ruling.winner.is_some_and(|winner| std::ptr::eq(winner, policy));
        for (policy, matches) in self.matched.into_iter().flat_map(MatchedPolicies::iter) {
            let rule = DecisionRule::Policy(policy);
            match (matches, ruling.denying_policy) {
                (MatchResult::Yes | MatchResult::Unknown(_), _) if wins(policy) => {
                    self.propose(policy.action, rule, None)
                }
                (MatchResult::Yes, Some(forbids)) if policy.namespace.is_some() => {
                    self.record(rule, RuleOutcome::Refused(forbids))
                }
                (MatchResult::Yes, _) => self.record(rule, RuleOutcome::Outranked),
                (MatchResult::No(part), _) => self.record(rule, RuleOutcome::NoMatch(*part)),
                (MatchResult::Unknown(unknown), _) => self.record(rule, RuleOutcome::Unknown(unknown.clone())),
            }
        }
    }

    fn propose(&mut self, action: Action, rule: DecisionRule<'f>, until: Option<Timestamp>) {
        if self.verdict.is_some() {
            return self.record(rule, RuleOutcome::Outranked);
        }
        if let Some(unknown) = self.possible_suspension.take_if(|_| action != Action::Disable) {
            self.settle_unknown(unknown);
            return self.record(rule, RuleOutcome::Outranked);
        }
        self.possible_suspension = None;
        self.record(rule.clone(), RuleOutcome::Won);
        self.verdict = Some(RuleVerdict { action, rule, until });
    }

    /// Settles the decision on the configured answer for unknowns, unless a rule has won already.
    fn settle_unknown(&mut self, unknown: UnknownFact) {
        if self.verdict.is_none() {
            let answer = self.facts.settings.when_unknown;
            self.verdict =
                Some(RuleVerdict { action: answer, rule: DecisionRule::Unknown(unknown, answer), until: None });
        }
    }

    fn record(&mut self, rule: DecisionRule<'f>, outcome: RuleOutcome<'f>) {
        if self.records {
            self.considered.push(EvaluatedRule { rule, outcome });
        }
    }

    fn into_decision(self, ruling: &Ruling<'f>) -> Decision<'f> {
        let Self { facts, verdict, mut considered, .. } = self;
        let nothing = RuleVerdict { action: Action::Leave, rule: DecisionRule::Nothing, until: None };
        let mut verdict = verdict.unwrap_or(nothing);
        let would_break = facts.pod.waits_for_proxy && matches!(verdict.action, Action::Disable | Action::Remove);
        if let (true, DecisionRule::Unknown(unknown, _)) = (would_break, &verdict.rule) {
            // Still unknown: the safety rule must not be reported as if it were certain.
            let rule = DecisionRule::Unknown(unknown.clone(), Action::Leave);
            verdict = RuleVerdict { action: Action::Leave, rule, until: None };
        } else if would_break {
            let safety = DecisionRule::Safety(SafetyRule::WaitsForProxy);
            considered
                .iter_mut()
                .filter(|one| one.outcome == RuleOutcome::Won)
                .for_each(|one| one.outcome = RuleOutcome::Outranked);
            considered.insert(0, EvaluatedRule { rule: safety.clone(), outcome: RuleOutcome::Won });
            verdict = RuleVerdict { action: Action::Leave, rule: safety, until: None };
        }
        let RuleVerdict { action, rule, until } = verdict;
        let (revision, is_final) = match &rule {
            DecisionRule::Policy(policy) => (policy.revision.as_deref(), ruling.denying_policy.is_some()),
            _ => (None, false),
        };
        Decision { action, rule, until, revision, is_final, considered }
    }
}

/// Returns the first reason not to touch a pod at all.
fn safety_rule(facts: &Facts<'_>) -> Option<SafetyRule> {
    let Facts { request, pod, settings, .. } = facts;
    let rules = [
        (matches!(request, RequestKind::Other(_)), SafetyRule::NotAPodCreation),
        (pod.annotations.mirror, SafetyRule::MirrorPod),
        (pod.host_network, SafetyRule::HostNetwork),
        (settings.excluded_namespaces.iter().any(|name| *name == pod.namespace), SafetyRule::ExcludedNamespace),
    ];
    rules.into_iter().find_map(|(applies, safety)| applies.then_some(safety))
}
