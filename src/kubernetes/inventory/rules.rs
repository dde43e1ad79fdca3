//! Policies and suspensions: each is kept under its name, and all are compiled into one set whenever one changes.

use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;

use super::change_counter::ChangeCounter;
use super::metadata::written_at;
use super::rule_records::{RuleRecord, has_finalizer};
use crate::decision::policy::{Policy, PolicySet};
use crate::decision::suspension::{InjectionSuspension, SuspensionSet};
use crate::kubernetes::resources::cluster_injection_policy::ClusterInjectionPolicy;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::kubernetes::resources::injection_policy::InjectionPolicy;
use crate::kubernetes::resources::invalid::InvalidObject;
use crate::kubernetes::resources::status::RuleStatus;
use crate::kubernetes::resources::suspension_fields::SuspensionSubject;
use crate::kubernetes::resources::suspension_object::SuspensionObject;
use crate::kubernetes::resources::suspension_policy::SuspensionPolicy;

/// Rule as it was read from its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedRule {
    Policy(Policy),
    Suspension(InjectionSuspension),
    /// Suspension of traffic, which decides nothing about injection.
    Traffic(InjectionSuspension),
    /// Rule that cannot be read. The reason was reported, and the rule decides nothing.
    Invalid(String),
}

impl ParsedRule {
    /// Returns the mistake of a rule that cannot be read as an error.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Invalid(why) => Err(why.clone()),
            Self::Policy(_) | Self::Suspension(_) | Self::Traffic(_) => Ok(()),
        }
    }
}

/// Limits of an installation for its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleLimits {
    /// Longest duration of a suspension, except for an indefinite one of the cluster.
    pub longest_suspension: SignedDuration,
}

impl Default for RuleLimits {
    fn default() -> Self {
        Self { longest_suspension: SignedDuration::from_hours(30 * 24) }
    }
}

/// Custom resource that can be read as a rule.
pub trait RuleResource {
    /// Returns the rule, or a sentence about the mistake.
    fn compile(&self, limits: &RuleLimits) -> Result<ParsedRule, String>;

    fn record(&self, limits: &RuleLimits) -> RuleRecord;
}

/// Index of all policies and suspensions.
#[derive(Debug, Default)]
pub struct RuleIndex {
    parsed: Mutex<ParsedRules>,
    policies: ArcSwapOption<PolicySet>,
    suspensions: ArcSwapOption<SuspensionSet>,
    generation: AtomicU64,
    pub(super) changes: ChangeCounter,
}

#[derive(Debug, Default)]
struct ParsedRules {
    rules: BTreeMap<(RuleKind, NamespacedName), ParsedRule>,
    synced: HashSet<RuleKind>,
}

impl RuleIndex {
    /// Returns the compiled policies, once both kinds have been listed.
    pub fn policies(&self) -> Option<Arc<PolicySet>> {
        self.policies.load_full()
    }

    /// Returns the compiled suspensions, once both kinds have been listed.
    pub fn suspensions(&self) -> Option<Arc<SuspensionSet>> {
        self.suspensions.load_full()
    }

    /// Puts a rule in place of the one of its name. An equal rule, whose object may have a new status, changes nothing.
    pub fn insert(&self, kind: RuleKind, name: NamespacedName, rule: ParsedRule) {
        self.change(kind, |read| read.rules.insert((kind, name), rule.clone()) != Some(rule));
    }

    pub fn remove(&self, kind: RuleKind, name: &NamespacedName) {
        self.change(kind, |read| read.rules.remove(&(kind, name.clone())).is_some());
    }

    /// Replaces all rules of a kind by a complete list; the kind then counts as listed.
    pub fn replace(&self, kind: RuleKind, listed: Vec<(NamespacedName, ParsedRule)>) {
        self.change(kind, |read| {
            read.rules.retain(|(other, _), _| *other != kind);
            read.rules.extend(listed.into_iter().map(|(name, rule)| ((kind, name), rule)));
            read.synced.insert(kind);
            true
        });
    }

    pub fn get(&self, kind: RuleKind, name: &NamespacedName) -> Option<ParsedRule> {
        let read = self.parsed.lock();
        read.rules.get(&(kind, name.clone())).cloned()
    }

    /// Returns the names of all rules, readable or not.
    pub fn names(&self) -> Vec<(RuleKind, NamespacedName)> {
        let read = self.parsed.lock();
        read.rules.keys().cloned().collect()
    }

    /// Returns all rules, readable or not.
    pub fn all(&self) -> Vec<(RuleKind, NamespacedName, ParsedRule)> {
        let read = self.parsed.lock();
        read.rules.iter().map(|((kind, name), rule)| (*kind, name.clone(), rule.clone())).collect()
    }

    /// Returns the rules that cannot be read, each with its mistake.
    pub fn invalid(&self) -> Vec<(RuleKind, NamespacedName, String)> {
        let read = self.parsed.lock();
        let invalid = |((kind, name), rule): (&(RuleKind, NamespacedName), &ParsedRule)| {
            Some((*kind, name.clone(), rule.check().err()?))
        };
        read.rules.iter().filter_map(invalid).collect()
    }

