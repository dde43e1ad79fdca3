//! What is said of a policy.

use super::condition::{Saying, Truth};
use super::survey::{EXAMPLES, Matched, OfPolicy, Survey};
use crate::decision::Action;
use crate::decision::policy::{Mode, Overrides, Policy};

/// What is said of one that cannot be read; the sentence names it, and what is wrong.
pub(super) fn invalid(why: &str) -> Vec<Saying> {
    let nothing = "the policy cannot be read, and decides nothing";
    vec![
        Saying::new("Ready", false, "Invalid", why),
        Saying::new("Conflict", Truth::Unknown, "Invalid", nothing),
        Saying::new("Ineffective", Truth::Unknown, "Invalid", nothing),
    ]
}

/// What is said of one that takes part; `before_us` are the injectors that the API server calls before us.
pub(super) fn sayings(survey: &Survey, policy: &Policy, known: &OfPolicy, before_us: &[&str]) -> Vec<Saying> {
    vec![ready(policy, &known.matched), conflict(survey, policy, known), ineffective(policy, known, before_us)]
}

fn ready(policy: &Policy, matched: &Matched) -> Saying {
    let does = match policy.mode {
        Mode::Enforce => "it takes part in decisions",
        Mode::Audit => "it is evaluated and recorded, and changes nothing",
    };
    let message = format!("{does}; {}", about(matched));
    let parts = parts_of_tenants(policy);
    if parts.is_empty() {
        let reason = if policy.mode == Mode::Enforce { "Enforced" } else { "Audited" };
        return Saying::new("Ready", true, reason, message);
    }
    let forbids = if policy.overrides == Overrides::Deny { "overrides: Deny" } else { "action: Disable" };
    let message = format!(
        "{message}; {forbids} is selected by {}, which tenants write: what they label or name otherwise is out of its reach",
        parts.join(", ")
    );
    Saying::new("Ready", true, "SelectsByTenantLabels", message)
}

/// How many workloads a rule is about, in words.
pub(super) fn about(matched: &Matched) -> String {
    let Matched { workloads, unknown, unknown_example } = matched;
    match unknown_example {
        None => format!("it matches {}", count(*workloads)),
        Some(example) => format!(
            "it matches at least {}; of {unknown} more that cannot be told, because their pod templates are not read, such as {example}",
            count(*workloads)
        ),
    }
}

/// The parts by which a cluster policy forbids something to those who write them.
fn parts_of_tenants(policy: &Policy) -> Vec<&'static str> {
    let forbids = policy.overrides == Overrides::Deny || policy.action == Action::Disable;
    if policy.namespace.is_some() || !forbids {
        return Vec::new();
    }
    let matching = &policy.matching;
    let parts = [
        (!matching.workloads.is_empty(), "workloads"),
        (!matching.workload_selector.selects_all(), "workloadSelector"),
        (!matching.pod_selector.selects_all(), "podSelector"),
        (!matching.service_accounts.is_empty(), "serviceAccounts"),
    ];
    parts.into_iter().filter_map(|(given, part)| given.then_some(part)).collect()
}

fn conflict(survey: &Survey, policy: &Policy, known: &OfPolicy) -> Saying {
    if policy.mode == Mode::Audit {
        return Saying::new("Conflict", false, "Audited", "in mode Audit it is no rival of another");
    }
    let OfPolicy { conflicts, conflicting_workloads, .. } = known;
    if conflicts.is_empty() {
        return Saying::new(
            "Conflict",
            false,
            "NoConflict",
            "no other of its rank differs about a workload of the cluster",
        );
    }
    let other = |(position, example): &(usize, String)| {
        let other = &survey.policies.all()[*position];
        let revision = other.revision.as_ref().map(|revision| format!(" revision {revision}")).unwrap_or_default();
        let (action, overrides) = (other.action.as_str(), overrides(other.overrides));
        format!("{other} asks for {action}{revision} with overrides {overrides}, as for {example}")
    };
    let others: Vec<_> = conflicts.iter().map(other).collect();
    let message = format!(
        "of the same rank, {}; this is about {}, for which Disable goes before Remove before Enable, and the strictest overrides holds",
        others.join("; "),
        count(*conflicting_workloads)
    );
    Saying::new("Conflict", true, "SameRank", message)
}

fn overrides(overrides: Overrides) -> &'static str {
    match overrides {
        Overrides::Allow => "Allow",
        Overrides::RequireReason => "RequireReason",
        Overrides::Deny => "Deny",
    }
}

fn ineffective(policy: &Policy, known: &OfPolicy, before_us: &[&str]) -> Saying {
    let OfPolicy { matched, unreachable, unreachable_examples, unforeseen, unforeseen_example, .. } = known;
    let more = unreachable.saturating_sub(EXAMPLES);
    let action = policy.action.as_str();
    let out_of_reach = (*unreachable > 0).then(|| {
        let and_more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let of = count(matched.workloads);
        format!(
            "{action} cannot have its effect on {unreachable} of {of}: {}{and_more}",
            unreachable_examples.join("; ")
        )
    });
    if policy.mode == Mode::Enforce && !before_us.is_empty() {
        let order = crate::kubernetes::client::order::sentence(before_us);
        let message = out_of_reach.map_or(order.clone(), |out_of_reach| format!("{order}; {out_of_reach}"));
        return Saying::new("Ineffective", true, "WrongOrder", message);
    }
    match (out_of_reach, unforeseen_example) {
        (Some(message), _) => Saying::new("Ineffective", true, "Unreachable", message),
        (None, Some(example)) => {
            let message = format!("what the injector will do with {} is not known: {example}", count(*unforeseen));
            Saying::new("Ineffective", Truth::Unknown, "Unforeseen", message)
        }
        (None, None) => Saying::new("Ineffective", false, "Effective", "nothing keeps it from its effect"),
    }
}

fn count(workloads: usize) -> String {
    if workloads == 1 { "1 workload".to_owned() } else { format!("{workloads} workloads") }
}
