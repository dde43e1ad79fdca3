//! What a case expects, against what is decided.

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::features::explain::explanation::{Considered, Explanation, RuleName, Told, WorkloadName};

/// What is expected; what is not named may be anything.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Expected {
    /// `Enable`, `Disable`, `Remove` or `Leave`.
    action: Option<String>,
    /// The kind and the name of the rule that wins, such as `Policy mesh-by-default`.
    rule: Option<String>,
    /// A part of why.
    reason: Option<String>,
    /// The workload, such as `Deployment/web`, or `none`.
    workload: Option<String>,
    /// Until when it holds.
    until: Option<Timestamp>,
    /// The other rules that have to do with the pod, in order, such as `Override pod: Refused`.
    considered: Option<Vec<String>>,
    /// `Injected`, `NotInjected`, `Unreachable` or `Unknown`.
    effect: Option<String>,
    /// A part of why.
    effect_reason: Option<String>,
    /// The injector's webhook that is called.
    webhook: Option<String>,
    /// The revision of the control plane that it leads to.
    revision: Option<String>,
    /// Labels that the pod ends with, or without, where the value is null.
    labels: Map<String, Value>,
    /// The same for annotations.
    annotations: Map<String, Value>,
}

/// Something that is not as expected.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    pub(super) field: String,
    pub(super) expected: String,
    pub(super) found: String,
}

/// What is decided, and the pod's metadata after that.
#[derive(Debug)]
pub(super) struct Found {
    explanation: Explanation,
    metadata: Value,
}

impl Found {
    /// The same, with what is written on this pod.
    pub(super) fn of(explanation: Explanation, pod: &Value) -> anyhow::Result<Self> {
        let metadata = match &pod["metadata"] {
            Value::Null => json!({}),
            metadata => metadata.clone(),
        };
        let mut pod = json!({"metadata": metadata});
        json_patch::patch(&mut pod, &explanation.patch).context("the patch does not apply")?;
        Ok(Self { explanation, metadata: pod["metadata"].take() })
    }

    /// Why it is so.
    pub(super) fn because(&self) -> String {
        let Explanation { decision: Told { action, rule, reason, .. }, effect, .. } = &self.explanation;
        let rule = if rule.kind == "None" { String::new() } else { format!(" by {}", in_words(rule)) };
        format!("{action}{rule}: {reason}; {}: {}", effect.outcome.as_str(), effect.reason)
    }
}

impl Expected {
    /// Whether it expects nothing.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Everything that is not as expected.
    pub(super) fn differences(&self, found: &Found) -> Vec<Difference> {
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
        let Found { explanation: Explanation { decision, effect: told, workload: of, .. }, metadata } = found;
        let mut comparing = Comparing(Vec::new());
        comparing.same("action", action.as_deref(), || decision.action.to_owned());
        comparing.same("rule", rule.as_deref(), || in_words(&decision.rule));
        comparing.part("reason", reason.as_deref(), &decision.reason);
        comparing.same("workload", workload.as_deref(), || {
            of.as_ref().map_or_else(|| "none".to_owned(), |WorkloadName { kind, name }| format!("{kind}/{name}"))
        });
        let until = until.map(|until| until.to_string());
        comparing.same("until", until.as_deref(), || {
            decision.until.map_or_else(|| "none".to_owned(), |until| until.to_string())
        });
        let considered = considered.as_ref().map(|considered| considered.join("; "));
        comparing.same("considered", considered.as_deref(), || worth_telling(&decision.considered));
        comparing.same("effect", effect.as_deref(), || told.outcome.as_str().to_owned());
        comparing.part("effectReason", effect_reason.as_deref(), &told.reason);
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        comparing.same("webhook", webhook.as_deref(), || or_none(&told.webhook));
        comparing.same("revision", revision.as_deref(), || or_none(&told.revision));
        comparing.map("labels", labels, &metadata["labels"]);
        comparing.map("annotations", annotations, &metadata["annotations"]);
        comparing.0
    }
}

/// Collects what is not the same.
struct Comparing(Vec<Difference>);

impl Comparing {
    fn same(&mut self, field: &str, expected: Option<&str>, found: impl FnOnce() -> String) {
        let Some(expected) = expected else { return };
        let found = found();
        if found != expected {
            self.tell(field, expected.to_owned(), found);
        }
    }

    fn part(&mut self, field: &str, expected: Option<&str>, found: &str) {
        if let Some(expected) = expected.filter(|expected| !found.contains(expected)) {
            self.tell(field, format!("something with {expected:?}"), found.to_owned());
        }
    }

    fn map(&mut self, field: &str, expected: &Map<String, Value>, found: &Value) {
        let in_words = |value: &Value| match value {
            Value::Null => "none".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        for (key, expected) in expected {
            let found = found.get(key).unwrap_or(&Value::Null);
            if found != expected {
                self.tell(&format!("{field}.{key}"), in_words(expected), in_words(found));
            }
        }
    }

    fn tell(&mut self, field: &str, expected: String, found: String) {
        self.0.push(Difference { field: field.to_owned(), expected, found });
    }
}

fn in_words(rule: &RuleName) -> String {
    format!("{} {}", rule.kind, rule.name)
}

/// The rules that have to do with the pod and did not win, as the audit log tells them.
fn worth_telling(considered: &[Considered]) -> String {
    let told = considered.iter().filter(|one| !["Won", "NoMatch"].contains(&one.outcome));
    told.map(|one| format!("{}: {}", in_words(&one.rule), one.outcome)).collect::<Vec<_>>().join("; ")
}