    /// Returns the four kinds, and whether each has been listed.
    pub(super) fn cache_states(&self) -> Vec<(String, bool)> {
        let read = self.parsed.lock();
        RuleKind::ALL.iter().map(|kind| (kind.as_str().to_owned(), read.synced.contains(kind))).collect()
    }

    /// Applies a change to the parsed rules, and compiles them again if `change` returns true. Only watches call this;
    /// decisions read the compiled sets.
    fn change(&self, kind: RuleKind, change: impl FnOnce(&mut ParsedRules) -> bool) {
        let mut read = self.parsed.lock();
        if !change(&mut read) {
            return;
        }
        self.changes.increment();
        let complete = RuleKind::ALL.iter().filter(|one| one.is_policy() == kind.is_policy());
        if !complete.into_iter().all(|one| read.synced.contains(one)) {
            return;
        }
        if kind.is_policy() {
            let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
            self.policies.store(Some(Arc::new(compile_policies(read.rules.values(), generation))));
        } else {
            self.suspensions.store(Some(Arc::new(compile_suspensions(read.rules.values()))));
        }
    }
}

/// Compiles the policies among rules; `generation` distinguishes this set from every other one.
pub(super) fn compile_policies<'r>(rules: impl Iterator<Item = &'r ParsedRule>, generation: u64) -> PolicySet {
    let policies = rules.filter_map(|rule| match rule {
        ParsedRule::Policy(policy) => Some(policy.clone()),
        ParsedRule::Suspension(_) | ParsedRule::Traffic(_) | ParsedRule::Invalid(_) => None,
    });
    PolicySet::new(policies.collect(), generation)
}

/// Compiles the suspensions of injection among rules.
pub(super) fn compile_suspensions<'r>(rules: impl Iterator<Item = &'r ParsedRule>) -> SuspensionSet {
    let suspensions = rules.filter_map(|rule| match rule {
        ParsedRule::Suspension(suspension) => Some(suspension.clone()),
        ParsedRule::Policy(_) | ParsedRule::Traffic(_) | ParsedRule::Invalid(_) => None,
    });
    SuspensionSet::new(suspensions.collect())
}

impl RuleResource for ClusterInjectionPolicy {
    fn compile(&self, _: &RuleLimits) -> Result<ParsedRule, String> {
        policy_rule(self.try_into())
    }

    fn record(&self, _: &RuleLimits) -> RuleRecord {
        record_of(&self.metadata, self.status.clone().map(RuleStatus::Policy))
    }
}

impl RuleResource for InjectionPolicy {
    fn compile(&self, _: &RuleLimits) -> Result<ParsedRule, String> {
        policy_rule(self.try_into())
    }

    fn record(&self, _: &RuleLimits) -> RuleRecord {
        record_of(&self.metadata, self.status.clone().map(RuleStatus::Policy))
    }
}

impl RuleResource for ClusterSuspensionPolicy {
    fn compile(&self, limits: &RuleLimits) -> Result<ParsedRule, String> {
        suspension_rule(self.suspension(limits.longest_suspension))
    }

    fn record(&self, limits: &RuleLimits) -> RuleRecord {
        let period = self.period(limits.longest_suspension).ok();
        let suspension = Some(Arc::new(SuspensionObject::from(self)));
        RuleRecord { suspension, period, ..record_of(&self.metadata, self.status.clone().map(RuleStatus::Suspension)) }
    }
}

impl RuleResource for SuspensionPolicy {
    fn compile(&self, limits: &RuleLimits) -> Result<ParsedRule, String> {
        suspension_rule(self.suspension(limits.longest_suspension))
    }

    fn record(&self, limits: &RuleLimits) -> RuleRecord {
        let period = self.period(limits.longest_suspension).ok();
        let suspension = Some(Arc::new(SuspensionObject::from(self)));
        RuleRecord { suspension, period, ..record_of(&self.metadata, self.status.clone().map(RuleStatus::Suspension)) }
    }
}

fn record_of(metadata: &ObjectMeta, status: Option<RuleStatus>) -> RuleRecord {
    let ObjectMeta { uid, generation, .. } = metadata;
    let since = written_at(metadata, &["f:spec"]).or(metadata.creation_timestamp.as_ref().map(|time| time.0));
    let is_held = has_finalizer(metadata);
    RuleRecord {
        uid: uid.clone(),
        generation: *generation,
        status,
        spec_written_at: since,
        has_finalizer: is_held,
        ..RuleRecord::default()
    }
}

fn policy_rule(policy: Result<Policy, InvalidObject>) -> Result<ParsedRule, String> {
    policy.map(ParsedRule::Policy).map_err(|invalid| invalid.to_string())
}

fn suspension_rule(
    suspension: Result<(SuspensionSubject, InjectionSuspension), InvalidObject>,
) -> Result<ParsedRule, String> {
    Ok(match suspension.map_err(|invalid| invalid.to_string())? {
        (SuspensionSubject::Injection, suspension) => ParsedRule::Suspension(suspension),
        (SuspensionSubject::Traffic, suspension) => ParsedRule::Traffic(suspension),
    })
}
