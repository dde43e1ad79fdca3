//! Forecasts of what a request changes for new pods. Each decides twice: by the facts as they are, and as they would be.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::request::{OverrideAction, OverrideMechanism, OverrideRequest};
use super::subject::OverrideSubject;
use crate::decision::effect::{Effect, EffectOutcome, EffectReason, consequence};
use crate::decision::facts::{Facts, NamespaceFacts, Owner, PodAnnotations, PodFacts, RunningPod};
use crate::decision::overrides::{Override, OverrideEnd};
use crate::decision::reason::{DecisionRule, OverrideSource, RuleOutcome};
use crate::decision::{Action, Decision, decide, mesh};
use crate::features::new_pod::NewPodOutcome;
use crate::features::status::running::PodCounts;
use crate::kernel::text::sanitize;
use crate::kubernetes::client::metadata_edit::MetadataEdit;
use crate::kubernetes::client::metadata_edit::field::MetadataMap;

/// Forecast for the new pods of one workload, before and after a change.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Prospect")]
pub struct PodForecast {
    /// Namespace of the pods.
    pub namespace: String,
    /// Kind of the workload; `Pod` for a pod without a known workload; `Namespace` for a pod without any marker.
    pub kind: String,
    /// Name of the workload, pod or namespace.
    pub name: String,
    /// Outcome for a new pod now.
    pub before: NewPodOutcome,
    /// Outcome for a new pod after the change.
    pub after: NewPodOutcome,
    /// Reason why new pods do not get what was requested; absent if they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hindrance: Option<String>,
    /// Counts of the running pods, compared with a new pod after the change; absent if pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<PodCounts>,
}

impl PodForecast {
    /// Whether new pods get something else after the change.
    pub fn is_change(&self) -> bool {
        let summary = |answer: &NewPodOutcome| (answer.action, answer.effect.outcome, answer.effect.revision.clone());
        summary(&self.before) != summary(&self.after)
    }
}

/// Name of a workload, or of what else new pods come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct PodSourceName<'n> {
    pub(super) namespace: &'n str,
    pub(super) kind: &'n str,
    pub(super) name: &'n str,
}

/// Requested change of one subject.
#[derive(Debug, Clone, Copy)]
pub(super) struct SubjectChange<'c> {
    pub(super) request: &'c OverrideRequest,
    pub(super) subject: &'c OverrideSubject,
    pub(super) edit: &'c MetadataEdit,
    pub(super) now: Timestamp,
}

