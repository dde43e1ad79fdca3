//! One pass over all workloads, by which every policy and suspension learns what it is about.
//!
//! It can be made in pieces: what the rules are is settled at the beginning, and stays the same to the end.
//! Cost: each workload meets the policies that can concern its namespace, and is decided once, plus once for each policy in
//! mode Audit that matches it.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::decision::decide_with;
use crate::decision::effect::{Consequence, Outcome, consequence};
use crate::decision::facts::{Facts, Owner, Pod};
use crate::decision::marks::{Mark, Marks};
use crate::decision::policy::{Candidates, Matching, Mode, Policies, Policy};
use crate::decision::reason::{Rule, Safety};
use crate::decision::suspension::{Suspension, Suspensions};
use crate::decision::{Action, Decision};
use crate::features::explain::about::{is_about, told, without_template};
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rule_kind::RuleName;

/// How many examples a sentence names.
pub(super) const EXAMPLES: usize = 3;

/// What is known so far of what the rules are about.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) now: Timestamp,
    pub(super) policies: Arc<Policies>,
    suspensions: Arc<Suspensions>,
    /// Of each policy, in order of rank.
    of_policies: Vec<OfPolicy>,
    of_suspensions: HashMap<RuleName, Matched>,
    /// The first instant at which the answer to all this changes by itself.
    pub(super) changes_at: Option<Timestamp>,
    /// The policies that can concern the namespace that was looked at last: workloads come by namespace.
    candidates: Option<(Arc<str>, Arc<Candidates>)>,
}

/// What a rule is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Matched {
    /// Workloads that it is about for certain.
    pub(super) workloads: usize,
    /// Workloads of which that cannot be told, and the first of them.
    pub(super) unknown: usize,
    pub(super) unknown_example: Option<String>,
}

/// What is known of a policy.
#[derive(Debug, Default)]
pub(super) struct OfPolicy {
    pub(super) matched: Matched,
    /// Workloads about which it differs from another of its rank: the other, and the first of them.
    pub(super) conflicts: Vec<(usize, String)>,
    pub(super) conflicting_workloads: usize,
    /// Workloads for which it wins and cannot have its effect, and why for the first of them.
    pub(super) unreachable: usize,
    pub(super) unreachable_examples: Vec<String>,
    /// Workloads for which it wins and nobody knows what the injector does, and why for the first of them.
    pub(super) unforeseen: usize,
    pub(super) unforeseen_example: Option<String>,
    /// In mode Audit: workloads whose new pods would be different.
    pub(super) would_change: usize,
    /// Its matching without what a template says, where it asks for that.
    without_template: Option<Box<Matching>>,
}

impl Survey {
    /// A survey that has seen no workload yet; none while the rules are not known.
    pub(super) fn begin(inventory: &Inventory, now: Timestamp) -> Option<Self> {
        let (policies, suspensions) = (inventory.rules.policies()?, inventory.rules.suspensions()?);
        let of_policy = |policy: &Policy| OfPolicy {
            without_template: without_template(&policy.matching).map(Box::new),
            ..OfPolicy::default()
        };
        let of_policies = policies.all().iter().map(of_policy).collect();
        Some(Self {
            now,
            policies,
            suspensions,
            of_policies,
            of_suspensions: HashMap::new(),
            changes_at: None,
            candidates: None,
        })
    }

    /// The workloads to be looked at, by namespace.
    pub(super) fn workloads(inventory: &Inventory) -> Vec<Arc<Owner>> {
        let mut workloads = inventory.workloads();
        workloads.extend(inventory.workloads_without_template());
        workloads.sort_by(|left, right| left.namespace.cmp(&right.namespace));
        workloads
    }

    /// What is known of each policy, by namespace and name.
    pub(super) fn of_policies(&self) -> HashMap<(&str, &str), (&Policy, &OfPolicy)> {
        let known = self.policies.all().iter().zip(&self.of_policies);
        known.map(|known| ((known.0.namespace.as_deref().unwrap_or_default(), &*known.0.name), known)).collect()
    }

    /// What the suspensions of injection are about; those about nothing are left out.
    pub(super) fn suspended(&self) -> HashMap<RuleName, Matched> {
        self.of_suspensions.clone()
    }

    /// Something changes by itself at this instant, if it is still to come.
    pub(super) fn changes_at(&mut self, instant: Option<Timestamp>) {
        let next = [self.changes_at, instant].into_iter().flatten().filter(|instant| *instant > self.now).min();
        self.changes_at = next;
    }

    /// Looks at one workload.
    pub(super) fn look_at(&mut self, inventory: &Inventory, workload: &Arc<Owner>) {
        let empty = Pod { namespace: (&*workload.namespace).into(), ..Pod::default() };
        let facts = match &workload.template {
            Some(template) => inventory.facts_for_template(workload, template),
            None => inventory.facts_without_template(workload, &empty),
        };
        let (policies, candidates) = (Arc::clone(&self.policies), self.candidates(workload, &facts));
        let suspensions = Arc::clone(&self.suspensions);
        let ruled = Ok((Arc::clone(&policies), Arc::clone(&candidates)));
        let facts = Facts { policies: ruled, suspensions: Ok(Arc::clone(&suspensions)), ..facts };
        let decision = decide_with(&facts, self.now, None);
        if matches!(decision.rule, Rule::Safety(safety) if safety != Safety::WaitsForProxy) {
            return;
        }
        self.changes_at(decision.until);
        let matching = self.matching_policies(&policies, &candidates, &facts, workload);
        self.conflicts(&policies, &matching, workload);
        if workload.template.is_some() {
            self.effects(&policies, &matching, &facts, &decision, workload);
        }
        self.suspensions(&suspensions, &facts, workload);
    }

