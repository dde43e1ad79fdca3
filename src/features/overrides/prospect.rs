//! What a change comes to for the new pods of one origin, told by deciding twice: as things are, and as they would be.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::change::{Asked, Change, Place};
use super::edit::Edit;
use super::subject::Subject;
use crate::decision::effect::{Effect, Outcome, Why, consequence};
use crate::decision::facts::{Annotations, Facts, Namespace, Owner, Pod, RunningPod};
use crate::decision::owner_override::{Until, Wish};
use crate::decision::reason::{Outcome as Considered, Rule, Source};
use crate::decision::{Action, Decision, decide, mesh};
use crate::features::overrides::field::Map;
use crate::features::preview::comparison::Answer;
use crate::features::status::running::Counts;
use crate::kernel::text::sanitized;

/// What new pods of one origin get before a change and after it, and what its running pods are then.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Prospect {
    /// The namespace.
    pub namespace: String,
    /// The kind of the workload; `Pod` for a pod that no known workload made; `Namespace` for a pod that says nothing itself.
    pub kind: String,
    /// The name.
    pub name: String,
    /// What a new pod gets now.
    pub before: Answer,
    /// What a new pod gets from then on.
    pub after: Answer,
    /// Why new pods do not get what is asked for, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hindrance: Option<String>,
    /// The running pods against what a new one gets from then on; absent where pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<Counts>,
}

impl Prospect {
    /// Whether new pods get something else from then on.
    pub fn is_change(&self) -> bool {
        let told = |answer: &Answer| (answer.action, answer.effect.outcome, answer.effect.revision.clone());
        told(&self.before) != told(&self.after)
    }
}

/// Names what new pods come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'n> {
    pub(super) namespace: &'n str,
    pub(super) kind: &'n str,
    pub(super) name: &'n str,
}

/// One change of one subject.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changing<'c> {
    pub(super) asked: &'c Asked,
    pub(super) subject: &'c Subject,
    pub(super) edit: &'c Edit,
    pub(super) now: Timestamp,
}