impl SubjectChange<'_> {
    /// Forecasts the change for new pods with these facts.
    pub(super) fn forecast(
        &self,
        source: PodSourceName<'_>,
        facts: &Facts<'_>,
        pods: Option<&[Arc<RunningPod>]>,
    ) -> PodForecast {
        let PodSourceName { namespace, kind, name } = source;
        let before = NewPodOutcome::from_facts(facts, self.now);
        let (after, hindrance, mut running) = self.with_changed_facts(facts, |facts| {
            let decision = decide(facts, self.now);
            let running = pods.map(|pods| PodCounts::count(pods, facts, &consequence(facts, &decision)));
            (NewPodOutcome::from_facts(facts, self.now), self.hindrance(facts, &decision), running)
        });
        // A pod without a workload counts too: its sidecar comes from the same rule that injects new pods.
        let loses =
            before.effect.outcome == EffectOutcome::Injected && after.effect.outcome == EffectOutcome::NotInjected;
        if let Some(counts) = running.as_mut().filter(|_| loses && !facts.pod.has_sidecar) {
            counts.differing = Some(counts.with_sidecar);
        }
        let (namespace, kind, name) = (sanitize(namespace), sanitize(kind), sanitize(name));
        PodForecast { namespace, kind, name, before, after, hindrance, running }
    }

    /// Calls a function with the facts after the change.
    fn with_changed_facts<T>(&self, facts: &Facts<'_>, with: impl FnOnce(&Facts<'_>) -> T) -> T {
        match (self.subject, &self.request.mechanism) {
            (OverrideSubject::Workload(_), OverrideMechanism::PodTemplate) => {
                let pod = self.changed_pod(facts.pod, facts.settings.mesh);
                with(&Facts { pod: &pod, ..facts.clone() })
            }
            (OverrideSubject::Workload(_), _) => {
                let mut owners = facts.owners.clone();
                owners.chain.iter_mut().filter(|owner| self.subject.matches_owner(owner)).for_each(|owner| {
                    let own_override = Some(Box::new(self.new_override()));
                    *owner = Arc::new(Owner { own_override, ..Owner::clone(owner) });
                });
                with(&Facts { owners, ..facts.clone() })
            }
            (OverrideSubject::Namespace(namespace), _) => {
                let namespace = Arc::new(self.changed_namespace(namespace));
                let policies = facts.policies.clone().map(|(policies, _)| {
                    let candidates = Arc::new(policies.candidates_for(&namespace.name, Some(&namespace)));
                    (policies, candidates)
                });
                with(&Facts { namespace: Ok(namespace), policies, ..facts.clone() })
            }
        }
    }

    /// Returns the override as it will be written.
    fn new_override(&self) -> Override<'static> {
        let OverrideRequest { action, reason, until, .. } = self.request;
        Override {
            inject: action.injects().map(|on| on.to_string().into()),
            reason: reason.clone().map(Into::into),
            until: until.map(OverrideEnd::At),
            since: None,
        }
    }

    fn changed_namespace(&self, namespace: &NamespaceFacts) -> NamespaceFacts {
        if self.request.mechanism == OverrideMechanism::Annotations {
            return NamespaceFacts { own_override: self.new_override(), ..namespace.clone() };
        }
        let mut labels = namespace.labels.clone();
        for field in &self.edit.fields {
            labels = match &field.value {
                Some(value) => labels.with(&field.key, value),
                None => labels.without(&field.key),
            };
        }
        NamespaceFacts { labels, ..namespace.clone() }
    }

    /// Returns a pod of the changed template.
    fn changed_pod<'p>(&self, pod: &PodFacts<'p>, mesh: &mesh::Mesh) -> PodFacts<'p> {
        let mut pod = pod.clone();
        let marker = self.edit.fields.iter().find(|field| field.key == mesh.marker_key);
        let value = marker.and_then(|field| field.value.clone());
        match (marker.map(|field| field.map), value) {
            (Some(MetadataMap::Label), Some(value)) => {
                pod.labels = Some(pod.labels.unwrap_or_default().with(mesh.marker_key, &value));
            }
            (Some(MetadataMap::Label), None) => pod.labels = pod.labels.map(|labels| labels.without(mesh.marker_key)),
            (Some(MetadataMap::Annotation), value) => pod.annotations.marker = value.map(Into::into),
            (None, _) => {}
        }
        pod.annotations = PodAnnotations { legacy: None, ..pod.annotations };
        pod
    }

    /// Explains why new pods with these facts do not get what is requested. An unknown effect is no hindrance.
    fn hindrance(&self, facts: &Facts<'_>, decision: &Decision<'_>) -> Option<String> {
        let requested = self.request.action.decision_action()?;
        let refused = decision.considered.iter().find(|one| {
            self.is_this_override(&one.rule)
                && matches!(one.outcome, RuleOutcome::Refused(_) | RuleOutcome::PassedOver(_))
        });
        if let Some(refused) = refused {
            return Some(format!("the override does not count: {}", refused.outcome));
        }
        if matches!(decision.rule, DecisionRule::Unknown(..)) {
            return None;
        }
        let effect = consequence(facts, decision).effect;
        match self.is_fulfilled(requested, decision, &effect) {
            true => None,
            false if decision.action == requested || decision.rule == DecisionRule::Nothing => {
                Some(effect.reason.to_string())
            }
            false if self.request.mechanism == OverrideMechanism::Annotations => {
                Some(decision.rule.sentence().to_string())
            }
            false => Some(format!("{}; {}", decision.rule.sentence(), effect.reason)),
        }
    }

    fn is_fulfilled(&self, requested: Action, decision: &Decision<'_>, effect: &Effect<'_>) -> bool {
        match (self.request.action, effect.outcome) {
            (OverrideAction::Enable, EffectOutcome::Injected)
            | (OverrideAction::Disable, EffectOutcome::NotInjected) => true,
            // A namespace label makes no decision, and without a known injector the effect is unknown.
            (_, EffectOutcome::Unknown) => decision.action == requested || decision.rule == DecisionRule::Nothing,
            // A pod whose injection is enabled but fails has no sidecar either.
            (OverrideAction::Disable, EffectOutcome::Unreachable) => {
                decision.action == Action::Enable && !matches!(effect.reason, EffectReason::Withheld(_))
            }
            (_, EffectOutcome::Injected | EffectOutcome::NotInjected | EffectOutcome::Unreachable) => false,
        }
    }

    /// Whether a rule is the override of this request.
    fn is_this_override(&self, rule: &DecisionRule<'_>) -> bool {
        let DecisionRule::Override(own) = rule else { return false };
        match (&own.source, &self.request.mechanism, self.subject) {
            (OverrideSource::Workload(owner), OverrideMechanism::Annotations, subject) => subject.matches_owner(owner),
            (
                OverrideSource::Namespace(name),
                OverrideMechanism::Annotations,
                OverrideSubject::Namespace(namespace),
            ) => **name == *namespace.name,
            (OverrideSource::Marker(_), OverrideMechanism::PodTemplate, _) => true,
            _ => false,
        }
    }
}
