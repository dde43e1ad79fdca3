//! Lists all existing overrides with their outcomes, taken from the decisions that consider them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::decision::facts::Facts;
use crate::decision::overrides::{Override, OverrideEnd};
use crate::decision::reason::{DecisionRule, OverrideRule, OverrideSkip, OverrideSource, RuleOutcome};
use crate::decision::{Action, Decision, decide};
use crate::features::pod_source::{PodSource, pod_sources_with};
use crate::features::status::running::RunningPods;
use crate::kernel::text::sanitize;
use crate::kubernetes::inventory::Inventory;

/// Override, and its effect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Override")]
pub struct OverrideRow {
    /// Namespace that the override is in, or on.
    pub namespace: String,
    /// Kind of place that holds the override.
    pub place: OverridePlace,
    /// Object that holds the override, such as `Deployment/web`; for a pod template its workload.
    pub object: String,
    /// Key of the annotation or label.
    pub key: String,
    /// Value, as written.
    pub value: String,
    /// Requested action; absent if the value is neither on nor off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'static str>,
    /// Reason, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Time of the last write, if the API server knows it; absent for the mesh's own markers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// End, as a time or as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Outcome in one word.
    pub outcome: &'static str,
    /// Reason for the outcome, in one sentence.
    pub why: String,
    /// Rule that refuses the override, passes it over or comes before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Number of workloads, and of pods without one, with this outcome.
    pub workloads: usize,
}

/// Place that holds an override.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(rename = "OverridePlace")]
pub enum OverridePlace {
    /// Namespace.
    Namespace,
    /// Metadata of a workload.
    Workload,
    /// Pod template of a workload.
    PodTemplate,
    /// Pod without a known workload.
    Pod,
}

/// Lists the overrides of the whole inventory.
pub fn list_overrides(inventory: &Inventory, now: Timestamp) -> Vec<OverrideRow> {
    list_overrides_within(inventory, now, None)
}

/// Lists the overrides of one namespace, or of all.
pub fn list_overrides_within(inventory: &Inventory, now: Timestamp, within: Option<&str>) -> Vec<OverrideRow> {
    let mut rows = Vec::new();
    let mut occupied = BTreeSet::new();
    for source in pod_sources_with(inventory, &RunningPods::in_namespace(inventory, within)) {
        occupied.insert(source.namespace().to_owned());
        rows.extend(source.with_facts(inventory, |facts| rows_from_facts(facts, now, Some(&source))));
    }
    for entry in inventory.namespaces.all() {
        let namespace = entry.namespace();
        let is_included = within.is_none_or(|namespace_name| *namespace.name == *namespace_name);
        if is_included && namespace.own_override.inject.is_some() && !occupied.contains(&*namespace.name) {
            // The namespace is empty: the outcome is that of a pod that would be created in it.
            let row = |facts: &Facts<'_>| rows_from_facts(facts, now, None);
            rows.extend(inventory.with_unmarked_pod_facts(&namespace.name, row));
        }
    }
    count_duplicates(rows)
}

/// Merges equal rows, and adds up their workloads.
fn count_duplicates(rows: Vec<OverrideRow>) -> Vec<OverrideRow> {
    let mut counts: BTreeMap<OverrideRow, usize> = BTreeMap::new();
    for row in rows {
        let workloads = row.workloads;
        *counts.entry(OverrideRow { workloads: 0, ..row }).or_default() += workloads;
    }
    counts.into_iter().map(|(row, workloads)| OverrideRow { workloads, ..row }).collect()
}

fn rows_from_facts(facts: &Facts<'_>, now: Timestamp, source: Option<&PodSource>) -> Vec<OverrideRow> {
    let decision = decide(facts, now);
    let context = OverrideRowContext { facts, decision: &decision, source };
    let considered = decision.considered.iter().filter_map(|one| match &one.rule {
        DecisionRule::Override(OverrideRule { source: OverrideSource::UncountedOwner(_), .. }) => None,
        DecisionRule::Override(own) => Some(context.considered_row(own, &one.outcome)),
        DecisionRule::Safety(_)
        | DecisionRule::Suspension(_)
        | DecisionRule::Policy(_)
        | DecisionRule::Nothing
        | DecisionRule::Unknown(..) => None,
    });
    let mut rows: Vec<_> = considered.collect();
    if rows.is_empty() && matches!(decision.rule, DecisionRule::Safety(_)) {
        rows.extend(context.ignored_rows());
    }
    rows
}

struct OverrideRowContext<'t, 'f, 'a> {
    facts: &'t Facts<'a>,
    decision: &'t Decision<'f>,
    source: Option<&'t PodSource>,
}

