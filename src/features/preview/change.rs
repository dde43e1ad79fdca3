//! Proposed change: a policy or suspension that would be applied or deleted.

use std::collections::BTreeSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::decision::policy::EnforcementMode;
use crate::features::preview::refusal::{OptionNames, PreviewRefusal};
use crate::kernel::text::{nearest_word, sanitize};
use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind};
use crate::kubernetes::inventory::rules::ParsedRule;

/// Proposed change of one rule.
#[derive(Debug, Clone)]
pub struct ProposedChange {
    pub(super) kind: RuleKind,
    pub(super) name: NamespacedName,
    /// Proposed rule; `None` for a deletion.
    pub(super) rule: Option<ParsedRule>,
}

/// Proposed change of one policy or suspension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ProposedChange")]
pub struct ProposedChangeRow {
    /// Kind of the policy or suspension.
    pub kind: &'static str,
    /// Name of the policy or suspension.
    pub name: String,
    /// Namespace; absent for a rule of the whole cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Sort of the change.
    pub change: ChangeKind,
}

/// Sort of a proposed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "WhatBecomes")]
pub enum ChangeKind {
    /// The rule would be created.
    New,
    /// The rule exists and would be changed.
    Changed,
    /// The rule would be deleted.
    Deleted,
}

impl ProposedChange {
    /// Returns the namespace of the rule, the only one that it can affect; `None` for a rule of the whole cluster.
    pub fn namespace(&self) -> Option<&str> {
        self.kind.is_namespaced().then_some(&*self.name.0)
    }

    /// Explains in one sentence why the change may have no effect; `None` if it should have one.
    pub(crate) fn describe_no_effect(&self, now: Timestamp, option_names: OptionNames) -> Option<String> {
        let OptionNames { as_enforced, at } = option_names;
        let title = self.title();
        match self.rule.as_ref()? {
            ParsedRule::Policy(policy) if policy.mode == EnforcementMode::Audit => Some(format!(
                "{title} is in mode Audit, and changes nothing; {as_enforced} shows what it would change in Enforce"
            )),
            ParsedRule::Suspension(suspension) if now < suspension.starts_at => {
                let start = suspension.starts_at;
                Some(format!("{title} begins at {start}; {at}{start} shows what it will change"))
            }
            ParsedRule::Suspension(suspension) if !suspension.holds_at(now) => {
                Some(format!("{title} is over already, and changes nothing"))
            }
            ParsedRule::Traffic(_) => Some(format!("{title} suspends traffic, which changes no sidecar")),
            ParsedRule::Policy(_) | ParsedRule::Suspension(_) | ParsedRule::Invalid(_) => None,
        }
    }

    /// Describes the change, given the rules that exist. Fails for the deletion of a rule that does not exist.
    pub(crate) fn to_row(
        &self,
        existing: &BTreeSet<(RuleKind, NamespacedName)>,
    ) -> Result<ProposedChangeRow, PreviewRefusal> {
        let Self { kind, name, rule } = self;
        let change = match (rule, existing.contains(&self.key())) {
            (Some(_), false) => ChangeKind::New,
            (Some(_), true) => ChangeKind::Changed,
            (None, true) => ChangeKind::Deleted,
            (None, false) => {
                let others = existing.iter().filter(|(other, of)| other == kind && of.0 == name.0);
                let meant = nearest_word(&name.1, others.map(|(_, of)| &*of.1));
                let meant = meant.map(|meant| format!("; did you mean {}?", sanitize(meant))).unwrap_or_default();
                return Err(PreviewRefusal::Invalid(format!("there is no {}{meant}", self.title())));
            }
        };
        let namespace = self.namespace().map(sanitize);
        Ok(ProposedChangeRow { kind: kind.as_str(), name: sanitize(&name.1), namespace, change })
    }

    /// Returns the kind and name that identify the rule.
    pub(crate) fn key(&self) -> (RuleKind, NamespacedName) {
        (self.kind, self.name.clone())
    }

    /// Returns the proposed rule; `None` for a deletion.
    pub(crate) fn rule(&self) -> Option<&ParsedRule> {
        self.rule.as_ref()
    }

    /// Returns the kind, namespace and name, as sentences quote them.
    pub fn title(&self) -> String {
        let name = sanitize(&self.name.1);
        let namespace = self.namespace().map(|namespace| format!("{}/", sanitize(namespace))).unwrap_or_default();
        format!("{} {namespace}{name}", self.kind.as_str())
    }
}
