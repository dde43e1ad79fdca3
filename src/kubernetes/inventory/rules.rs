//! Policies and suspensions: each kept under its name, and compiled into one set whenever one of them changes.

use crate::kubernetes::inventory::rule_kind::{RuleKind, RuleName};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::changes::Changes;
use super::standings::{Standing, is_held};
use crate::decision::policy::{Policies, Policy};
use crate::decision::suspension::{Suspension, Suspensions};
use crate::kubernetes::resources::cluster_injection_policy::ClusterInjectionPolicy;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::kubernetes::resources::injection_policy::InjectionPolicy;
use crate::kubernetes::resources::invalid::Invalid;
use crate::kubernetes::resources::status::Status;
use crate::kubernetes::resources::suspending::Suspend;
use crate::kubernetes::resources::suspension_object::SuspensionObject;
use crate::kubernetes::resources::suspension_policy::SuspensionPolicy;

/// A rule as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// A policy.
    Policy(Policy),
    /// A suspension of injection.
    Suspension(Suspension),
    /// A suspension of traffic, which decides nothing about injection.
    Traffic(Suspension),
    /// It cannot be read, which was reported, and decides nothing.
    Invalid(String),
}

/// What an installation was told about reading rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// No suspension lasts longer, unless it is an indefinite one of the cluster.
    pub longest_suspension: SignedDuration,
}

impl Default for Terms {
    fn default() -> Self {
        Self { longest_suspension: SignedDuration::from_hours(30 * 24) }
    }
}

/// A resource that can be read as a rule.
pub trait Compile {
    /// The rule, or what is wrong with it in one sentence.
    fn compile(&self, terms: &Terms) -> Result<Rule, String>;

    /// How the object stands.
    fn standing(&self, terms: &Terms) -> Standing;
}

/// All policies and suspensions.
#[derive(Debug, Default)]
pub struct Rules {
    read: Mutex<Read>,
    policies: ArcSwapOption<Policies>,
    suspensions: ArcSwapOption<Suspensions>,
    generation: AtomicU64,
    pub(super) changes: Changes,
}

#[derive(Debug, Default)]
struct Read {
    rules: BTreeMap<(RuleKind, RuleName), Rule>,
    synced: HashSet<RuleKind>,
}

impl Rules {
    /// The compiled policies, once both kinds have been listed.
    pub fn policies(&self) -> Option<Arc<Policies>> {
        self.policies.load_full()
    }

    /// The compiled suspensions, once both kinds have been listed.
    pub fn suspensions(&self) -> Option<Arc<Suspensions>> {
        self.suspensions.load_full()
    }

    /// Puts a rule in place of the one of its name. One that says the same, whose status may have changed, changes nothing.
    pub fn insert(&self, kind: RuleKind, name: RuleName, rule: Rule) {
        self.change(kind, |read| read.rules.insert((kind, name), rule.clone()) != Some(rule));
    }

    /// Takes a rule away.
    pub fn remove(&self, kind: RuleKind, name: &RuleName) {
        self.change(kind, |read| read.rules.remove(&(kind, name.clone())).is_some());
    }

    /// Puts a complete list in place of all rules of a kind, which is then synced.
    pub fn replace(&self, kind: RuleKind, listed: Vec<(RuleName, Rule)>) {
        self.change(kind, |read| {
            read.rules.retain(|(other, _), _| *other != kind);
            read.rules.extend(listed.into_iter().map(|(name, rule)| ((kind, name), rule)));
            read.synced.insert(kind);
            true
        });
    }