impl Changing<'_> {
    /// What it comes to for new pods with these facts.
    pub(super) fn prospect(&self, of: Name<'_>, facts: &Facts<'_>, pods: Option<&[Arc<RunningPod>]>) -> Prospect {
        let Name { namespace, kind, name } = of;
        let before = Answer::to(facts, self.now);
        let (after, hindrance, mut running) = self.with_altered(facts, |facts| {
            let decision = decide(facts, self.now);
            let running = pods.map(|pods| Counts::of(pods, facts, &consequence(facts, &decision)));
            (Answer::to(facts, self.now), self.hindrance(facts, &decision), running)
        });
        // Also a pod that nobody would make again has its sidecar from what gives new ones theirs, where something does.
        let loses = before.effect.outcome == Outcome::Injected && after.effect.outcome == Outcome::NotInjected;
        if let Some(counts) = running.as_mut().filter(|_| loses && !facts.pod.has_sidecar) {
            counts.differing = Some(counts.with_sidecar);
        }
        let (namespace, kind, name) = (sanitized(namespace), sanitized(kind), sanitized(name));
        Prospect { namespace, kind, name, before, after, hindrance, running }
    }

    /// Asks about the facts as they will be.
    fn with_altered<T>(&self, facts: &Facts<'_>, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
        match (self.subject, &self.asked.place) {
            (Subject::Workload(_), Place::PodTemplate) => {
                let pod = self.marked(facts.pod, facts.settings.mesh);
                ask(&Facts { pod: &pod, ..facts.clone() })
            }
            (Subject::Workload(_), _) => {
                let mut owners = facts.owners.clone();
                owners.chain.iter_mut().filter(|owner| self.subject.is(owner)).for_each(|owner| {
                    let wish = Some(Box::new(self.wish()));
                    *owner = Arc::new(Owner { wish, ..Owner::clone(owner) });
                });
                ask(&Facts { owners, ..facts.clone() })
            }
            (Subject::Namespace(namespace), _) => {
                let namespace = Arc::new(self.altered_namespace(namespace));
                let policies = facts.policies.clone().map(|(policies, _)| {
                    let candidates = Arc::new(policies.candidates(&namespace.name, Some(&namespace)));
                    (policies, candidates)
                });
                ask(&Facts { namespace: Ok(namespace), policies, ..facts.clone() })
            }
        }
    }

    /// The override as it will stand.
    fn wish(&self) -> Wish<'static> {
        let Asked { change, reason, until, .. } = self.asked;
        Wish {
            inject: change.asks().map(|on| on.to_string().into()),
            reason: reason.clone().map(Into::into),
            until: until.map(Until::At),
            since: None,
        }
    }

    fn altered_namespace(&self, namespace: &Namespace) -> Namespace {
        if self.asked.place == Place::Annotations {
            return Namespace { wish: self.wish(), ..namespace.clone() };
        }
        let mut labels = namespace.labels.clone();
        for field in &self.edit.fields {
            labels = match &field.value {
                Some(value) => labels.with(&field.key, value),
                None => labels.without(&field.key),
            };
        }
        Namespace { labels, ..namespace.clone() }
    }

    /// A pod of the template as it will be.
    fn marked<'p>(&self, pod: &Pod<'p>, mesh: &mesh::Mesh) -> Pod<'p> {
        let mut pod = pod.clone();
        let marker = self.edit.fields.iter().find(|field| field.key == mesh.marker_key);
        let value = marker.and_then(|field| field.value.clone());
        match (marker.map(|field| field.of), value) {
            (Some(Map::Label), Some(value)) => {
                pod.labels = Some(pod.labels.unwrap_or_default().with(mesh.marker_key, &value));
            }
            (Some(Map::Label), None) => pod.labels = pod.labels.map(|labels| labels.without(mesh.marker_key)),
            (Some(Map::Annotation), value) => pod.annotations.marker = value.map(Into::into),
            (None, _) => {}
        }
        pod.annotations = Annotations { legacy: None, ..pod.annotations };
        pod
    }

    /// Why new pods with these facts do not get what is asked for. That something cannot be told is no hindrance.
    fn hindrance(&self, facts: &Facts<'_>, decision: &Decision<'_>) -> Option<String> {
        let wanted = self.asked.change.action()?;
        let refused = decision.considered.iter().find(|one| {
            self.is_ours(&one.rule) && matches!(one.outcome, Considered::Refused(_) | Considered::PassedOver(_))
        });
        if let Some(refused) = refused {
            return Some(format!("it does not count: {}", refused.outcome));
        }
        if matches!(decision.rule, Rule::Unknown(..)) {
            return None;
        }
        let effect = consequence(facts, decision).effect;
        match self.is_as_wanted(wanted, decision, &effect) {
            true => None,
            false if decision.action == wanted || decision.rule == Rule::Nothing => Some(effect.why.to_string()),
            false if self.asked.place == Place::Annotations => Some(decision.rule.sentence().to_string()),
            false => Some(format!("{}; {}", decision.rule.sentence(), effect.why)),
        }
    }

    fn is_as_wanted(&self, wanted: Action, decision: &Decision<'_>, effect: &Effect<'_>) -> bool {
        match (self.asked.change, effect.outcome) {
            (Change::Enable, Outcome::Injected) | (Change::Disable, Outcome::NotInjected) => true,
            // A label of the namespace makes no decision, and without an injector that is known nothing can be told.
            (_, Outcome::Unknown) => decision.action == wanted || decision.rule == Rule::Nothing,
            // Whoever enables in vain leaves new pods without a sidecar.
            (Change::Disable, Outcome::Unreachable) => {
                decision.action == Action::Enable && !matches!(effect.why, Why::Withheld(_))
            }
            (_, Outcome::Injected | Outcome::NotInjected | Outcome::Unreachable) => false,
        }
    }

    /// Whether a rule is the override that is written.
    fn is_ours(&self, rule: &Rule<'_>) -> bool {
        let Rule::Override(own) = rule else { return false };
        match (&own.source, &self.asked.place, self.subject) {
            (Source::Workload(owner), Place::Annotations, subject) => subject.is(owner),
            (Source::Namespace(name), Place::Annotations, Subject::Namespace(namespace)) => **name == *namespace.name,
            (Source::Marker(_), Place::PodTemplate, _) => true,
            _ => false,
        }
    }
}
