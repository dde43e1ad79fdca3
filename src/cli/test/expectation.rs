//! Expectations of a case, and their comparison with the decision.

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::features::explain::explanation::{DecisionSummary, ExplainedRule, ExplainedWorkload, Explanation};
use crate::features::new_pod::RuleRef;

/// Expected decision. Absent fields may have any value.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename = "Expected", rename_all = "camelCase")]
pub(super) struct CaseExpectation {
    /// `Enable`, `Disable`, `Remove` or `Leave`.
    action: Option<String>,
    /// Kind and name of the rule that wins, such as `Policy mesh-by-default`.
    rule: Option<String>,
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
    labels: Map<String, Value>,
    /// Annotations of the patched pod; null stands for an annotation that must be absent.
    annotations: Map<String, Value>,
}

/// Field whose value is not the expected one.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct FieldDifference {
    pub(super) field: String,
    pub(super) expected: String,
    pub(super) found: String,
}

/// Decision of a case, and the metadata of the patched pod.
#[derive(Debug)]
pub(super) struct CaseResult {
    explanation: Explanation,
    metadata: Value,
}

impl CaseResult {
    /// Applies the patch of the decision to this pod.
    pub(super) fn apply(explanation: Explanation, pod: &Value) -> anyhow::Result<Self> {
        let metadata = match &pod["metadata"] {
            Value::Null => json!({}),
            metadata => metadata.clone(),
        };
        let mut pod = json!({"metadata": metadata});
        json_patch::patch(&mut pod, &explanation.patch).context("the patch does not apply")?;
        Ok(Self { explanation, metadata: pod["metadata"].take() })
    }

    /// Explains the decision in one line.
    pub(super) fn explain(&self) -> String {
        let Explanation { decision: DecisionSummary { action, rule, reason, .. }, effect, .. } = &self.explanation;
        let rule = if rule.kind == "None" { String::new() } else { format!(" by {}", describe_rule(rule)) };
        format!("{action}{rule}: {reason}; {}: {}", effect.outcome.as_str(), effect.reason)
    }
}

impl CaseExpectation {
    /// Returns whether every field is absent.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Compares the expected fields with the result.
    pub(super) fn differences(&self, result: &CaseResult) -> Vec<FieldDifference> {
        let Self {
            action,
            rule,
            reason,
            workload,
            until,
            considered,
            effect,
            effect_reason,
            webhook,
            revision,
            labels,
            annotations,
        } = self;
        let CaseResult { explanation, metadata } = result;
        let Explanation { decision, effect: found_effect, workload: found_workload, .. } = explanation;
        let mut comparison = FieldComparison(Vec::new());
        comparison.compare("action", action.as_deref(), || decision.action.to_owned());
        comparison.compare("rule", rule.as_deref(), || describe_rule(&decision.rule));
        comparison.compare_part("reason", reason.as_deref(), &decision.reason);
        comparison.compare("workload", workload.as_deref(), || {
            found_workload
                .as_ref()
                .map_or_else(|| "none".to_owned(), |ExplainedWorkload { kind, name }| format!("{kind}/{name}"))
        });
        let until = until.map(|until| until.to_string());
        comparison.compare("until", until.as_deref(), || {
            decision.until.map_or_else(|| "none".to_owned(), |until| until.to_string())
        });
        let considered = considered.as_ref().map(|considered| considered.join("; "));
        comparison.compare("considered", considered.as_deref(), || describe_considered(&decision.considered));
        comparison.compare("effect", effect.as_deref(), || found_effect.outcome.as_str().to_owned());
        comparison.compare_part("effectReason", effect_reason.as_deref(), &found_effect.reason);
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        comparison.compare("webhook", webhook.as_deref(), || or_none(&found_effect.webhook));
        comparison.compare("revision", revision.as_deref(), || or_none(&found_effect.revision));
        comparison.compare_map("labels", labels, &metadata["labels"]);
        comparison.compare_map("annotations", annotations, &metadata["annotations"]);
        comparison.0
    }
}

/// Collector of differences.
struct FieldComparison(Vec<FieldDifference>);

impl FieldComparison {
    fn compare(&mut self, field: &str, expected: Option<&str>, found: impl FnOnce() -> String) {
        let Some(expected) = expected else { return };
        let found = found();
        if found != expected {
            self.push(field, expected.to_owned(), found);
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
