//! Works out the marks for a decision and predicts what the injector will do with the marked pod.
//!
//! Marks that cannot have their effect are not written. If the injector is not known, the marks are written all the
//! same, and the effect is [`EffectOutcome::Unknown`].

use super::facts::{Facts, MissingReason, NamespaceFacts, WriteCondition};
use super::injector::{InjectionPrediction, InjectionSkip, InjectorEntry, InjectorView, Injectors, LabelPair};
use super::marks::{
    MarkChange, PodMarks, WithheldReason, cleaned_marks, injection_marks, marker_withheld, own_revision,
    revision_change, revision_withheld, strip_stale_revision, stripped_marks,
};
use super::mesh::{InjectorKind, Mesh};
use super::reason::DecisionRule;
use super::{Action, Decision};

mod sentence;

/// Consequence of a decision for a pod: the marks, and the effect that they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consequence<'f> {
    /// Marks to write.
    pub marks: PodMarks,
    /// Effect that the injector will have.
    pub effect: Effect<'f>,
    /// Reason why a mark of the decision is not written, if the pod's owner is the cause.
    pub withheld: Option<WithheldReason>,
}

/// Predicted effect of the injector on a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect<'f> {
    /// Effect in one word.
    pub outcome: EffectOutcome,
    /// Reason for the outcome.
    pub reason: EffectReason<'f>,
}

/// Predicted effect of the injector, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EffectOutcome {
    /// The pod gets a sidecar.
    Injected,
    /// The pod gets no sidecar.
    NotInjected,
    /// The decision cannot have its effect, so nothing is written for it.
    Unreachable,
    /// The effect cannot be predicted.
    Unknown,
}

impl EffectOutcome {
    /// All outcomes.
    pub const ALL: [Self; 4] = [Self::Injected, Self::NotInjected, Self::Unreachable, Self::Unknown];

    /// Returns the word that the API, audit entries and metrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "Injected",
            Self::NotInjected => "NotInjected",
            Self::Unreachable => "Unreachable",
            Self::Unknown => "Unknown",
        }
    }
}

