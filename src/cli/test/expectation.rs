//! Expectations of a case, and their comparison with the decision.

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::features::explain::explanation::{DecisionSummary, ExplainedRule, ExplainedWorkload, Explanation};
use crate::features::new_pod::{EffectSummary, RuleRef};

/// Expected decision. Absent fields may have any value.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename = "Expected", rename_all = "camelCase")]
pub struct CaseExpectation {
    /// `Enable`, `Disable`, `Remove` or `Leave`.
    pub action: Option<String>,
    /// Kind and name of the rule that wins, such as `Policy mesh-by-default`.
    pub rule: Option<String>,
    /// Part of the reason.
    reason: Option<String>,
    /// Workload, such as `Deployment/web`, or `none`.
    workload: Option<String>,
    /// End of the decision.
    until: Option<Timestamp>,
    /// Other rules that have to do with the pod, in order, such as `Override pod: Refused`.
    considered: Option<Vec<String>>,
    /// `Injected`, `NotInjected`, `Unreachable` or `Unknown`.
    effect: Option<String>,
    /// Part of the reason of the effect.
    effect_reason: Option<String>,
    /// Webhook of the injector that is called.
    webhook: Option<String>,
    /// Revision of the control plane behind the webhook.
    revision: Option<String>,
    /// Labels of the patched pod; null stands for a label that must be absent.
    pub labels: Map<String, Value>,
    /// Annotations of the patched pod; null stands for an annotation that must be absent.
    pub annotations: Map<String, Value>,
}

/// Field whose value is not the expected one.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FieldDifference {
    pub field: String,
    pub expected: String,
    pub found: String,
}

/// Decision of a case in the words of expectations. Absent parts are `none`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDecision {
    pub action: String,
    /// Kind and name of the rule that wins.
    pub rule: String,
    pub reason: String,
    pub workload: String,
    pub until: String,
    /// Other rules that have to do with the pod, with their outcomes.
    pub considered: String,
    pub effect: String,
    pub effect_reason: String,
    pub webhook: String,
    pub revision: String,
    /// Metadata of the patched pod.
    pub metadata: Value,
}

impl FoundDecision {
    /// Takes the decision from its explanation, and applies its patch to this pod.
    pub(super) fn new(explanation: &Explanation, pod: &Value) -> anyhow::Result<Self> {
        let Explanation { decision, effect, workload, patch, .. } = explanation;
        let DecisionSummary { action, rule, reason, until, considered } = decision;
        let EffectSummary { outcome, reason: effect_reason, webhook, revision } = effect;
        let metadata = if pod["metadata"].is_null() { json!({}) } else { pod["metadata"].clone() };
        let mut pod = json!({"metadata": metadata});
        json_patch::patch(&mut pod, patch).context("the patch does not apply")?;
        let none = || "none".to_owned();
        let workload = workload.as_ref().map(|ExplainedWorkload { kind, name }| format!("{kind}/{name}"));
        Ok(Self {
            action: (*action).to_owned(),
            rule: describe_rule(rule),
            reason: reason.clone(),
            workload: workload.unwrap_or_else(none),
            until: until.map_or_else(none, |until| until.to_string()),
            considered: describe_considered(considered),
            effect: outcome.as_str().to_owned(),
            effect_reason: effect_reason.clone(),
            webhook: webhook.clone().unwrap_or_else(none),
            revision: revision.clone().unwrap_or_else(none),
            metadata: pod["metadata"].take(),
        })
    }

    /// Sums the decision up in one line.
    pub(super) fn summary(&self) -> String {
        let Self { action, rule, reason, effect, effect_reason, .. } = self;
        let rule = if rule.starts_with("None ") { String::new() } else { format!(" by {rule}") };
        format!("{action}{rule}: {reason}; {effect}: {effect_reason}")
    }
}

impl CaseExpectation {
    /// Returns whether every field is absent.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Compares the expected fields with a decision.
    pub fn differences(&self, found: &FoundDecision) -> Vec<FieldDifference> {
        let until = self.until.map(|until| until.to_string());
        let considered = self.considered.as_ref().map(|considered| considered.join("; "));
        let mut comparison = FieldComparison(Vec::new());
        for (field, expected, found) in [
            ("action", &self.action, &found.action),
            ("rule", &self.rule, &found.rule),
            ("workload", &self.workload, &found.workload),
            ("until", &until, &found.until),
            ("considered", &considered, &found.considered),
            ("effect", &self.effect, &found.effect),
            ("webhook", &self.webhook, &found.webhook),
            ("revision", &self.revision, &found.revision),
        ] {
            comparison.compare(field, expected.as_deref(), found);
        }
        comparison.compare_part("reason", self.reason.as_deref(), &found.reason);
        comparison.compare_part("effectReason", self.effect_reason.as_deref(), &found.effect_reason);
        comparison.compare_map("labels", &self.labels, &found.metadata["labels"]);
        comparison.compare_map("annotations", &self.annotations, &found.metadata["annotations"]);
        comparison.0
    }
}

/// Collector of differences.
struct FieldComparison(Vec<FieldDifference>);

impl FieldComparison {
    fn compare(&mut self, field: &str, expected: Option<&str>, found: &str) {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            self.push(field, expected.to_owned(), found.to_owned());
        }
    }

    fn compare_part(&mut self, field: &str, expected: Option<&str>, found: &str) {
        if let Some(expected) = expected.filter(|expected| !found.contains(expected)) {
            self.push(field, format!("something with {expected:?}"), found.to_owned());
        }
    }

    fn compare_map(&mut self, field: &str, expected: &Map<String, Value>, found: &Value) {
        let describe = |value: &Value| match value {
            Value::Null => "none".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        for (key, expected) in expected {
            let found = found.get(key).unwrap_or(&Value::Null);
            if found != expected {
                self.push(&format!("{field}.{key}"), describe(expected), describe(found));
            }
        }
    }

    fn push(&mut self, field: &str, expected: String, found: String) {
        self.0.push(FieldDifference { field: field.to_owned(), expected, found });
    }
}

fn describe_rule(rule: &RuleRef) -> String {
    format!("{} {}", rule.kind, rule.name)
}

/// Describes the rules that have to do with the pod and did not win, as the audit log does.
fn describe_considered(considered: &[ExplainedRule]) -> String {
    let others = considered.iter().filter(|one| !["Won", "NoMatch"].contains(&one.outcome));
    others.map(|one| format!("{}: {}", describe_rule(&one.rule), one.outcome)).collect::<Vec<_>>().join("; ")
}
