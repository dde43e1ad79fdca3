//! Audit entry of a decision. Text that tenants wrote is cleaned on its way in.

use std::fmt::Display;

use json_patch::PatchOperation;
use serde::{Serialize, Serializer};

use crate::decision::effect::{Effect, EffectReason};
use crate::decision::reason::{DecisionRule, EvaluatedRule, RuleOutcome};
use crate::kernel::text::{clean, maybe_clean};

/// Audit entry of one decision.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionEntry<'e> {
    /// Time of the decision, in RFC 3339.
    pub time: jiff::Timestamp,
    /// Id of this entry. The API server's own audit log carries it as `pods.outrigger.dev/entry`.
    pub uid: &'e str,
    /// The API server's name for the request.
    #[serde(serialize_with = "clean")]
    pub request_uid: &'e str,
    /// True for a dry run, which stores nothing.
    pub dry_run: bool,
    /// User who created the pod, as the API server authenticated them.
    #[serde(serialize_with = "clean")]
    pub requester: &'e str,
    /// True where the caller showed a client certificate; without one nothing proves what it sent.
    pub caller_verified: bool,
    /// Namespace of the pod.
    #[serde(serialize_with = "clean")]
    pub namespace: &'e str,
    /// Name of the pod.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_clean")]
    pub pod: Option<&'e str>,
    /// Prefix of the name that the API server will generate.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_clean")]
    pub generate_name: Option<&'e str>,
    /// Workload of the pod; null for a bare pod.
    pub workload: Option<EntryWorkload<'e>>,
    /// Action that was decided.
    pub action: &'e str,
    /// Rule that won.
    pub rule: EntryRule<'e>,
    /// Reason, in one sentence.
    pub reason: &'e str,
    /// End of the decision, where the rule itself ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<jiff::Timestamp>,
    /// Expected behaviour of the injector.
    pub effect: EntryEffect<'e>,
    /// Other rules that concern this pod, and what became of each.
    #[serde(flatten)]
    pub considered: EntryConsiderations<'e>,
    /// Changes written on the pod, as a JSON Patch.
    pub written: &'e [PatchOperation],
}

/// Workload in an entry.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct EntryWorkload<'e> {
    #[serde(serialize_with = "clean")]
    pub kind: &'e str,
    #[serde(serialize_with = "clean")]
    pub name: &'e str,
}

/// Name of a rule in an entry.
#[derive(Debug, Serialize)]
pub struct EntryRule<'e> {
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'e str>,
}

impl<'e> From<&'e DecisionRule<'_>> for EntryRule<'e> {
    fn from(rule: &'e DecisionRule<'_>) -> Self {
        Self { kind: rule.kind(), name: rule.name(), namespace: rule.namespace() }
    }
}

/// Expected behaviour of the injector, in an entry.
#[derive(Debug, Serialize)]
pub struct EntryEffect<'e> {
    outcome: &'static str,
    #[serde(serialize_with = "serialize_display")]
    reason: &'e EffectReason<'e>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<&'e str>,
}

impl<'e> From<&'e Effect<'e>> for EntryEffect<'e> {
    fn from(effect: &'e Effect<'e>) -> Self {
        let entry = effect.entry();
        Self {
            outcome: effect.outcome.as_str(),
            reason: &effect.reason,
            webhook: entry.map(|entry| &*entry.webhook),
            revision: entry.and_then(|entry| entry.revision.as_deref()),
        }
    }
}

/// Rules that an entry lists besides the winner.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryConsiderations<'e> {
    considered: Vec<EntryConsideredRule<'e>>,
    /// Number of further rules, which are left out.
    #[serde(skip_serializing_if = "is_zero")]
    more_considered: usize,
}

/// Rule that was considered and did not win.
#[derive(Debug, Serialize)]
pub struct EntryConsideredRule<'e> {
    rule: EntryRule<'e>,
    outcome: &'static str,
    reason: String,
}

impl<'e> From<&'e EvaluatedRule<'_>> for EntryConsideredRule<'e> {
    fn from(EvaluatedRule { rule, outcome }: &'e EvaluatedRule<'_>) -> Self {
        Self { rule: rule.into(), outcome: outcome.as_str(), reason: outcome.to_string() }
    }
}

/// Number of rules that an entry lists at most, and as many again in mode Audit.
const MAX_RULES: usize = 32;

/// Selects the considered rules that an entry lists: those that concern this pod and did not win.
///
/// At most `MAX_RULES` of each sort are listed. Rules of a namespace come last, because its tenants could add any number of
/// them.
pub fn notable_rules<'e>(considered: &'e [EvaluatedRule<'_>]) -> EntryConsiderations<'e> {
    let is_notable = |one: &&EvaluatedRule<'_>| !matches!(one.outcome, RuleOutcome::Won | RuleOutcome::NoMatch(_));
    let is_audited = |one: &EvaluatedRule<'_>| matches!(one.outcome, RuleOutcome::Would(_) | RuleOutcome::Untold);
    let is_of_namespace = |one: &EvaluatedRule<'_>| one.rule.namespace().is_some();
    let notable = || considered.iter().filter(is_notable);
    let room = |audited: bool| {
        let others = notable().filter(|one| is_audited(one) == audited && !is_of_namespace(one)).count();
        [MAX_RULES, MAX_RULES.saturating_sub(others)]
    };
    let mut room = [room(false), room(true)];
    let fits = |one: &&EvaluatedRule<'_>| {
        let remaining = &mut room[usize::from(is_audited(one))][usize::from(is_of_namespace(one))];
        let fits = *remaining > 0 && one.outcome != RuleOutcome::Untold;
        *remaining -= usize::from(fits);
        fits
    };
    let listed: Vec<_> = notable().filter(fits).map(EntryConsideredRule::from).collect();
    EntryConsiderations { more_considered: notable().count() - listed.len(), considered: listed }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn serialize_display<S: Serializer>(text: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(text)
}