/// Reason for a predicted effect. Its text is one sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EffectReason<'f> {
    /// The rules of this mesh's injector are not known here.
    Mesh(&'static Mesh),
    /// The webhook configurations are not known.
    Configurations(MissingReason),
    /// No webhook configuration calls an injector of this mesh.
    NoInjector(&'static Mesh),
    /// The namespace is not known.
    Namespace(MissingReason),
    /// The entry has conditions of its own, which are not evaluated here.
    Conditions(&'f InjectorEntry),
    /// The entry is called, because of these labels of the namespace and the pod, and its injector injects.
    Called(&'f InjectorEntry, Option<LabelPair<'f>>, Option<LabelPair<'f>>),
    /// The entry is called, but its injector skips the pod.
    Skipped(&'f InjectorEntry, InjectionSkip, &'static Mesh),
    /// The marker says no, so that no entry selects the pod.
    MarkerSaysNo(&'static Mesh),
    /// The label of the namespace says no, so that no entry selects the pod.
    NamespaceSaysNo(LabelPair<'f>),
    /// No entry selects the pod.
    NotSelected(SeenLabels<'f>),
    /// No entry selects the pod, because of the revision label that it came with.
    OwnRevision(&'f str, Vec<&'f str>),
    /// No entry selects the pod with the revision that the policy asks for.
    PolicyRevision(&'f str, Vec<&'f str>),
    /// The revision that the policy asks for is out of reach; this entry injects the pod as it came.
    OtherRevision(&'f str, &'f InjectorEntry),
    /// Only a revision label makes an injector reachable, and several revisions would.
    SeveralRevisions(Vec<&'f str>),
    /// The mark may not be changed on this pod.
    Withheld(WithheldReason),
    /// The entry injects before our webhook is called.
    RunsBeforeUs(&'f InjectorEntry),
    /// A never-inject selector of the injector matches and is respected.
    NeverSelector(&'f InjectorEntry),
}

/// Labels by which an injector could have been called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenLabels<'f> {
    mesh: &'static Mesh,
    namespace: &'f NamespaceFacts,
    marker: Option<Box<str>>,
    revision: Option<Box<str>>,
    installed: Vec<&'f str>,
}

impl<'f> Effect<'f> {
    /// Returns the entry that is called, if there is one.
    pub fn entry(&self) -> Option<&'f InjectorEntry> {
        match &self.reason {
            EffectReason::Called(entry, ..)
            | EffectReason::OtherRevision(_, entry)
            | EffectReason::Skipped(entry, ..)
            | EffectReason::Conditions(entry)
            | EffectReason::RunsBeforeUs(entry)
            | EffectReason::NeverSelector(entry) => Some(entry),
            EffectReason::Mesh(_)
            | EffectReason::Configurations(_)
            | EffectReason::NoInjector(_)
            | EffectReason::Namespace(_)
            | EffectReason::MarkerSaysNo(_)
            | EffectReason::NamespaceSaysNo(_)
            | EffectReason::NotSelected(_)
            | EffectReason::OwnRevision(..)
            | EffectReason::PolicyRevision(..)
            | EffectReason::SeveralRevisions(_)
            | EffectReason::Withheld(_) => None,
        }
    }
}

/// Returns the consequence of a decision about this pod.
pub fn consequence<'f>(facts: &'f Facts<'_>, decision: &Decision<'f>) -> Consequence<'f> {
    match known_facts(facts) {
        Ok((injectors, namespace)) => EffectForecast { facts, injectors, namespace, decision }.consequence(),
        Err(why) => unpredicted_consequence(facts, decision, why),
    }
}

/// Returns the consequence without a decision: the effect that the injector has on its own.
pub fn undecided_consequence<'f>(facts: &'f Facts<'_>) -> Consequence<'f> {
    let decision = Decision {
        action: Action::Leave,
        rule: DecisionRule::Nothing,
        revision: None,
        is_final: false,
        until: None,
        considered: Vec::new(),
    };
    consequence(facts, &decision)
}

/// Returns the facts that a prediction needs, or the reason why they are missing.
fn known_facts<'f>(facts: &'f Facts<'_>) -> Result<(&'f Injectors, &'f NamespaceFacts), EffectReason<'f>> {
    let mesh = facts.settings.mesh;
    if mesh.injector == InjectorKind::Unread {
        return Err(EffectReason::Mesh(mesh));
    }
    let injectors = facts.injectors.as_deref().map_err(|missing| EffectReason::Configurations(*missing))?;
    if injectors.entries().is_empty() {
        return Err(EffectReason::NoInjector(mesh));
    }
    let namespace = facts.namespace.as_deref().map_err(|missing| EffectReason::Namespace(*missing))?;
    Ok((injectors, namespace))
}

/// Returns the consequence if the effect cannot be predicted: the marks are written by the decision alone.
fn unpredicted_consequence<'f>(
    facts: &'f Facts<'_>,
    decision: &Decision<'_>,
    why: EffectReason<'f>,
) -> Consequence<'f> {
    let requested = revision_by_decision(facts, decision);
    let revision_withheld = revision_withheld(facts).filter(|_| requested != MarkChange::Keep);
    let revision = if revision_withheld.is_some() { MarkChange::Keep } else { requested };
    let marks = match decision.action {
        Action::Enable => injection_marks(facts, decision, true, revision),
        Action::Disable => injection_marks(facts, decision, false, revision),
        Action::Remove => stripped_marks(facts, revision),
        Action::Leave => cleaned_marks(facts, decision),
    };
    let marker_withheld = marker_withheld(facts).filter(|_| marks.marker != MarkChange::Keep);
    let marks = if marker_withheld.is_some() { PodMarks::default() } else { marks };
    let withheld = marker_withheld.or(revision_withheld).filter(|_| decision.action != Action::Leave);
    let effect = match withheld {
        Some(withheld) => Effect { outcome: EffectOutcome::Unreachable, reason: EffectReason::Withheld(withheld) },
        None => Effect { outcome: EffectOutcome::Unknown, reason: why },
    };
    Consequence { marks, effect, withheld }
}

/// Returns the change of the revision label by the decision alone. A final decision replaces the pod's own label by the
/// requested revision; a final Remove strips it, since it could make an injector reachable. A final Enable without a
/// revision keeps the pod's own label: without it the pod might reach no injector at all.
fn revision_by_decision(facts: &Facts<'_>, decision: &Decision<'_>) -> MarkChange {
    let requested = decision.revision.filter(|_| decision.action == Action::Enable && !revision_is_ignored(facts));
    match (requested, own_revision(facts)) {
        (Some(requested), None) => revision_change(facts, Some(requested)),
        (Some(requested), Some(_)) if decision.is_final => revision_change(facts, Some(requested)),
        (None, Some(_)) if decision.is_final && decision.action == Action::Remove && !revision_is_ignored(facts) => {
            MarkChange::Strip
        }
        (None, None) => revision_change(facts, None),
        (Some(_) | None, Some(_)) => MarkChange::Keep,
    }
}

/// Returns whether the namespace has an injection label: the injector then ignores the pod's own revision.
fn revision_is_ignored(facts: &Facts<'_>) -> bool {
    let labels = facts.settings.mesh.namespace_labels;
    facts.namespace.as_ref().is_ok_and(|namespace| labels.iter().any(|label| namespace.labels.get(label).is_some()))
}

/// Chooses marks by predicting the effect of each choice.
struct EffectForecast<'f, 'a, 'd> {
    facts: &'f Facts<'a>,
    injectors: &'f Injectors,
    namespace: &'f NamespaceFacts,
    decision: &'d Decision<'f>,
}

impl<'f> EffectForecast<'f, '_, '_> {
    fn consequence(&self) -> Consequence<'f> {
        match self.decision.action {
            Action::Leave => self.conclude(cleaned_marks(self.facts, self.decision), None),
            Action::Remove => self.conclude(stripped_marks(self.facts, self.revision_for_remove()), None),
            Action::Disable => self.disable(),
            Action::Enable => self.enable(),
        }
    }

    fn disable(&self) -> Consequence<'f> {
        let clean = cleaned_marks(self.facts, self.decision);
        let stays_out =
            || !matches!(self.predict(&clean), InjectionPrediction::Injected(_) | InjectionPrediction::Conditional(_));
        if self.writes_only_if_needed(false) && stays_out() {
            return self.conclude(clean, Some(false));
        }
        let revision = strip_stale_revision(self.facts);
        self.conclude(injection_marks(self.facts, self.decision, false, revision), Some(false))
    }

    fn enable(&self) -> Consequence<'f> {
        let clean = cleaned_marks(self.facts, self.decision);
        if self.writes_only_if_needed(true) {
            match self.predict(&clean) {
                InjectionPrediction::Injected(entry) if self.has_requested_revision(entry) => {
                    return self.conclude(clean, Some(true));
                }
                InjectionPrediction::Skipped(entry, InjectionSkip::NeverSelector) => {
                    return self.unreachable(clean, EffectReason::NeverSelector(entry));
                }
                InjectionPrediction::Injected(_)
                | InjectionPrediction::Skipped(..)
                | InjectionPrediction::NotCalled
                | InjectionPrediction::Conditional(_) => {}
            }
        }
        match self.opening_revision() {
            Ok(revision) => self.conclude(injection_marks(self.facts, self.decision, true, revision), Some(true)),
            Err(why) => match (self.predict(&clean), self.decision.revision) {
                // Only the revision is out of reach; another injector injects the pod as it came.
                (InjectionPrediction::Injected(entry), Some(requested)) if marker_withheld(self.facts).is_none() => {
                    let effect = Effect {
                        outcome: EffectOutcome::Injected,
                        reason: EffectReason::OtherRevision(requested, entry),
                    };
                    Consequence { marks: clean, effect, withheld: None }
                }
                _ => self.unreachable(clean, why),
            },
        }
    }

    /// Returns whether the marker is written only if needed. A marker of ours that already has the value stays.
    fn writes_only_if_needed(&self, on: bool) -> bool {
        let Facts { pod, settings, .. } = self.facts;
        let says_so = pod.marker(settings.mesh).and_then(|value| settings.mesh.parse_marker(value)) == Some(on);
        settings.write == WriteCondition::Needed && !(says_so && pod.marker_is_ours())
    }

    /// Returns whether this entry leads to the requested revision, as far as a pod can choose one here.
    fn has_requested_revision(&self, entry: &InjectorEntry) -> bool {
        let label = self.facts.settings.mesh.revision_label;
        match (self.decision.revision, label) {
            (Some(requested), Some(label)) => {
                revision_is_ignored(self.facts)
                    || entry.selects_revision(label, requested)
                    || !self.may_choose_revision()
            }
            (None, _) | (Some(_), None) => true,
        }
    }

    /// Returns whether the decision may change the pod's revision label.
    fn may_choose_revision(&self) -> bool {
        self.decision.is_final || own_revision(self.facts).is_none()
    }

    /// Returns the change of the revision label with which an enabling marker reaches an injector.
    fn opening_revision(&self) -> Result<MarkChange, EffectReason<'f>> {
        let own = own_revision(self.facts);
        let requested =
            self.decision.revision.filter(|_| self.may_choose_revision() && !revision_is_ignored(self.facts));
        let first = match requested {
            Some(requested) => revision_change(self.facts, Some(requested)),
            None => strip_stale_revision(self.facts),
        };
        let prediction = self.predict_enabled(&first);
        if matches!(prediction, InjectionPrediction::Injected(_) | InjectionPrediction::Conditional(_)) {
            return self.unless_withheld(first);
        }
        let marker = MarkChange::Set(self.facts.settings.mesh.on[0].to_owned());
        let refused =
            || self.not_injected_reason(prediction, &PodMarks { marker, revision: first, ..PodMarks::default() });
        if prediction != InjectionPrediction::NotCalled || revision_is_ignored(self.facts) {
            return Err(refused());
        }
        match (requested, own) {
            (Some(requested), _) => Err(EffectReason::PolicyRevision(requested, self.revisions())),
            (None, Some(own)) if !self.may_choose_revision() => Err(EffectReason::OwnRevision(own, self.revisions())),
            (None, Some(_)) if matches!(self.predict_enabled(&MarkChange::Strip), InjectionPrediction::Injected(_)) => {
                self.unless_withheld(MarkChange::Strip)
            }
            (None, _) => self.only_opening_revision().unwrap_or_else(|| Err(refused())),
        }
    }

    /// Returns the only revision that reaches an injector; an error if several do.
    fn only_opening_revision(&self) -> Option<Result<MarkChange, EffectReason<'f>>> {
        let label = self.facts.settings.mesh.revision_label?;
        let mut opening = self.injectors.revisions(label);
        opening.retain(|(revision, _)| {
            matches!(self.predict_enabled(&MarkChange::Set((*revision).to_owned())), InjectionPrediction::Injected(_))
        });
        let leads_to = |(name, entry): &(&'f str, &'f InjectorEntry)| entry.revision.as_deref().unwrap_or(name);
        let first = opening.first().map(leads_to)?;
        if opening.iter().any(|one| leads_to(one) != first) {
            return Some(Err(EffectReason::SeveralRevisions(
                opening.into_iter().map(|(revision, _)| revision).collect(),
            )));
        }
        // Prefer the control plane's own revision name to a tag.
        let own_name = opening.iter().find(|(name, _)| *name == first).or(opening.first());
        own_name.map(|(name, _)| self.unless_withheld(revision_change(self.facts, Some(name))))
    }

    fn unless_withheld(&self, revision: MarkChange) -> Result<MarkChange, EffectReason<'f>> {
        match revision_withheld(self.facts).filter(|_| revision != MarkChange::Keep) {
            Some(withheld) => Err(EffectReason::Withheld(withheld)),
            None => Ok(revision),
        }
    }

    /// Returns the change of the revision label for Remove, which leaves the pod to its namespace. The pod's own
    /// revision defeats a final Remove if it reaches an injector, and is then stripped_marks.
    fn revision_for_remove(&self) -> MarkChange {
        let kept = strip_stale_revision(self.facts);
        let injects = |revision: &MarkChange| {
            let prediction = self.predict(&stripped_marks(self.facts, revision.clone()));
            matches!(prediction, InjectionPrediction::Injected(_) | InjectionPrediction::Conditional(_))
        };
        let defeats = self.decision.is_final
            && own_revision(self.facts).is_some()
            && injects(&kept)
            && !injects(&MarkChange::Strip);
        let requested = if defeats { MarkChange::Strip } else { kept };
        if revision_withheld(self.facts).is_some() { MarkChange::Keep } else { requested }
    }

    fn revisions(&self) -> Vec<&'f str> {
        let label = self.facts.settings.mesh.revision_label;
        let revisions = label.map(|label| self.injectors.revisions(label)).unwrap_or_default();
        revisions.into_iter().map(|(revision, _)| revision).collect()
    }

    /// Returns the consequence of these marks. `asks_for_sidecar` tells whether the decision asks for a sidecar, or for
    /// none of both.
    fn conclude(&self, marks: PodMarks, asks_for_sidecar: Option<bool>) -> Consequence<'f> {
        let withheld = marker_withheld(self.facts).filter(|_| marks.marker != MarkChange::Keep);
        let marks = if withheld.is_some() { PodMarks::default() } else { marks };
        let prediction = self.predict(&marks);
        let effect = match (prediction, asks_for_sidecar) {
            (InjectionPrediction::Conditional(entry), _) => {
                Effect { outcome: EffectOutcome::Unknown, reason: EffectReason::Conditions(entry) }
            }
            (InjectionPrediction::Injected(entry), Some(false)) => return self.conclude_not_kept_out(entry, withheld),
            (InjectionPrediction::Injected(entry), Some(true) | None) => {
                Effect { outcome: EffectOutcome::Injected, reason: self.called_reason(entry, &marks) }
            }
            (InjectionPrediction::Skipped(..) | InjectionPrediction::NotCalled, Some(true)) => {
                let why = withheld.map_or_else(|| self.not_injected_reason(prediction, &marks), EffectReason::Withheld);
                return self.give_up(why, withheld);
            }
            (InjectionPrediction::Skipped(..) | InjectionPrediction::NotCalled, Some(false) | None) => {
                Effect { outcome: EffectOutcome::NotInjected, reason: self.not_injected_reason(prediction, &marks) }
            }
        };
        // A marker that the owner's selector holds in place is no failure if the effect is the requested one.
        let strip_withheld = withheld.filter(|_| self.decision.action == Action::Remove);
        let effect = match strip_withheld {
            Some(withheld) => Effect { outcome: EffectOutcome::Unreachable, reason: EffectReason::Withheld(withheld) },
            None => effect,
        };
        Consequence { marks, effect, withheld }
    }

    fn conclude_not_kept_out(&self, entry: &'f InjectorEntry, withheld: Option<WithheldReason>) -> Consequence<'f> {
        let why = match withheld {
            Some(withheld) => EffectReason::Withheld(withheld),
            None if entry.runs_before_us => EffectReason::RunsBeforeUs(entry),
            None => self.called_reason(entry, &PodMarks::default()),
        };
        self.give_up(why, withheld)
    }

    /// Returns the consequence that writes nothing for the decision and strips the marks of an earlier one of ours.
    fn give_up(&self, why: EffectReason<'f>, withheld: Option<WithheldReason>) -> Consequence<'f> {
        let marks = if withheld.is_some() { PodMarks::default() } else { cleaned_marks(self.facts, self.decision) };
        Consequence { withheld, ..self.unreachable(marks, why) }
    }

    fn unreachable(&self, clean: PodMarks, why: EffectReason<'f>) -> Consequence<'f> {
        let by_owner = match &why {
            EffectReason::Withheld(withheld) => Some(*withheld),
            _ => None,
        };
        let withheld = marker_withheld(self.facts).filter(|_| clean.marker != MarkChange::Keep);
        let marks = if withheld.is_some() { PodMarks::default() } else { clean };
        let effect = Effect { outcome: EffectOutcome::Unreachable, reason: why };
        Consequence { marks, effect, withheld: withheld.or(by_owner) }
    }

    fn called_reason(&self, entry: &'f InjectorEntry, marks: &PodMarks) -> EffectReason<'f> {
        let view = self.view(marks);
        let (namespace, pod) = entry.calling_labels(&view, self.facts.settings.mesh);
        EffectReason::Called(entry, namespace, pod)
    }

    /// Returns the reason why the pod gets no sidecar.
    fn not_injected_reason(&self, prediction: InjectionPrediction<'f>, marks: &PodMarks) -> EffectReason<'f> {
        let mesh = self.facts.settings.mesh;
        if let InjectionPrediction::Skipped(entry, skip) = prediction {
            return EffectReason::Skipped(entry, skip, mesh);
        }
        let InjectorView { marker, revision, .. } = self.view(marks);
        let namespace_says_no = || {
            let key = mesh.namespace_labels.first()?;
            self.namespace.labels.get(key).filter(|value| *value != "enabled").map(|value| (*key, value))
        };
        if marker.and_then(|value| mesh.parse_marker(value)) == Some(false) {
            return EffectReason::MarkerSaysNo(mesh);
        }
        if let Some(label) = namespace_says_no() {
            return EffectReason::NamespaceSaysNo(label);
        }
        let [marker, revision] = [marker, revision].map(|value| value.map(Into::into));
        EffectReason::NotSelected(SeenLabels {
            mesh,
            namespace: self.namespace,
            marker,
            revision,
            installed: self.revisions(),
        })
    }

    fn predict_enabled(&self, revision: &MarkChange) -> InjectionPrediction<'f> {
        let mesh = self.facts.settings.mesh;
        let sent = InjectorView::as_sent(self.facts.pod, self.namespace, mesh);
        // A marker that already enables stays as it is.
        let marker = sent.marker.filter(|value| mesh.parse_marker(value) == Some(true)).unwrap_or(mesh.on[0]);
        let view =
            InjectorView { marker: Some(marker), legacy: None, revision: revision.apply_to(sent.revision), ..sent };
        self.injectors.predict(&view, mesh)
    }

    fn predict(&self, marks: &PodMarks) -> InjectionPrediction<'f> {
        self.injectors.predict(&self.view(marks), self.facts.settings.mesh)
    }

    /// Returns the injector's view of the pod with these marks.
    fn view<'m>(&'m self, marks: &'m PodMarks) -> InjectorView<'m, 'm> {
        let sent = InjectorView::as_sent(self.facts.pod, self.namespace, self.facts.settings.mesh);
        InjectorView {
            marker: marks.marker.apply_to(sent.marker),
            legacy: marks.legacy.apply_to(sent.legacy),
            revision: marks.revision.apply_to(sent.revision),
            ..sent
        }
    }
}
