//! Proposed rules: the policies and suspensions of an inventory with some of them changed.
//!
//! The inventory and its remembered results do not change. Facts for a decision are looked up as usual, and then get
//! the proposed rules in place of those in force.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Inventory;
use super::rules::{ParsedRule, compile_policies, compile_suspensions};
use crate::decision::facts::Facts;
use crate::decision::policy::{PolicyCandidates, PolicySet};
use crate::decision::suspension::SuspensionSet;
use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind};

/// Generation of a proposed set of policies. Sets in force count from one.
const PROPOSED_GENERATION: u64 = 0;

/// Policies and suspensions that are not in force.
#[derive(Debug)]
pub struct ProposedRules {
    policies: Arc<PolicySet>,
    suspensions: Arc<SuspensionSet>,
    candidates: HashMap<Box<str>, Arc<PolicyCandidates>>,
}

impl ProposedRules {
    /// Applies changes to the rules of this inventory; `None` as a rule removes the rule of that name. Returns nothing
    /// while not all rules in force are known.
    pub fn with_changes(
        inventory: &Inventory,
        changes: impl IntoIterator<Item = ((RuleKind, NamespacedName), Option<ParsedRule>)>,
    ) -> Option<Self> {
        inventory.rules.policies().and(inventory.rules.suspensions())?;
        let in_force = inventory.rules.all().into_iter().map(|(kind, name, rule)| ((kind, name), rule));
        let mut rules: BTreeMap<_, _> = in_force.collect();
        for (key, rule) in changes {
            match rule {
                Some(rule) => rules.insert(key, rule),
                None => rules.remove(&key),
            };
        }
        let policies = Arc::new(compile_policies(rules.values(), PROPOSED_GENERATION));
        Some(Self { policies, suspensions: Arc::new(compile_suspensions(rules.values())), candidates: HashMap::new() })
    }

    /// Returns the facts with these rules in place of those in force.
    pub fn apply_to<'a>(&mut self, facts: &Facts<'a>) -> Facts<'a> {
        let Self { policies, suspensions, candidates } = self;
        let (pod, namespace) = (facts.pod, facts.namespace.as_deref().ok());
        let candidates = match candidates.get(&*pod.namespace) {
            Some(known) => Arc::clone(known),
            None => {
                let made = Arc::new(policies.candidates_for(&pod.namespace, namespace));
                candidates.insert(pod.namespace.as_ref().into(), Arc::clone(&made));
                made
            }
        };
        let policies = Ok((Arc::clone(policies), candidates));
        Facts { policies, suspensions: Ok(Arc::clone(suspensions)), ..facts.clone() }
    }
}
