//! Plan of the statuses of policies, after a survey.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::condition::{PlannedCondition, merge_conditions};
use super::policy::{invalid_conditions, policy_conditions};
use super::survey::{MatchTally, PolicyTally, WorkloadSurvey};
use super::{StatusUrgency, StatusWrite, conditions_of, plan_write};
use crate::decision::injector::Injectors;
use crate::decision::policy::{EnforcementMode, Policy};
use crate::kernel::count::to_i64;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind};
use crate::kubernetes::inventory::rule_records::RuleRecord;
use crate::kubernetes::inventory::rules::ParsedRule;
use crate::kubernetes::resources::status::{PolicyStatus, RuleStatus};

/// Writes that a survey leads to for policies, and its counts for suspensions.
pub(super) struct SurveyPlan {
    pub(super) writes: Vec<(StatusUrgency, StatusWrite)>,
    /// Next instant at which the plan changes by itself.
    pub(super) changes_at: Option<Timestamp>,
    pub(super) suspended: HashMap<NamespacedName, MatchTally>,
}

/// Plans the statuses of policies from a finished survey.
pub(super) fn plan_policies(mut survey: WorkloadSurvey, inventory: &Inventory) -> SurveyPlan {
    // The records are read before the rules, so that no status names a generation newer than its rule.
    let records = inventory.rule_records.all();
    let rules = inventory.rules.all();
    for period in records.values().filter_map(|record| record.period) {
        survey.note_change_at(Some(period.starts_at));
        survey.note_change_at(period.ends_at);
    }
    let planner = PolicyPlanner::new(&survey, inventory);
    let unknown = RuleRecord::default();
    let policies = rules.iter().filter(|(kind, ..)| kind.is_policy());
    let write = |(kind, name, rule): &(RuleKind, NamespacedName, ParsedRule)| {
        let record = records.get(&(*kind, name.clone())).unwrap_or(&unknown);
        plan_write(*kind, name, record, planner.status(*kind, name, rule, record)?)
    };
    let writes = policies.filter_map(write).collect();
    SurveyPlan { writes, changes_at: survey.changes_at, suspended: survey.suspension_tallies() }
}

struct PolicyPlanner<'s> {
    survey: &'s WorkloadSurvey,
    inventory: &'s Inventory,
    injectors: Option<Arc<Injectors>>,
    tallies: HashMap<(&'s str, &'s str), (&'s Policy, &'s PolicyTally)>,
}

#[derive(Debug, Default)]
struct PolicyCounts {
    matched_workloads: Option<usize>,
    would_change: Option<usize>,
    drifting_pods: Option<usize>,
}

impl<'s> PolicyPlanner<'s> {
    fn new(survey: &'s WorkloadSurvey, inventory: &'s Inventory) -> Self {
        Self { survey, inventory, injectors: inventory.injectors.get(), tallies: survey.policy_tallies() }
    }

    /// Returns the status of a policy; `None` where it has to wait for the next survey.
    fn status(
        &self,
        kind: RuleKind,
        name: &NamespacedName,
        rule: &ParsedRule,
        record: &RuleRecord,
    ) -> Option<RuleStatus> {
        match rule {
            ParsedRule::Invalid(why) => {
                Some(self.build_status(record, invalid_conditions(why), PolicyCounts::default()))
            }
            ParsedRule::Policy(current) => {
                let (policy, tally) = *self.tallies.get(&(&*name.0, &*name.1))?;
                // A policy that changed since the survey began has to wait for the next survey.
                (current == policy).then(|| {
                    let counts = self.counts(kind, name, policy, tally);
                    self.build_status(record, self.conditions(policy, tally), counts)
                })
            }
            ParsedRule::Suspension(_) | ParsedRule::Traffic(_) => None,
        }
    }

    fn conditions(&self, policy: &Policy, tally: &PolicyTally) -> Vec<PlannedCondition> {
        let before_us = self.injectors.as_ref().map(|injectors| injectors.before_us()).unwrap_or_default();
        policy_conditions(self.survey, policy, tally, &before_us)
    }

    fn counts(&self, kind: RuleKind, name: &NamespacedName, policy: &Policy, tally: &PolicyTally) -> PolicyCounts {
        let is_audited = policy.mode == EnforcementMode::Audit;
        PolicyCounts {
            matched_workloads: Some(tally.matched.workloads),
            would_change: is_audited.then_some(tally.would_change),
            drifting_pods: self.inventory.drift_counts.count(kind, name).filter(|_| !is_audited),
        }
    }

    fn build_status(&self, record: &RuleRecord, planned: Vec<PlannedCondition>, counts: PolicyCounts) -> RuleStatus {
        let PolicyCounts { matched_workloads, would_change, drifting_pods } = counts;
        let stored = record.status.as_ref().map(conditions_of).unwrap_or_default();
        RuleStatus::Policy(PolicyStatus {
            observed_generation: record.generation,
            conditions: merge_conditions(planned, stored, record.generation, self.survey.now),
            matched_workloads: matched_workloads.map(to_i64),
            would_change: would_change.map(to_i64),
            drifting_pods: drifting_pods.map(to_i64),
        })
    }
}
