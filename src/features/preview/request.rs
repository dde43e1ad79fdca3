//! Request to preview changes of policies and suspensions: read, checked, and compared with the rules in force.

use crate::features::preview::refusal::{OptionNames, PreviewRefusal, RuleDeletion};
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::change::{ProposedChange, ProposedChangeRow};
use super::comparison::Preview;
use super::reader::ChangeReader;
use super::warnings::preview_warnings;
use crate::features::new_pod::NewPodOutcome;
use crate::features::pod_source::{PodSource, pod_sources_with};
use crate::features::status::running::RunningPods;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::proposed_rules::ProposedRules;
use crate::kubernetes::inventory::rules::RuleLimits;

/// Changes to preview, as a user gives them.
#[derive(Debug, Clone)]
pub struct PreviewRequest {
    /// Manifests of rules that would be applied.
    pub objects: Vec<Value>,
    /// Rules that would go away.
    pub deletions: Vec<RuleDeletion>,
    /// Namespace of rules that name none. Without it each namespaced rule has to name its own.
    pub default_namespace: Option<String>,
    /// Only namespace that may be changed, and that is looked at; all without it.
    pub within: Option<String>,
    /// Whether policies in mode Audit count as in Enforce.
    pub as_enforced: bool,
    pub option_names: OptionNames,
}

/// Changes that are valid by themselves. The cluster is not known yet.
#[derive(Debug)]
pub struct PreviewPlan {
    changes: Vec<ProposedChange>,
    within: Option<String>,
    now: Timestamp,
    option_names: OptionNames,
}

/// Proposed changes, and their consequences for new pods.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Previewed")]
pub struct PreviewReport {
    /// Proposed changes.
    pub changes: Vec<ProposedChangeRow>,
    /// Changes for new pods.
    #[serde(flatten)]
    pub preview: Preview,
    /// Further notes, one sentence each.
    pub notes: Vec<String>,
}

/// Verdict of a preview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PreviewVerdict {
    /// New pods are the same.
    Same,
    /// Some new pods would be different.
    Changed,
    /// No new pod that is known would be different, for this much of the cluster.
    Unclear(String),
}

impl PreviewRequest {
    /// Reads the changes as the API server would read them at this time.
    ///
    /// # Errors
    ///
    /// Fails when a change is not valid, when there is none, or when one is of another namespace than allowed.
    pub fn prepare(self, limits: &RuleLimits, now: Timestamp) -> Result<PreviewPlan, PreviewRefusal> {
        let Self { objects, deletions, default_namespace, within, as_enforced, option_names } = self;
        let namespace = default_namespace.as_deref().or(within.as_deref());
        let reader = ChangeReader { namespace, rule_limits: limits, now, as_enforced };
        let manifests = objects.iter().map(|object| reader.read_manifest(object));
        let changes: Vec<_> = manifests
            .chain(deletions.iter().map(|deletion| reader.read_deletion(deletion)))
            .collect::<Result<_, _>>()?;
        if changes.is_empty() {
            return Err(PreviewRefusal::NothingProposed);
        }
        let is_outside = |change: &&ProposedChange| within.is_some() && change.namespace() != within.as_deref();
        match (&within, changes.iter().find(is_outside)) {
            (Some(namespace), Some(change)) => {
                Err(PreviewRefusal::OtherNamespace { rule: change.title(), namespace: namespace.clone() })
            }
            _ => Ok(PreviewPlan { changes, within, now, option_names }),
        }
    }
}

impl PreviewPlan {
    /// Returns the namespace of all changes, the only one that they can affect; `None` if there is no such namespace.
    pub fn namespace(&self) -> Option<&str> {
        let first = self.changes.first()?.namespace()?;
        self.changes.iter().all(|change| change.namespace() == Some(first)).then_some(first)
    }

    /// Returns the sources of the new pods to compare.
    pub fn sources(&self, inventory: &Inventory) -> Vec<PodSource> {
        pod_sources_with(inventory, &RunningPods::in_namespace(inventory, self.within.as_deref()))
    }

    /// Compares new pods of these sources under the rules in force and under the proposed rules. Calls `step` once per source.
    ///
    /// # Errors
    ///
    /// Fails when a change contradicts another one or the cluster, or when not all rules in force are known.
    pub fn compare(
        &self,
        inventory: &Inventory,
        sources: &[PodSource],
        step: impl Fn(),
    ) -> Result<PreviewReport, PreviewRefusal> {
        let Self { changes, now, option_names, within: _ } = self;
        self.check(inventory)?;
        let rules = changes.iter().map(|change| (change.key(), change.rule().cloned()));
        let mut proposed = ProposedRules::with_changes(inventory, rules).ok_or(PreviewRefusal::NotKnown(
            "the policies and suspensions in force could not all be read, so there is nothing to compare with",
        ))?;
        let existing: BTreeSet<_> = inventory.rules.names().into_iter().collect();
        let rows = changes.iter().map(|change| change.to_row(&existing)).collect::<Result<_, _>>()?;
        let preview = Preview::compare(sources.iter().map(|source| {
            step();
            let (before, after) = source.with_facts(inventory, |facts| {
                (NewPodOutcome::from_facts(facts, *now), NewPodOutcome::from_facts(&proposed.apply_to(facts), *now))
            });
            (source, before, after)
        }));
        let no_effect = changes.iter().filter_map(|change| change.describe_no_effect(*now, *option_names));
        let notes = no_effect.chain(preview_warnings(&preview, inventory)).collect();
        Ok(PreviewReport { changes: rows, preview, notes })
    }

    fn check(&self, inventory: &Inventory) -> Result<(), PreviewRefusal> {
        let mut seen = BTreeMap::new();
        for change in &self.changes {
            if let Some(other) = seen.insert(change.key(), change) {
                let is_both = change.rule().is_some() != other.rule().is_some();
                let how = if is_both { "both to be applied and to be deleted" } else { "twice" };
                return Err(PreviewRefusal::Invalid(format!("{} is given {how}", change.title())));
            }
        }
        for namespace in self.changes.iter().filter_map(ProposedChange::namespace) {
            inventory.check_namespace(namespace).map_err(|unknown| PreviewRefusal::Invalid(unknown.to_string()))?;
        }
        Ok(())
    }
}

impl PreviewReport {
    /// Limits the number of workloads, and returns how many it removed. The summary counts all.
    pub fn truncate(&mut self, limit: usize) -> usize {
        let mut remaining = limit;
        for namespace in &mut self.preview.namespaces {
            namespace.workloads.truncate(remaining);
            remaining -= namespace.workloads.len();
        }
        self.preview.namespaces.retain(|namespace| !namespace.workloads.is_empty());
        self.preview.summary.changed - (limit - remaining)
    }

    /// Judges the preview, given the parts of the cluster that could not be read.
    pub fn verdict(&self, unread: &[String]) -> PreviewVerdict {
        match self.preview.summary.changed {
            0 if unread.is_empty() => PreviewVerdict::Same,
            0 => PreviewVerdict::Unclear(format!(
                "nothing would change as far as can be told, but not all could be read: {}",
                unread.join(", ")
            )),
            _ => PreviewVerdict::Changed,
        }
    }
}
