//! What one line of the audit log says. Text that tenants wrote is cleaned on its way in.

use std::fmt::Display;

use json_patch::PatchOperation;
use serde::{Serialize, Serializer};

use crate::decision::effect::{Effect, Why};
use crate::decision::reason::{Considered, Outcome, Rule};
use crate::kernel::text::Clean;

/// One decision.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry<'e> {
    /// When it was made, in RFC 3339.
    pub time: jiff::Timestamp,
    /// Names this entry; the API server's own audit log carries it as `pods.outrigger.dev/entry`.
    pub uid: &'e str,
    /// The API server's name for the request.
    #[serde(serialize_with = "clean")]
    pub request_uid: &'e str,
    /// Whether nothing was stored.
    pub dry_run: bool,
    /// Who created the pod, as the API server authenticated them.
    #[serde(serialize_with = "clean")]
    pub requester: &'e str,
    /// Whether the caller showed a client certificate; without one nobody vouches for what it sent.
    pub caller_verified: bool,
    /// The pod's namespace.
    #[serde(serialize_with = "clean")]
    pub namespace: &'e str,
    /// The pod's name.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_clean")]
    pub pod: Option<&'e str>,
    /// The prefix of the name that the API server will generate.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_clean")]
    pub generate_name: Option<&'e str>,
    /// The pod's workload; null for a bare pod.
    pub workload: Option<Workload<'e>>,
    /// What is to happen.
    pub action: &'e str,
    /// The rule that won.
    pub rule: RuleName<'e>,
    /// Why, in one sentence.
    pub reason: &'e str,
    /// Until when that holds, where the rule itself ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<jiff::Timestamp>,
    /// What the injector will do.
    pub effect: EffectOf<'e>,
    /// What became of the other rules that have to do with this pod.
    #[serde(flatten)]
    pub considered: Considerations<'e>,
    /// What was written on the pod, as a JSON Patch.
    pub written: &'e [PatchOperation],
}

/// A workload.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Workload<'e> {
    /// Its kind.
    #[serde(serialize_with = "clean")]
    pub kind: &'e str,
    /// Its name.
    #[serde(serialize_with = "clean")]
    pub name: &'e str,
}

/// How a rule is named in JSON.
#[derive(Debug, Serialize)]
pub struct RuleName<'e> {
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'e str>,
}

impl<'e> From<&'e Rule<'_>> for RuleName<'e> {
    fn from(rule: &'e Rule<'_>) -> Self {
        Self { kind: rule.kind(), name: rule.name(), namespace: rule.namespace() }
    }
}

/// What the injector will do, in JSON.
#[derive(Debug, Serialize)]
pub struct EffectOf<'e> {
    outcome: &'static str,
    #[serde(serialize_with = "text")]
    reason: &'e Why<'e>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<&'e str>,
}

impl<'e> From<&'e Effect<'e>> for EffectOf<'e> {
    fn from(effect: &'e Effect<'e>) -> Self {
        let entry = effect.entry();
        Self {
            outcome: effect.outcome.as_str(),
            reason: &effect.why,
            webhook: entry.map(|entry| &*entry.webhook),
            revision: entry.and_then(|entry| entry.revision.as_deref()),
        }
    }
}

/// The rules that were considered, in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Considerations<'e> {
    considered: Vec<ConsideredRule<'e>>,
    /// How many more there were.
    #[serde(skip_serializing_if = "is_zero")]
    more_considered: usize,
}

/// A rule that was considered, in JSON.
#[derive(Debug, Serialize)]
pub struct ConsideredRule<'e> {
    rule: RuleName<'e>,
    outcome: &'static str,
    reason: String,
}

impl<'e> From<&'e Considered<'_>> for ConsideredRule<'e> {
    fn from(Considered { rule, outcome }: &'e Considered<'_>) -> Self {
        Self { rule: rule.into(), outcome: outcome.as_str(), reason: outcome.to_string() }
    }
}

/// An entry tells of so many rules at most, and of as many in mode Audit.
const MOST_TOLD: usize = 32;

/// The considered rules that an entry tells of: those that have to do with this pod, and did not win.
///
/// Of very many only the first are told, and those of a namespace, of which its tenants could add any number, only where
/// the others leave room.
pub fn worth_telling<'e>(considered: &'e [Considered<'_>]) -> Considerations<'e> {
    let is_worth = |one: &&Considered<'_>| !matches!(one.outcome, Outcome::Won | Outcome::NoMatch(_));
    let is_audited = |one: &Considered<'_>| matches!(one.outcome, Outcome::Would(_) | Outcome::Untold);
    let is_of_namespace = |one: &Considered<'_>| one.rule.namespace().is_some();
    let worth = || considered.iter().filter(is_worth);
    let room = |audited: bool| {
        let others = worth().filter(|one| is_audited(one) == audited && !is_of_namespace(one)).count();
        [MOST_TOLD, MOST_TOLD.saturating_sub(others)]
    };
    let mut room = [room(false), room(true)];
    let fits = |one: &&Considered<'_>| {
        let left = &mut room[usize::from(is_audited(one))][usize::from(is_of_namespace(one))];
        let fits = *left > 0 && one.outcome != Outcome::Untold;
        *left -= usize::from(fits);
        fits
    };
    let told: Vec<_> = worth().filter(fits).map(ConsideredRule::from).collect();
    Considerations { more_considered: worth().count() - told.len(), considered: told }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn text<S: Serializer>(text: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(text)
}

fn clean<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Clean(text))
}

fn maybe_clean<S: Serializer>(text: &Option<&str>, serializer: S) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) => clean(text, serializer),
        None => serializer.serialize_none(),
    }
}