impl OverrideRowContext<'_, '_, '_> {
    fn considered_row(&self, own: &OverrideRule<'_>, outcome: &RuleOutcome<'_>) -> OverrideRow {
        let by = match outcome {
            RuleOutcome::Refused(policy) | RuleOutcome::PassedOver(OverrideSkip::Stripped(policy)) => {
                Some(policy.to_string())
            }
            RuleOutcome::Outranked => Some(self.decision.rule.to_string()),
            RuleOutcome::Won
            | RuleOutcome::NoMatch(_)
            | RuleOutcome::NotYet(_)
            | RuleOutcome::Ended(_)
            | RuleOutcome::PassedOver(_)
            | RuleOutcome::Would(_)
            | RuleOutcome::Untold
            | RuleOutcome::Unknown(_) => None,
        };
        OverrideRow { outcome: outcome.as_str(), why: outcome.to_string(), by, ..self.base_row(own) }
    }

    /// Returns rows for our own annotations if a safety rule keeps decisions from considering any override.
    fn ignored_rows(&self) -> Vec<OverrideRow> {
        let Facts { pod, owners, .. } = self.facts;
        let of_owners = owners.chain.iter().map(|owner| (OverrideSource::Workload(owner), owner.own_override()));
        let overrides = [(OverrideSource::Pod, &pod.annotations.own_override)].into_iter().chain(of_owners);
        let rows = overrides.filter_map(|(source, own_override)| {
            let own =
                OverrideRule { source, value: own_override.inject.as_deref()?, reason: own_override.reason.as_deref() };
            let why = self.decision.rule.sentence().to_string();
            let by = Some(self.decision.rule.to_string());
            Some(OverrideRow { outcome: "PassedOver", why, by, ..self.base_row(&own) })
        });
        rows.collect()
    }

    fn base_row(&self, own: &OverrideRule<'_>) -> OverrideRow {
        let OverrideRule { source, value, reason } = own;
        let (place, object) = self.locate(source);
        let injects = match source {
            OverrideSource::Marker(_) | OverrideSource::Legacy(_) => self.facts.settings.mesh.parse_marker(value),
            OverrideSource::Pod
            | OverrideSource::Workload(_)
            | OverrideSource::UncountedOwner(_)
            | OverrideSource::Namespace(_) => ["true", "false"].contains(value).then_some(*value == "true"),
        };
        let until =
            self.override_at(source).and_then(|own_override| own_override.until.as_ref()).map(|until| match until {
                OverrideEnd::At(end) => end.to_string(),
                OverrideEnd::Unreadable(text) => sanitize(text),
            });
        let since = match source {
            OverrideSource::Pod | OverrideSource::Workload(_) | OverrideSource::Namespace(_) => {
                self.override_at(source).and_then(|own_override| own_override.since)
            }
            OverrideSource::Marker(_) | OverrideSource::Legacy(_) | OverrideSource::UncountedOwner(_) => None,
        };
        OverrideRow {
            namespace: sanitize(&self.facts.pod.namespace),
            place,
            object,
            key: source.key().to_owned(),
            value: sanitize(value),
            action: injects.map(|on| if on { Action::Enable } else { Action::Disable }.as_str()),
            reason: reason.map(sanitize),
            since,
            until,
            outcome: "",
            why: String::new(),
            by: None,
            workloads: usize::from(self.source.is_some()),
        }
    }

    fn locate(&self, source: &OverrideSource<'_>) -> (OverridePlace, String) {
        let named = |kind: &str, name: &str| format!("{}/{}", sanitize(kind), sanitize(name));
        match (source, self.source) {
            (OverrideSource::Namespace(name), _) => (OverridePlace::Namespace, named("Namespace", name)),
            (OverrideSource::Workload(owner), _) => (OverridePlace::Workload, named(&owner.kind, &owner.name)),
            (OverrideSource::UncountedOwner(owner), _) => (OverridePlace::Workload, named(&owner.kind, &owner.name)),
            (OverrideSource::Pod | OverrideSource::Marker(_) | OverrideSource::Legacy(_), Some(pod_source)) => {
                let place = if pod_source.kind() == "Pod" { OverridePlace::Pod } else { OverridePlace::PodTemplate };
                (place, named(pod_source.kind(), pod_source.name()))
            }
            (OverrideSource::Pod | OverrideSource::Marker(_) | OverrideSource::Legacy(_), None) => {
                (OverridePlace::Pod, String::new())
            }
        }
    }

    fn override_at<'w>(&'w self, source: &OverrideSource<'w>) -> Option<&'w Override<'w>> {
        match source {
            OverrideSource::Pod | OverrideSource::Marker(_) | OverrideSource::Legacy(_) => {
                Some(&self.facts.pod.annotations.own_override)
            }
            OverrideSource::Workload(owner) => Some(owner.own_override()),
            OverrideSource::UncountedOwner(_) => None,
            OverrideSource::Namespace(_) => self.facts.namespace.as_ref().ok().map(|namespace| &namespace.own_override),
        }
    }
}
