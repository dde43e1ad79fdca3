//! Rules as they would be: the policies and suspensions of an inventory with some of them changed.
//!
//! Nothing in the inventory changes, and what it remembers stays untouched: facts for a decision are looked up as ever, and
//! then have the proposed rules in the place of those in force.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Inventory;
use super::rules::{Rule, compiled_policies, compiled_suspensions};
use crate::decision::facts::Facts;
use crate::decision::policy::{Candidates, Policies};
use crate::decision::suspension::Suspensions;
use crate::kubernetes::inventory::rule_kind::{RuleKind, RuleName};

/// No set of policies in force has this generation: they count from one.
const GENERATION: u64 = 0;

/// Policies and suspensions that are not in force.
#[derive(Debug)]
pub struct Proposed {
    policies: Arc<Policies>,
    suspensions: Arc<Suspensions>,
    candidates: HashMap<Box<str>, Arc<Candidates>>,
}

impl Proposed {
    /// The rules of this inventory with these in place of those of their names, and without those that have none; nothing
    /// where not all rules in force are known.
    pub fn with(
        inventory: &Inventory,
        changes: impl IntoIterator<Item = ((RuleKind, RuleName), Option<Rule>)>,
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
        let policies = Arc::new(compiled_policies(rules.values(), GENERATION));
        Some(Self { policies, suspensions: Arc::new(compiled_suspensions(rules.values())), candidates: HashMap::new() })
    }

    /// The same facts under these rules.
    pub fn facts<'a>(&mut self, facts: &Facts<'a>) -> Facts<'a> {
        let Self { policies, suspensions, candidates } = self;
        let (pod, namespace) = (facts.pod, facts.namespace.as_deref().ok());
        let candidates = match candidates.get(&*pod.namespace) {
            Some(known) => Arc::clone(known),
            None => {
                let made = Arc::new(policies.candidates(&pod.namespace, namespace));
                candidates.insert(pod.namespace.as_ref().into(), Arc::clone(&made));
                made
            }
        };
        let policies = Ok((Arc::clone(policies), candidates));
        Facts { policies, suspensions: Ok(Arc::clone(suspensions)), ..facts.clone() }
    }
}
