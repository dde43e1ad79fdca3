//! Outcome for a new pod: the decision, the rule that wins, the effect, and the patch.

use jiff::Timestamp;
use json_patch::PatchOperation;
use schemars::JsonSchema;
use serde::Serialize;

use crate::decision::effect::{Consequence, Effect, EffectOutcome, consequence};
use crate::decision::facts::Facts;
use crate::decision::marks::{MarkChange, PodMarks};
use crate::decision::patch::marks_patch;
use crate::decision::reason::DecisionRule;
use crate::decision::{Decision, decide};
use crate::kernel::text::CleanText;

/// Outcome for the new pods of one workload.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "NewPod")]
pub struct NewPodOutcome {
    /// Action that is decided.
    pub action: &'static str,
    /// Rule that decides.
    pub rule: RuleRef,
    /// Reason, in one sentence.
    pub reason: String,
    /// Effect of the injector.
    pub effect: EffectSummary,
    /// Changes to the pod, as a JSON Patch.
    pub patch: Vec<PatchOperation>,
    #[serde(skip)]
    marks: PodMarks,
}

/// Name of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "RuleName")]
pub struct RuleRef {
    /// `Safety`, `Suspension`, `Override`, `Policy` or `None`.
    pub kind: &'static str,
    /// Name of the rule, unique for its kind and namespace.
    pub name: String,
    /// Namespace of the rule; absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Effect of the injector on a new pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Effect")]
pub struct EffectSummary {
    /// Outcome, in one word.
    #[serde(serialize_with = "serialize_outcome")]
    #[schemars(with = "String")]
    pub outcome: EffectOutcome,
    /// Reason, in one sentence.
    pub reason: String,
    /// Webhook of the injector that is called; absent if none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// Revision of the control plane behind the webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

impl NewPodOutcome {
    /// Decides about a new pod with these facts.
    pub fn from_facts(facts: &Facts<'_>, now: Timestamp) -> Self {
        let decision = decide(facts, now);
        let consequence = consequence(facts, &decision);
        Self {
            action: decision.action.as_str(),
            rule: (&decision.rule).into(),
            reason: decision.rule.sentence().to_string(),
            effect: (&consequence.effect).into(),
            patch: marks_patch(facts.pod, facts.settings.mesh, &consequence.marks),
            marks: consequence.marks,
        }
    }

    /// Returns whether new pods are the same apart from the receipt, which names the rule.
    pub(crate) fn is_equivalent(&self, other: &Self) -> bool {
        self.visible_parts() == other.visible_parts()
    }

    fn visible_parts(&self) -> VisibleParts<'_> {
        let EffectSummary { outcome, revision, .. } = &self.effect;
        VisibleParts::new(self.action, *outcome, revision.as_deref(), &self.marks)
    }

    /// Returns whether `after` has this outcome and this one has not.
    pub(crate) fn becomes(&self, after: &Self, outcome: EffectOutcome) -> bool {
        after.effect.outcome == outcome && self.effect.outcome != outcome
    }
}

/// Returns whether new pods are the same apart from the receipt, which names the rule.
pub(crate) fn are_equivalent(
    before: (&Decision<'_>, &Consequence<'_>),
    after: (&Decision<'_>, &Consequence<'_>),
) -> bool {
    fn visible_parts<'t>((decision, consequence): (&Decision<'_>, &'t Consequence<'_>)) -> VisibleParts<'t> {
        let Consequence { marks, effect, withheld: _ } = consequence;
        let revision = effect.entry().and_then(|entry| entry.revision.as_deref());
        VisibleParts::new(decision.action.as_str(), effect.outcome, revision, marks)
    }
    visible_parts(before) == visible_parts(after)
}

/// Parts of a new pod that matter to its workload: all but the receipt.
#[derive(PartialEq)]
struct VisibleParts<'o> {
    action: &'static str,
    outcome: EffectOutcome,
    revision: Option<&'o str>,
    marks: [&'o MarkChange; 3],
}

impl<'o> VisibleParts<'o> {
    fn new(action: &'static str, outcome: EffectOutcome, revision: Option<&'o str>, marks: &'o PodMarks) -> Self {
        let PodMarks { marker, legacy, revision: revision_label, receipt: _ } = marks;
        Self { action, outcome, revision, marks: [marker, legacy, revision_label] }
    }
}

impl From<&DecisionRule<'_>> for RuleRef {
    fn from(rule: &DecisionRule<'_>) -> Self {
        let namespace = rule.namespace().map(|namespace| CleanText(namespace).to_string());
        Self { kind: rule.kind(), name: CleanText(&rule.name()).to_string(), namespace }
    }
}

impl From<&Effect<'_>> for EffectSummary {
    fn from(effect: &Effect<'_>) -> Self {
        let entry = effect.entry();
        Self {
            outcome: effect.outcome,
            reason: effect.reason.to_string(),
            webhook: entry.map(|entry| entry.webhook.to_string()),
            revision: entry.and_then(|entry| entry.revision.as_deref()).map(str::to_owned),
        }
    }
}

fn serialize_outcome<S: serde::Serializer>(outcome: &EffectOutcome, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(outcome.as_str())
}
