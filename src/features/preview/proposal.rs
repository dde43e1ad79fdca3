//! What proposals would change.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::change::{Change, ChangeTold, Refused, Words};
use crate::features::preview::caution::cautions;
use crate::features::preview::comparison::{Answer, Origin, Preview};
use crate::kernel::text::nearest;
use crate::kernel::text::sanitized;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::proposed::Proposed;

/// What proposals are, and what they would change.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Previewed {
    /// The proposals.
    pub changes: Vec<ChangeTold>,
    /// What they would change.
    #[serde(flatten)]
    pub preview: Preview,
    /// What else there is to know, a sentence each.
    pub notes: Vec<String>,
}

/// Compares what these get under the rules in force and under the proposed ones; `step` is called after each.
///
/// # Errors
///
/// When a proposal contradicts another or what there is, or when the rules in force are not known.
pub fn previewed(
    inventory: &Inventory,
    changes: &[Change],
    origins: &[Origin],
    (now, words): (Timestamp, Words),
    step: impl Fn(),
) -> Result<Previewed, Refused> {
    check(inventory, changes)?;
    let rules = changes.iter().map(|change| (change.key(), change.rule().cloned()));
    let mut proposed = Proposed::with(inventory, rules).ok_or(Refused::NotKnown(
        "the policies and suspensions in force cannot all be read, so that nobody can tell what others would change",
    ))?;
    let there: BTreeSet<_> = inventory.rules.names().into_iter().collect();
    let told = changes.iter().map(|change| change.told(&there)).collect::<Result<_, _>>()?;
    let preview = Preview::of(origins.iter().map(|origin| {
        step();
        let (before, after) =
            origin.about(inventory, |facts| (Answer::to(facts, now), Answer::to(&proposed.facts(facts), now)));
        (origin, before, after)
    }));
    let mut notes: Vec<_> = changes.iter().filter_map(|change| change.note(now, words)).collect();
    notes.extend(cautions(&preview, inventory));
    Ok(Previewed { changes: told, preview, notes })
}

fn check(inventory: &Inventory, changes: &[Change]) -> Result<(), Refused> {
    let mut seen = BTreeMap::new();
    for change in changes {
        if let Some(other) = seen.insert(change.key(), change) {
            let is_both = change.rule().is_some() != other.rule().is_some();
            let how = if is_both { "both to be applied and to be deleted" } else { "twice" };
            return Err(Refused::Invalid(format!("{} is given {how}", change.title())));
        }
    }
    for namespace in changes.iter().filter_map(Change::namespace) {
        if inventory.namespaces.is_synced() && inventory.namespaces.get(namespace).is_none() {
            let known = inventory.namespaces.all();
            let meant = nearest(namespace, known.iter().map(|entry| &*entry.namespace().name));
            let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            return Err(Refused::Invalid(format!("there is no namespace {}{meant}", sanitized(namespace))));
        }
    }
    Ok(())
}
