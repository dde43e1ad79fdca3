//! The preview itself: new pods under the rules in force against new pods under the proposed rules.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::change::{OptionNames, PreviewRefusal, ProposedChange, ProposedChangeRow};
use super::comparison::Preview;
use crate::features::new_pod::NewPodOutcome;
use crate::features::pod_source::PodSource;
use crate::features::preview::warnings::preview_warnings;
use crate::kernel::text::nearest_word;
use crate::kernel::text::sanitize;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::proposed_rules::ProposedRules;

/// What proposals are, and what they would change.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Previewed")]
pub struct PreviewReport {
    /// The proposals.
    pub changes: Vec<ProposedChangeRow>,
    /// What they would change.
    #[serde(flatten)]
    pub preview: Preview,
    /// What else there is to know, a sentence each.
    pub notes: Vec<String>,
}

/// Compares the new pods of these sources under the rules in force and under the proposed rules. Calls `step` once per source.
///
/// # Errors
///
/// Fails when a proposal contradicts another one or the cluster, or when not all rules in force are known.
pub fn preview_changes(
    inventory: &Inventory,
    changes: &[ProposedChange],
    sources: &[PodSource],
    (now, option_names): (Timestamp, OptionNames),
    step: impl Fn(),
) -> Result<PreviewReport, PreviewRefusal> {
    check_changes(inventory, changes)?;
    let rules = changes.iter().map(|change| (change.key(), change.rule().cloned()));
    let mut proposed = ProposedRules::with_changes(inventory, rules).ok_or(PreviewRefusal::NotKnown(
        "the policies and suspensions in force cannot all be read, so that nobody can tell what others would change",
    ))?;
    let existing: BTreeSet<_> = inventory.rules.names().into_iter().collect();
    let rows = changes.iter().map(|change| change.to_row(&existing)).collect::<Result<_, _>>()?;
    let preview = Preview::compare(sources.iter().map(|source| {
        step();
        let (before, after) = source.with_facts(inventory, |facts| {
            (NewPodOutcome::from_facts(facts, now), NewPodOutcome::from_facts(&proposed.apply_to(facts), now))
        });
        (source, before, after)
    }));
    let mut notes: Vec<_> = changes.iter().filter_map(|change| change.describe_no_effect(now, option_names)).collect();
    notes.extend(preview_warnings(&preview, inventory));
    Ok(PreviewReport { changes: rows, preview, notes })
}

fn check_changes(inventory: &Inventory, changes: &[ProposedChange]) -> Result<(), PreviewRefusal> {
    let mut seen = BTreeMap::new();
    for change in changes {
        if let Some(other) = seen.insert(change.key(), change) {
            let is_both = change.rule().is_some() != other.rule().is_some();
            let how = if is_both { "both to be applied and to be deleted" } else { "twice" };
            return Err(PreviewRefusal::Invalid(format!("{} is given {how}", change.title())));
        }
    }
    for namespace in changes.iter().filter_map(ProposedChange::namespace) {
        if inventory.namespaces.is_synced() && inventory.namespaces.get(namespace).is_none() {
            let known = inventory.namespaces.all();
            let meant = nearest_word(namespace, known.iter().map(|entry| &*entry.namespace().name));
            let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            return Err(PreviewRefusal::Invalid(format!("there is no namespace {}{meant}", sanitize(namespace))));
        }
    }
    Ok(())
}
