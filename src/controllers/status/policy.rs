//! Conditions of policies.

use super::condition::{ConditionStatus, PlannedCondition};
use super::survey::{EXAMPLES, MatchTally, PolicyTally, WorkloadSurvey};
use crate::decision::Action;
use crate::decision::policy::{EnforcementMode, OverridePermission, Policy};

/// Returns the conditions of a policy that cannot be parsed. `why` names the policy and the mistake.
pub(super) fn invalid_conditions(why: &str) -> Vec<PlannedCondition> {
    let nothing = "the policy cannot be read, and decides nothing";
    vec![
        PlannedCondition::new("Ready", false, "Invalid", why),
        PlannedCondition::new("Conflict", ConditionStatus::Unknown, "Invalid", nothing),
        PlannedCondition::new("Ineffective", ConditionStatus::Unknown, "Invalid", nothing),
    ]
}

/// Returns the conditions of a valid policy. `before_us` are the injectors that the API server calls before us.
pub(super) fn policy_conditions(
    survey: &WorkloadSurvey,
    policy: &Policy,
    tally: &PolicyTally,
    before_us: &[&str],
) -> Vec<PlannedCondition> {
    vec![
        ready_condition(policy, &tally.matched),
        conflict_condition(survey, policy, tally),
        ineffective_condition(policy, tally, before_us),
    ]
}

fn ready_condition(policy: &Policy, matched: &MatchTally) -> PlannedCondition {
    let does = match policy.mode {
        EnforcementMode::Enforce => "the policy takes part in decisions",
        EnforcementMode::Audit => "the policy is evaluated and recorded, and changes nothing",
    };
    let message = format!("{does}; {}", describe_matches(matched));
    let parts = tenant_parts(policy);
    if parts.is_empty() {
        let reason = if policy.mode == EnforcementMode::Enforce { "Enforced" } else { "Audited" };
        return PlannedCondition::new("Ready", true, reason, message);
    }
    let forbids = if policy.overrides == OverridePermission::Deny { "overrides: Deny" } else { "action: Disable" };
    let message = format!(
        "{message}; {forbids} is selected by {}, which tenants write and can change to evade the policy",
        parts.join(", ")
    );
    PlannedCondition::new("Ready", true, "SelectsByTenantLabels", message)
}

/// Describes how many workloads a rule matches.
pub(super) fn describe_matches(matched: &MatchTally) -> String {
    let MatchTally { workloads, unknown, unknown_example } = matched;
    let matches = if *workloads == 1 { "matches" } else { "match" };
    match unknown_example {
        None => format!("{} {matches}", count_workloads(*workloads)),
        Some(example) => format!(
            "at least {} {matches}; {unknown} more may match, because their pod templates are not read, such as {example}",
            count_workloads(*workloads)
        ),
    }
}

/// Returns the parts of a cluster policy that tenants can evade, because they write what these select by.
fn tenant_parts(policy: &Policy) -> Vec<&'static str> {
    let forbids = policy.overrides == OverridePermission::Deny || policy.action == Action::Disable;
    if policy.namespace.is_some() || !forbids {
        return Vec::new();
    }
    let matching = &policy.matcher;
    let parts = [
        (!matching.workloads.is_empty(), "workloads"),
        (!matching.workload_selector.selects_all(), "workloadSelector"),
        (!matching.pod_selector.selects_all(), "podSelector"),
        (!matching.service_accounts.is_empty(), "serviceAccounts"),
    ];
    parts.into_iter().filter_map(|(given, part)| given.then_some(part)).collect()
}

fn conflict_condition(survey: &WorkloadSurvey, policy: &Policy, tally: &PolicyTally) -> PlannedCondition {
    if policy.mode == EnforcementMode::Audit {
        return PlannedCondition::new("Conflict", false, "Audited", "a policy in mode Audit conflicts with no other");
    }
    let PolicyTally { conflicts, conflicting_workloads, .. } = tally;
    if conflicts.is_empty() {
        return PlannedCondition::new(
            "Conflict",
            false,
            "NoConflict",
            "no policy of the same rank asks for something else",
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
        "of the same rank, {}; for {}, Disable wins over Remove, Remove over Enable, and the strictest overrides setting holds",
        others.join("; "),
        count_workloads(*conflicting_workloads)
    );
    PlannedCondition::new("Conflict", true, "SameRank", message)
}

fn overrides(overrides: OverridePermission) -> &'static str {
    match overrides {
        OverridePermission::Allow => "Allow",
        OverridePermission::RequireReason => "RequireReason",
        OverridePermission::Deny => "Deny",
    }
}

fn ineffective_condition(policy: &Policy, tally: &PolicyTally, before_us: &[&str]) -> PlannedCondition {
    let PolicyTally { matched, unreachable, unreachable_examples, unforeseen, unforeseen_example, .. } = tally;
    let more = unreachable.saturating_sub(EXAMPLES);
    let action = policy.action.as_str();
    let out_of_reach = (*unreachable > 0).then(|| {
        let and_more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let of = count_workloads(matched.workloads);
        format!(
            "{action} cannot have its effect on {unreachable} of {of}: {}{and_more}",
            unreachable_examples.join("; ")
        )
    });
    if policy.mode == EnforcementMode::Enforce && !before_us.is_empty() {
        let order = crate::kubernetes::client::webhook_order::order_problem(before_us);
        let message = out_of_reach.map_or(order.clone(), |out_of_reach| format!("{order}; {out_of_reach}"));
        return PlannedCondition::new("Ineffective", true, "WrongOrder", message);
    }
    match (out_of_reach, unforeseen_example) {
        (Some(message), _) => PlannedCondition::new("Ineffective", true, "Unreachable", message),
        (None, Some(example)) => {
            let message = format!("the injector cannot be predicted for {}: {example}", count_workloads(*unforeseen));
            PlannedCondition::new("Ineffective", ConditionStatus::Unknown, "Unforeseen", message)
        }
        (None, None) => PlannedCondition::new("Ineffective", false, "Effective", "no obstacle is known"),
    }
}

fn count_workloads(workloads: usize) -> String {
    if workloads == 1 { "1 workload".to_owned() } else { format!("{workloads} workloads") }
}