    /// The rule of this name.
    pub fn get(&self, kind: RuleKind, name: &RuleName) -> Option<Rule> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.rules.get(&(kind, name.clone())).cloned()
    }

    /// The names of all rules, readable or not.
    pub fn names(&self) -> Vec<(RuleKind, RuleName)> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.rules.keys().cloned().collect()
    }

    /// All rules, readable or not.
    pub fn all(&self) -> Vec<(RuleKind, RuleName, Rule)> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.rules.iter().map(|((kind, name), rule)| (*kind, name.clone(), rule.clone())).collect()
    }

    /// The rules that cannot be read, with what is wrong.
    pub fn invalid(&self) -> Vec<(RuleKind, RuleName, String)> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let invalid = |((kind, name), rule): (&(RuleKind, RuleName), &Rule)| match rule {
            Rule::Invalid(why) => Some((*kind, name.clone(), why.clone())),
            Rule::Policy(_) | Rule::Suspension(_) | Rule::Traffic(_) => None,
        };
        read.rules.iter().filter_map(invalid).collect()
    }

    /// The four kinds, and whether each has been listed.
    pub(super) fn synced(&self) -> Vec<(String, bool)> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        RuleKind::ALL.iter().map(|kind| (kind.as_str().to_owned(), read.synced.contains(kind))).collect()
    }

    /// Changes what was read and compiles it anew, if `change` says so. Only watches come here; decisions read what was compiled.
    fn change(&self, kind: RuleKind, change: impl FnOnce(&mut Read) -> bool) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if !change(&mut read) {
            return;
        }
        self.changes.note();
        let complete = RuleKind::ALL.iter().filter(|one| one.is_policy() == kind.is_policy());
        if !complete.into_iter().all(|one| read.synced.contains(one)) {
            return;
        }
        if kind.is_policy() {
            let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
            self.policies.store(Some(Arc::new(compiled_policies(read.rules.values(), generation))));
        } else {
            self.suspensions.store(Some(Arc::new(compiled_suspensions(read.rules.values()))));
        }
    }
}

/// The policies among rules; `generation` tells this set from every other one.
pub(super) fn compiled_policies<'r>(rules: impl Iterator<Item = &'r Rule>, generation: u64) -> Policies {
    let policies = rules.filter_map(|rule| match rule {
        Rule::Policy(policy) => Some(policy.clone()),
        Rule::Suspension(_) | Rule::Traffic(_) | Rule::Invalid(_) => None,
    });
    Policies::new(policies.collect(), generation)
}

/// The suspensions of injection among rules.
pub(super) fn compiled_suspensions<'r>(rules: impl Iterator<Item = &'r Rule>) -> Suspensions {
    let suspensions = rules.filter_map(|rule| match rule {
        Rule::Suspension(suspension) => Some(suspension.clone()),
        Rule::Policy(_) | Rule::Traffic(_) | Rule::Invalid(_) => None,
    });
    Suspensions::new(suspensions.collect())
}

impl Compile for ClusterInjectionPolicy {
    fn compile(&self, _: &Terms) -> Result<Rule, String> {
        compiled_policy(self.try_into())
    }

    fn standing(&self, _: &Terms) -> Standing {
        standing(&self.metadata, self.status.clone().map(Status::Policy))
    }
}

impl Compile for InjectionPolicy {
    fn compile(&self, _: &Terms) -> Result<Rule, String> {
        compiled_policy(self.try_into())
    }

    fn standing(&self, _: &Terms) -> Standing {
        standing(&self.metadata, self.status.clone().map(Status::Policy))
    }
}

impl Compile for ClusterSuspensionPolicy {
    fn compile(&self, terms: &Terms) -> Result<Rule, String> {
        compiled_suspension(self.suspension(terms.longest_suspension))
    }

    fn standing(&self, terms: &Terms) -> Standing {
        let period = self.period(terms.longest_suspension).ok();
        let suspension = Some(Arc::new(SuspensionObject::from(self)));
        Standing { suspension, period, ..standing(&self.metadata, self.status.clone().map(Status::Suspension)) }
    }
}

impl Compile for SuspensionPolicy {
    fn compile(&self, terms: &Terms) -> Result<Rule, String> {
        compiled_suspension(self.suspension(terms.longest_suspension))
    }

    fn standing(&self, terms: &Terms) -> Standing {
        let period = self.period(terms.longest_suspension).ok();
        let suspension = Some(Arc::new(SuspensionObject::from(self)));
        Standing { suspension, period, ..standing(&self.metadata, self.status.clone().map(Status::Suspension)) }
    }
}

fn standing(metadata: &ObjectMeta, status: Option<Status>) -> Standing {
    let ObjectMeta { uid, generation, .. } = metadata;
    let since = super::written_at(metadata, &["f:spec"]).or(metadata.creation_timestamp.as_ref().map(|time| time.0));
    let is_held = is_held(metadata);
    Standing { uid: uid.clone(), generation: *generation, status, since, is_held, ..Standing::default() }
}

fn compiled_policy(policy: Result<Policy, Invalid>) -> Result<Rule, String> {
    policy.map(Rule::Policy).map_err(|invalid| invalid.to_string())
}

fn compiled_suspension(suspension: Result<(Suspend, Suspension), Invalid>) -> Result<Rule, String> {
    Ok(match suspension.map_err(|invalid| invalid.to_string())? {
        (Suspend::Injection, suspension) => Rule::Suspension(suspension),
        (Suspend::Traffic, suspension) => Rule::Traffic(suspension),
    })
}
