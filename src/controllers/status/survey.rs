//! Survey of all workloads, which counts for every policy and suspension what it matches and achieves.
//!
//! A survey can run in pieces: the rules are fixed when it begins, and stay the same until its end.
//! Cost: each workload is matched against the policies that can concern its namespace, and is decided once, plus once for each
//! policy in mode Audit that matches it.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::decision::effect::{Consequence, EffectOutcome, consequence};
use crate::decision::facts::{Facts, Owner, PodFacts};
use crate::decision::policy::{EnforcementMode, Policy, PolicyCandidates, PolicySet};
use crate::decision::reason::{DecisionRule, SafetyRule};
use crate::decision::suspension::{InjectionSuspension, SuspensionSet};
use crate::decision::{Decision, decide_with};
use crate::features::new_pod::are_equivalent;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rule_kind::NamespacedName;

/// Number of examples that a sentence names.
pub(super) const EXAMPLES: usize = 3;

/// Counts of a survey so far.
#[derive(Debug)]
pub(super) struct WorkloadSurvey {
    pub(super) now: Timestamp,
    pub(super) policies: Arc<PolicySet>,
    suspensions: Arc<SuspensionSet>,
    /// Tally of each policy, in order of rank.
    policy_tallies: Vec<PolicyTally>,
    suspension_tallies: HashMap<NamespacedName, MatchTally>,
    /// First instant at which the result changes by itself.
    pub(super) changes_at: Option<Timestamp>,
    /// Policies that can concern the namespace visited last; workloads are sorted by namespace.
    candidates: Option<(Arc<str>, Arc<PolicyCandidates>)>,
}

/// Number of workloads that a rule matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MatchTally {
    /// Workloads that certainly match.
    pub(super) workloads: usize,
    /// Workloads that may match.
    pub(super) unknown: usize,
    pub(super) unknown_example: Option<String>,
}

/// Counts for one policy.
#[derive(Debug, Default)]
pub(super) struct PolicyTally {
    pub(super) matched: MatchTally,
    /// Policies of the same rank that differ on some workload: position, and the first such workload.
    pub(super) conflicts: Vec<(usize, String)>,
    pub(super) conflicting_workloads: usize,
    /// Workloads on which the policy wins and cannot have its effect, with reasons for the first ones.
    pub(super) unreachable: usize,
    pub(super) unreachable_examples: Vec<String>,
    /// Workloads on which the policy wins and the injector is unpredictable, with the reason for the first one.
    pub(super) unforeseen: usize,
    pub(super) unforeseen_example: Option<String>,
    /// Workloads whose new pods the policy would change, in mode Audit.
    pub(super) would_change: usize,
}

impl WorkloadSurvey {
    /// Begins a survey. `None` while the rules are not known.
    pub(super) fn begin(inventory: &Inventory, now: Timestamp) -> Option<Self> {
        let (policies, suspensions) = (inventory.rules.policies()?, inventory.rules.suspensions()?);
        let policy_tallies = policies.all().iter().map(|_| PolicyTally::default()).collect();
        Some(Self {
            now,
            policies,
            suspensions,
            policy_tallies,
            suspension_tallies: HashMap::new(),
            changes_at: None,
            candidates: None,
        })
    }

    /// Lists the workloads to visit, sorted by namespace.
    pub(super) fn workloads(inventory: &Inventory) -> Vec<Arc<Owner>> {
        let mut workloads = inventory.workloads();
        workloads.extend(inventory.workloads_without_template());
        workloads.sort_by(|left, right| left.namespace.cmp(&right.namespace));
        workloads
    }

    /// Returns the tally of each policy, by namespace and name.
    pub(super) fn policy_tallies(&self) -> HashMap<(&str, &str), (&Policy, &PolicyTally)> {
        let known = self.policies.all().iter().zip(&self.policy_tallies);
        known.map(|known| ((known.0.namespace.as_deref().unwrap_or_default(), &*known.0.name), known)).collect()
    }

    /// Returns the tally of each suspension of injection. Suspensions without any match are left out.
    pub(super) fn suspension_tallies(&self) -> HashMap<NamespacedName, MatchTally> {
        self.suspension_tallies.clone()
    }

    /// Notes that the result changes at this instant, if that is in the future.
    pub(super) fn note_change_at(&mut self, instant: Option<Timestamp>) {
        let next = [self.changes_at, instant].into_iter().flatten().filter(|instant| *instant > self.now).min();
        self.changes_at = next;
    }

    /// Counts one workload for every rule.
    pub(super) fn visit(&mut self, inventory: &Inventory, workload: &Arc<Owner>) {
        let empty = PodFacts { namespace: (&*workload.namespace).into(), ..PodFacts::default() };
        let facts = match &workload.template {
            Some(template) => inventory.facts_for_template(workload, template),
            None => inventory.facts_without_template(workload, &empty),
        };
        let (policies, candidates) = (Arc::clone(&self.policies), self.candidates(workload, &facts));
        let suspensions = Arc::clone(&self.suspensions);
        let ruled = Ok((Arc::clone(&policies), Arc::clone(&candidates)));
        let facts = Facts { policies: ruled, suspensions: Ok(Arc::clone(&suspensions)), ..facts };
        let decision = decide_with(&facts, self.now, None);
        if matches!(decision.rule, DecisionRule::Safety(safety) if safety != SafetyRule::WaitsForProxy) {
            return;
        }
        self.note_change_at(decision.until);
        let matching = self.matching_policies(&policies, &candidates, &facts, workload);
        self.count_conflicts(&policies, &matching, workload);
        if workload.template.is_some() {
            self.count_effects(&policies, &matching, &facts, &decision, workload);
        }
        self.count_suspensions(&suspensions, &facts, workload);
    }