    fn candidates(&mut self, workload: &Owner, facts: &Facts<'_>) -> Arc<Candidates> {
        if let Some((namespace, candidates)) = &self.candidates
            && *namespace == workload.namespace
        {
            return Arc::clone(candidates);
        }
        let namespace = facts.namespace.as_deref().ok();
        let candidates = Arc::new(self.policies.candidates(&workload.namespace, namespace));
        self.candidates = Some((workload.namespace.clone(), Arc::clone(&candidates)));
        candidates
    }

    /// The positions of the policies that are about this workload for certain, in order of rank.
    fn matching_policies(
        &mut self,
        policies: &Policies,
        candidates: &Candidates,
        facts: &Facts<'_>,
        workload: &Owner,
    ) -> Vec<usize> {
        let mut matching = Vec::new();
        for policy in policies.ranked(candidates, &facts.owners) {
            let position = position_of(policies, policy);
            let OfPolicy { matched, without_template, .. } = &mut self.of_policies[position];
            if matched.count(is_about(&policy.matching, without_template.as_deref(), facts, workload), workload) {
                matching.push(position);
            }
        }
        matching
    }

    fn conflicts(&mut self, policies: &Policies, matching: &[usize], workload: &Owner) {
        let all = policies.all();
        let enforced: Vec<usize> =
            matching.iter().copied().filter(|position| all[*position].mode == Mode::Enforce).collect();
        for of_rank in enforced.chunk_by(|left, right| all[*left].rank() == all[*right].rank()) {
            let Some((first, others)) = of_rank.split_first() else { continue };
            let Some(differing) = others.iter().find(|other| differ(&all[*first], &all[**other])) else { continue };
            for position in of_rank {
                let other = if differ(&all[*position], &all[*first]) { *first } else { *differing };
                let OfPolicy { conflicts, conflicting_workloads, .. } = &mut self.of_policies[*position];
                *conflicting_workloads += 1;
                if conflicts.len() < EXAMPLES && conflicts.iter().all(|(known, _)| *known != other) {
                    conflicts.push((other, told(workload)));
                }
            }
        }
    }

    fn effects(
        &mut self,
        policies: &Policies,
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
                Mode::Enforce => (decision, &follows),
                Mode::Audit => {
                    let promoted = decide_with(facts, self.now, Some(policy));
                    let promoted_follows = consequence(facts, &promoted);
                    let changes = different((decision, &follows), (&promoted, &promoted_follows));
                    self.of_policies[*position].would_change += usize::from(changes);
                    would = (promoted, promoted_follows);
                    (&would.0, &would.1)
                }
            };
            if matches!(&decided.rule, Rule::Policy(winner) if std::ptr::eq(*winner, policy)) {
                self.of_policies[*position].effect(follows, workload);
            }
        }
    }

    fn suspensions(&mut self, suspensions: &Suspensions, facts: &Facts<'_>, workload: &Owner) {
        let all = suspensions.cluster().iter().chain(suspensions.of_namespace(&workload.namespace));
        for Suspension { matching, name, namespace, .. } in all {
            let without = if workload.template.is_none() { without_template(matching) } else { None };
            let is_about = is_about(matching, without.as_ref(), facts, workload);
            let name: RuleName = (namespace.clone().unwrap_or_default(), name.clone());
            self.of_suspensions.entry(name).or_default().count(is_about, workload);
        }
    }
}

impl Matched {
    /// Counts a workload, and says whether the rule is about it for certain.
    fn count(&mut self, is_about: Option<bool>, workload: &Owner) -> bool {
        match is_about {
            Some(true) => self.workloads += 1,
            Some(false) => {}
            None => {
                self.unknown += 1;
                self.unknown_example.get_or_insert_with(|| told(workload));
            }
        }
        is_about == Some(true)
    }
}

impl OfPolicy {
    fn effect(&mut self, follows: &Consequence<'_>, workload: &Owner) {
        match follows.effect.outcome {
            Outcome::Injected | Outcome::NotInjected => {}
            Outcome::Unreachable => {
                self.unreachable += 1;
                if self.unreachable_examples.len() < EXAMPLES {
                    self.unreachable_examples.push(format!("{}: {}", told(workload), follows.effect.why));
                }
            }
            Outcome::Unknown => {
                self.unforeseen += 1;
                self.unforeseen_example.get_or_insert_with(|| format!("{}: {}", told(workload), follows.effect.why));
            }
        }
    }
}

fn position_of(policies: &Policies, policy: &Policy) -> usize {
    let position = policies.all().element_offset(policy);
    position.expect("it is one of them")
}

/// Whether two policies of one rank tell different things about a pod.
fn differ(left: &Policy, right: &Policy) -> bool {
    (left.action, left.overrides, &left.revision) != (right.action, right.overrides, &right.revision)
}

/// Whether new pods would be different, apart from the receipt, which names the rule.
fn different(before: (&Decision<'_>, &Consequence<'_>), after: (&Decision<'_>, &Consequence<'_>)) -> bool {
    fn told<'t>(
        (decision, follows): (&Decision<'_>, &'t Consequence<'_>),
    ) -> (Action, Outcome, Option<&'t str>, [&'t Mark; 3]) {
        let Consequence { marks: Marks { marker, legacy, revision, receipt: _ }, effect, withheld: _ } = follows;
        let leads_to = effect.entry().and_then(|entry| entry.revision.as_deref());
        (decision.action, effect.outcome, leads_to, [marker, legacy, revision])
    }
    told(before) != told(after)
}
