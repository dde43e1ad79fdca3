//! Intake of the policies or suspensions of one kind.

use serde::de::DeserializeOwned;
use tracing::warn;

use super::{ClusterIntake, IntakeKind, JsonObject, KindIntake, decode};
use crate::kubernetes::intake::follow::WatchFailure;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind, namespaced_name};
use crate::kubernetes::inventory::rule_records::RuleRecord;
use crate::kubernetes::inventory::rules::{ParsedRule, RuleLimits, RuleResource};
use crate::kubernetes::resources::cluster_injection_policy::ClusterInjectionPolicy;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::kubernetes::resources::injection_policy::InjectionPolicy;
use crate::kubernetes::resources::suspension_policy::SuspensionPolicy;
use crate::metrics::Metrics;

/// Parses an object into its rule and its record. An object that cannot be used is an invalid rule, and has a record.
pub(crate) fn parse_rule(kind: RuleKind, object: &JsonObject, limits: &RuleLimits) -> (ParsedRule, RuleRecord) {
    match kind {
        RuleKind::ClusterInjectionPolicy => parse_rule_as::<ClusterInjectionPolicy>(kind, object, limits),
        RuleKind::InjectionPolicy => parse_rule_as::<InjectionPolicy>(kind, object, limits),
        RuleKind::ClusterSuspensionPolicy => parse_rule_as::<ClusterSuspensionPolicy>(kind, object, limits),
        RuleKind::SuspensionPolicy => parse_rule_as::<SuspensionPolicy>(kind, object, limits),
    }
}

fn parse_rule_as<K: RuleResource + DeserializeOwned>(
    kind: RuleKind,
    object: &JsonObject,
    limits: &RuleLimits,
) -> (ParsedRule, RuleRecord) {
    match decode::<K>(&object.json) {
        Ok(resource) => (resource.compile(limits).unwrap_or_else(ParsedRule::Invalid), resource.record(limits)),
        Err(why) => {
            let why = object.describe_error(kind.as_str(), &why);
            (ParsedRule::Invalid(why), RuleRecord::unreadable(&object.metadata))
        }
    }
}

pub(crate) struct RuleIntake<'i> {
    pub(crate) inventory: &'i Inventory,
    pub(crate) limits: &'i RuleLimits,
    pub(crate) kind: RuleKind,
    /// Metrics of a watch.
    pub(crate) metrics: Option<&'i Metrics>,
}

impl RuleIntake<'_> {
    fn parse(&self, object: &JsonObject) -> (NamespacedName, ParsedRule, RuleRecord) {
        let (rule, record) = parse_rule(self.kind, object, self.limits);
        (namespaced_name(&object.metadata), rule, record)
    }

    fn count_invalid(&self) {
        if let Some(metrics) = self.metrics {
            let invalid = self.inventory.rules.invalid().len();
            metrics.invalid_objects.set(crate::kernel::count::to_i64(invalid));
        }
    }
}

impl KindIntake for RuleIntake<'_> {
    type Object = JsonObject;
    type Batch = Vec<(NamespacedName, ParsedRule, RuleRecord)>;

    fn stage(&self, listed: &mut Self::Batch, object: JsonObject) -> Result<(), String> {
        let (name, rule, record) = self.parse(&object);
        let checked = rule.check();
        listed.push((name, rule, record));
        checked
    }

    fn commit(&self, listed: Self::Batch) {
        let Inventory { rules, rule_records, .. } = self.inventory;
        let (parsed, records) =
            listed.into_iter().map(|(name, rule, record)| ((name.clone(), rule), (name, record))).unzip();
        rules.replace(self.kind, parsed);
        rule_records.replace(self.kind, records);
        self.count_invalid();
    }
}

impl ClusterIntake for RuleIntake<'_> {
    fn kind(&self) -> IntakeKind {
        IntakeKind::Rules(self.kind)
    }

    fn apply(&self, object: JsonObject) -> Result<(), String> {
        let Inventory { rules, rule_records, .. } = self.inventory;
        let (name, rule, record) = self.parse(&object);
        let checked = rule.check();
        rules.insert(self.kind, name.clone(), rule);
        // The record comes second, so that a generation never belongs to an older rule.
        rule_records.insert(self.kind, name, record);
        self.count_invalid();
        checked
    }

    fn remove(&self, object: &JsonObject) {
        let name = namespaced_name(&object.metadata);
        self.inventory.rules.remove(self.kind, &name);
        self.inventory.rule_records.remove(self.kind, &name);
        self.count_invalid();
    }

    fn absent(&self, failure: WatchFailure) -> bool {
        if failure == WatchFailure::Absent {
            warn!("the cluster does not know {}; apply the output of `outrigger install`", self.kind.plural());
        }
        failure == WatchFailure::Absent
    }

    fn unlisted(&self, is_served: bool) -> Option<&'static str> {
        if is_served {
            return Some("rules of this kind are unknown, so no decision is certain");
        }
        self.commit(Vec::new());
        Some("rules of this kind do not count; apply the output of `outrigger install`")
    }
}