    fn candidates(&mut self, workload: &Owner, facts: &Facts<'_>) -> Arc<PolicyCandidates> {
        if let Some((namespace, candidates)) = &self.candidates
            && *namespace == workload.namespace
        {
            return Arc::clone(candidates);
        }
        let namespace = facts.namespace.as_deref().ok();
        let candidates = Arc::new(self.policies.candidates_for(&workload.namespace, namespace));
        self.candidates = Some((workload.namespace.clone(), Arc::clone(&candidates)));
        candidates
    }

    /// Returns the positions of the policies that certainly match this workload, in order of rank.
    fn matching_policies(
        &mut self,
        policies: &PolicySet,
        candidates: &PolicyCandidates,
        facts: &Facts<'_>,
        workload: &Owner,
    ) -> Vec<usize> {
        let mut matching = Vec::new();
        for policy in policies.ranked(candidates, &facts.owners) {
            let position = position_of(policies, policy);
            let is_selected = policy.matcher.selects_workload(facts, workload);
            if self.policy_tallies[position].matched.add(is_selected, workload) {
                matching.push(position);
            }
        }
        matching
    }

    fn count_conflicts(&mut self, policies: &PolicySet, matching: &[usize], workload: &Owner) {
        let all = policies.all();
        let enforced: Vec<usize> =
            matching.iter().copied().filter(|position| all[*position].mode == EnforcementMode::Enforce).collect();
        for of_rank in enforced.chunk_by(|left, right| all[*left].rank() == all[*right].rank()) {
            let Some((first, others)) = of_rank.split_first() else { continue };
            let Some(differing) = others.iter().find(|other| policies_differ(&all[*first], &all[**other])) else {
                continue;
            };
            for position in of_rank {
                let other = if policies_differ(&all[*position], &all[*first]) { *first } else { *differing };
                let PolicyTally { conflicts, conflicting_workloads, .. } = &mut self.policy_tallies[*position];
                *conflicting_workloads += 1;
                if conflicts.len() < EXAMPLES && conflicts.iter().all(|(known, _)| *known != other) {
                    conflicts.push((other, workload_title(workload)));
                }
            }
        }
    }

    fn count_effects(
        &mut self,
        policies: &PolicySet,
        matching: &[usize],
        facts: &Facts<'_>,
        decision: &Decision<'_>,
        workload: &Owner,
    ) {
        let follows = consequence(facts, decision);
        for position in matching {
            let policy = &policies.all()[*position];
            let would;
            let (decided, follows) = match policy.mode {
                EnforcementMode::Enforce => (decision, &follows),
                EnforcementMode::Audit => {
                    let promoted = decide_with(facts, self.now, Some(policy));
                    let promoted_follows = consequence(facts, &promoted);
                    let changes = !are_equivalent((decision, &follows), (&promoted, &promoted_follows));
                    self.policy_tallies[*position].would_change += usize::from(changes);
                    would = (promoted, promoted_follows);
                    (&would.0, &would.1)
                }
            };
            if matches!(&decided.rule, DecisionRule::Policy(winner) if std::ptr::eq(*winner, policy)) {
                self.policy_tallies[*position].add_effect(follows, workload);
            }
        }
    }

    fn count_suspensions(&mut self, suspensions: &SuspensionSet, facts: &Facts<'_>, workload: &Owner) {
        let all = suspensions.cluster().iter().chain(suspensions.in_namespace(&workload.namespace));
        for InjectionSuspension { matcher, name, namespace, .. } in all {
            let is_selected = matcher.selects_workload(facts, workload);
            let name: NamespacedName = (namespace.clone().unwrap_or_default(), name.clone());
            self.suspension_tallies.entry(name).or_default().add(is_selected, workload);
        }
    }
}

impl MatchTally {
    /// Counts a workload, and returns whether it certainly matches.
    fn add(&mut self, is_selected: Option<bool>, workload: &Owner) -> bool {
        match is_selected {
            Some(true) => self.workloads += 1,
            Some(false) => {}
            None => {
                self.unknown += 1;
                self.unknown_example.get_or_insert_with(|| workload_title(workload));
            }
        }
        is_selected == Some(true)
    }
}

impl PolicyTally {
    fn add_effect(&mut self, follows: &Consequence<'_>, workload: &Owner) {
        match follows.effect.outcome {
            EffectOutcome::Injected | EffectOutcome::NotInjected => {}
            EffectOutcome::Unreachable => {
                self.unreachable += 1;
                if self.unreachable_examples.len() < EXAMPLES {
                    self.unreachable_examples.push(format!("{}: {}", workload_title(workload), follows.effect.reason));
                }
            }
            EffectOutcome::Unknown => {
                self.unforeseen += 1;
                self.unforeseen_example
                    .get_or_insert_with(|| format!("{}: {}", workload_title(workload), follows.effect.reason));
            }
        }
    }
}

fn position_of(policies: &PolicySet, policy: &Policy) -> usize {
    let position = policies.all().element_offset(policy);
    position.expect("the policy is an element of the set")
}

/// Returns whether two policies of the same rank decide differently.
fn policies_differ(left: &Policy, right: &Policy) -> bool {
    (left.action, left.overrides, &left.revision) != (right.action, right.overrides, &right.revision)
}

/// Returns the kind, namespace and name of a workload, as sentences quote them.
fn workload_title(workload: &Owner) -> String {
    let Owner { kind, name, namespace, .. } = workload;
    format!("{kind} {namespace}/{name}")
}
