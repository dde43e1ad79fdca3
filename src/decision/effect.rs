//! What is written on a pod for a decision, and what the injector will then do; or why nothing can be done.
//!
//! What cannot have its effect is not written. Where the injector is not known, the marks are written all the same, and
//! the effect is [`Outcome::Unknown`].

use super::facts::{Facts, Missing, Namespace, Write};
use super::injector::{Entry, Injectors, Label, Prediction, Skip, View};
use super::marks::{
    Mark, Marks, Withheld, cleaned, marker_withheld, own_revision, revision_to, revision_withheld, stripped,
    without_stale_revision, written,
};
use super::mesh::{Injector, Mesh};
use super::reason::Rule;
use super::{Action, Decision};

mod sentence;

/// What follows from a decision: what is written, and what the injector makes of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consequence<'f> {
    /// What is written.
    pub marks: Marks,
    /// What the injector will do.
    pub effect: Effect<'f>,
    /// Why something that the decision asks for is not written, where the pod's owner is the cause.
    pub withheld: Option<Withheld>,
}

/// What the injector will do with a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect<'f> {
    /// In one word.
    pub outcome: Outcome,
    /// Why.
    pub why: Why<'f>,
}

/// What the injector will do, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The pod gets a sidecar.
    Injected,
    /// The pod gets none.
    NotInjected,
    /// The decision cannot have its effect, and nothing is written for it.
    Unreachable,
    /// It cannot be told.
    Unknown,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Injected, Self::NotInjected, Self::Unreachable, Self::Unknown];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "Injected",
            Self::NotInjected => "NotInjected",
            Self::Unreachable => "Unreachable",
            Self::Unknown => "Unknown",
        }
    }
}

/// Why the injector will do what it will do. As text it is one sentence, without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why<'f> {
    /// How this mesh's injector decides is not known here.
    Mesh(&'static Mesh),
    /// The webhook configurations are not known.
    Configurations(Missing),
    /// No webhook configuration calls an injector of this mesh.
    NoInjector(&'static Mesh),
    /// The namespace is not known.
    Namespace(Missing),
    /// The entry has conditions of its own.
    Conditions(&'f Entry),
    /// This entry is called, because of these labels of the namespace and of the pod, and its injector injects.
    Called(&'f Entry, Option<Label<'f>>, Option<Label<'f>>),
    /// This entry is called, and its injector skips the pod.
    Skipped(&'f Entry, Skip, &'static Mesh),
    /// The marker says no, so that no entry selects the pod.
    MarkerSaysNo(&'static Mesh),
    /// This label of the namespace says no, so that no entry selects the pod.
    NamespaceSaysNo(Label<'f>),
    /// No entry selects the pod.
    NotSelected(Seen<'f>),
    /// No entry selects the pod because of the revision label that it brought.
    OwnRevision(&'f str, Vec<&'f str>),
    /// No entry selects the pod with the revision that the policy asks for.
    PolicyRevision(&'f str, Vec<&'f str>),
    /// The revision that the policy asks for is out of reach, and this entry injects the pod as it came.
    OtherRevision(&'f str, &'f Entry),
    /// Only a revision label opens the gate, and several would.
    SeveralRevisions(Vec<&'f str>),
    /// The mark may not be changed on this pod.
    Withheld(Withheld),
    /// This entry injects before we are asked.
    RunsBeforeUs(&'f Entry),
    /// One of the injector's own never-inject selectors matches, and is left alone.
    NeverSelector(&'f Entry),
}

/// The labels by which an injector could have been called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<'f> {
    mesh: &'static Mesh,
    namespace: &'f Namespace,
    marker: Option<Box<str>>,
    revision: Option<Box<str>>,
    installed: Vec<&'f str>,
}

impl<'f> Effect<'f> {
    /// The entry that is called, if one is.
    pub fn entry(&self) -> Option<&'f Entry> {
        match &self.why {
            Why::Called(entry, ..)
            | Why::OtherRevision(_, entry)
            | Why::Skipped(entry, ..)
            | Why::Conditions(entry)
            | Why::RunsBeforeUs(entry)
            | Why::NeverSelector(entry) => Some(entry),
            Why::Mesh(_)
            | Why::Configurations(_)
            | Why::NoInjector(_)
            | Why::Namespace(_)
            | Why::MarkerSaysNo(_)
            | Why::NamespaceSaysNo(_)
            | Why::NotSelected(_)
            | Why::OwnRevision(..)
            | Why::PolicyRevision(..)
            | Why::SeveralRevisions(_)
            | Why::Withheld(_) => None,
        }
    }
}

/// What follows from a decision about this pod.
pub fn consequence<'f>(facts: &'f Facts<'_>, decision: &Decision<'f>) -> Consequence<'f> {
    match known(facts) {
        Ok((injectors, namespace)) => Foreseeing { facts, injectors, namespace, decision }.consequence(),
        Err(why) => unforeseen(facts, decision, why),
    }
}

/// What the injector does with this pod by itself, where nothing is decided for it.
pub fn left_alone<'f>(facts: &'f Facts<'_>) -> Consequence<'f> {
    let decision = Decision {
        action: Action::Leave,
        rule: Rule::Nothing,
        revision: None,
        is_final: false,
        until: None,
        considered: Vec::new(),
    };
    consequence(facts, &decision)
}

/// What has to be known to foresee an effect.
fn known<'f>(facts: &'f Facts<'_>) -> Result<(&'f Injectors, &'f Namespace), Why<'f>> {
    let mesh = facts.settings.mesh;
    if mesh.injector == Injector::Unread {
        return Err(Why::Mesh(mesh));
    }
    let injectors = facts.injectors.as_deref().map_err(|missing| Why::Configurations(*missing))?;
    if injectors.entries().is_empty() {
        return Err(Why::NoInjector(mesh));
    }
    let namespace = facts.namespace.as_deref().map_err(|missing| Why::Namespace(*missing))?;
    Ok((injectors, namespace))
}

/// What is written where it cannot be told what the injector makes of it.
fn unforeseen<'f>(facts: &'f Facts<'_>, decision: &Decision<'_>, why: Why<'f>) -> Consequence<'f> {
    let wanted = revision(facts, decision);
    let revision_withheld = revision_withheld(facts).filter(|_| wanted != Mark::Keep);
    let revision = if revision_withheld.is_some() { Mark::Keep } else { wanted };
    let marks = match decision.action {
        Action::Enable => written(facts, decision, true, revision),
        Action::Disable => written(facts, decision, false, revision),
        Action::Remove => stripped(facts, revision),
        Action::Leave => cleaned(facts, decision),
    };
    let marker_withheld = marker_withheld(facts).filter(|_| marks.marker != Mark::Keep);
    let marks = if marker_withheld.is_some() { Marks::default() } else { marks };
    let withheld = marker_withheld.or(revision_withheld).filter(|_| decision.action != Action::Leave);
    let effect = match withheld {
        Some(withheld) => Effect { outcome: Outcome::Unreachable, why: Why::Withheld(withheld) },
        None => Effect { outcome: Outcome::Unknown, why },
    };
    Consequence { marks, effect, withheld }
}

/// The revision label, as far as the decision alone tells. A final word replaces the pod's own by the one that it asks
/// for, and Remove takes it away, since it could open the gate. Where nobody knows whether it keeps a sidecar out or lets
/// one in, a final Enable without a revision leaves it: without it the pod might reach no injector at all.
fn revision(facts: &Facts<'_>, decision: &Decision<'_>) -> Mark {
    let wanted = decision.revision.filter(|_| decision.action == Action::Enable && !revision_is_ignored(facts));
    match (wanted, own_revision(facts)) {
        (Some(wanted), None) => revision_to(facts, Some(wanted)),
        (Some(wanted), Some(_)) if decision.is_final => revision_to(facts, Some(wanted)),
        (None, Some(_)) if decision.is_final && decision.action == Action::Remove && !revision_is_ignored(facts) => {
            Mark::Strip
        }
        (None, None) => revision_to(facts, None),
        (Some(_) | None, Some(_)) => Mark::Keep,
    }
}

/// In a namespace that carries an injection label the injector does not look at the pod's own revision.
fn revision_is_ignored(facts: &Facts<'_>) -> bool {
    let labels = facts.settings.mesh.namespace_labels;
    facts.namespace.as_ref().is_ok_and(|namespace| labels.iter().any(|label| namespace.labels.get(label).is_some()))
}

/// Weighs what can be written against what the injector makes of it.
struct Foreseeing<'f, 'a, 'd> {
    facts: &'f Facts<'a>,
    injectors: &'f Injectors,
    namespace: &'f Namespace,
    decision: &'d Decision<'f>,
}

impl<'f> Foreseeing<'f, '_, '_> {
    fn consequence(&self) -> Consequence<'f> {
        match self.decision.action {
            Action::Leave => self.settled(cleaned(self.facts, self.decision), None),
            Action::Remove => self.settled(stripped(self.facts, self.revision_for_remove()), None),
            Action::Disable => self.disabled(),
            Action::Enable => self.enabled(),
        }
    }

    fn disabled(&self) -> Consequence<'f> {
        let clean = cleaned(self.facts, self.decision);
        let stays_out = || !matches!(self.predict(&clean), Prediction::Injected(_) | Prediction::Conditional(_));
        if self.writes_only_if_needed(false) && stays_out() {
            return self.settled(clean, Some(false));
        }
        let revision = without_stale_revision(self.facts);
        self.settled(written(self.facts, self.decision, false, revision), Some(false))
    }

    fn enabled(&self) -> Consequence<'f> {
        let clean = cleaned(self.facts, self.decision);
        if self.writes_only_if_needed(true) {
            match self.predict(&clean) {
                Prediction::Injected(entry) if self.is_as_asked(entry) => return self.settled(clean, Some(true)),
                Prediction::Skipped(entry, Skip::NeverSelector) => {
                    return self.unreachable(clean, Why::NeverSelector(entry));
                }
                Prediction::Injected(_)
                | Prediction::Skipped(..)
                | Prediction::NotCalled
                | Prediction::Conditional(_) => {}
            }
        }
        match self.opening() {
            Ok(revision) => self.settled(written(self.facts, self.decision, true, revision), Some(true)),
            Err(why) => match (self.predict(&clean), self.decision.revision) {
                // Out of reach is the revision alone; the pod as it came is injected by another.
                (Prediction::Injected(entry), Some(asked)) if marker_withheld(self.facts).is_none() => {
                    let effect = Effect { outcome: Outcome::Injected, why: Why::OtherRevision(asked, entry) };
                    Consequence { marks: clean, effect, withheld: None }
                }
                _ => self.unreachable(clean, why),
            },
        }
    }

    /// A marker of ours that says so already stays, as it would be written again where it was needed.
    fn writes_only_if_needed(&self, on: bool) -> bool {
        let Facts { pod, settings, .. } = self.facts;
        let says_so = pod.marker(settings.mesh).and_then(|value| settings.mesh.reads(value)) == Some(on);
        settings.write == Write::Needed && !(says_so && pod.marker_is_ours())
    }

    /// Whether this entry leads where the decision asks for, if it asks for a revision that a pod can choose here.
    fn is_as_asked(&self, entry: &Entry) -> bool {
        let label = self.facts.settings.mesh.revision_label;
        match (self.decision.revision, label) {
            (Some(asked), Some(label)) => {
                revision_is_ignored(self.facts) || entry.selects_revision(label, asked) || !self.may_choose()
            }
            (None, _) | (Some(_), None) => true,
        }
    }

    /// Whether the pod's revision label is ours to choose.
    fn may_choose(&self) -> bool {
        self.decision.is_final || own_revision(self.facts).is_none()
    }

    /// The revision label with which an enabling marker opens the gate.
    fn opening(&self) -> Result<Mark, Why<'f>> {
        let own = own_revision(self.facts);
        let asked = self.decision.revision.filter(|_| self.may_choose() && !revision_is_ignored(self.facts));
        let first = match asked {
            Some(asked) => revision_to(self.facts, Some(asked)),
            None => without_stale_revision(self.facts),
        };
        let prediction = self.predict_enabled(&first);
        if matches!(prediction, Prediction::Injected(_) | Prediction::Conditional(_)) {
            return self.unless_withheld(first);
        }
        let marker = Mark::Set(self.facts.settings.mesh.on[0].to_owned());
        let refused = || self.why_out(prediction, &Marks { marker, revision: first, ..Marks::default() });
        if prediction != Prediction::NotCalled || revision_is_ignored(self.facts) {
            return Err(refused());
        }
        match (asked, own) {
            (Some(asked), _) => Err(Why::PolicyRevision(asked, self.revisions())),
            (None, Some(own)) if !self.may_choose() => Err(Why::OwnRevision(own, self.revisions())),
            (None, Some(_)) if matches!(self.predict_enabled(&Mark::Strip), Prediction::Injected(_)) => {
                self.unless_withheld(Mark::Strip)
            }
            (None, _) => self.only_revision().unwrap_or_else(|| Err(refused())),
        }
    }

    /// The one revision that opens the gate; several are too many to choose from.
    fn only_revision(&self) -> Option<Result<Mark, Why<'f>>> {
        let label = self.facts.settings.mesh.revision_label?;
        let mut opening = self.injectors.revisions(label);
        opening.retain(|(revision, _)| {
            matches!(self.predict_enabled(&Mark::Set((*revision).to_owned())), Prediction::Injected(_))
        });
        let leads_to = |(name, entry): &(&'f str, &'f Entry)| entry.revision.as_deref().unwrap_or(name);
        let first = opening.first().map(leads_to)?;
        if opening.iter().any(|one| leads_to(one) != first) {
            return Some(Err(Why::SeveralRevisions(opening.into_iter().map(|(revision, _)| revision).collect())));
        }
        // Of the names of one control plane its own, and only then a tag.
        let own_name = opening.iter().find(|(name, _)| *name == first).or(opening.first());
        own_name.map(|(name, _)| self.unless_withheld(revision_to(self.facts, Some(name))))
    }

    fn unless_withheld(&self, revision: Mark) -> Result<Mark, Why<'f>> {
        match revision_withheld(self.facts).filter(|_| revision != Mark::Keep) {
            Some(withheld) => Err(Why::Withheld(withheld)),
            None => Ok(revision),
        }
    }

    /// Removing leaves it to the namespace: a pod's own revision that opens the gate defeats a final word.
    fn revision_for_remove(&self) -> Mark {
        let kept = without_stale_revision(self.facts);
        let injects = |revision: &Mark| {
            let prediction = self.predict(&stripped(self.facts, revision.clone()));
            matches!(prediction, Prediction::Injected(_) | Prediction::Conditional(_))
        };
        let defeats =
            self.decision.is_final && own_revision(self.facts).is_some() && injects(&kept) && !injects(&Mark::Strip);
        let wanted = if defeats { Mark::Strip } else { kept };
        if revision_withheld(self.facts).is_some() { Mark::Keep } else { wanted }
    }

    fn revisions(&self) -> Vec<&'f str> {
        let label = self.facts.settings.mesh.revision_label;
        let revisions = label.map(|label| self.injectors.revisions(label)).unwrap_or_default();
        revisions.into_iter().map(|(revision, _)| revision).collect()
    }

    /// These marks with what they come to; `wanted` is whether the decision asks for a sidecar, if it asks for anything.
    fn settled(&self, marks: Marks, wanted: Option<bool>) -> Consequence<'f> {
        let withheld = marker_withheld(self.facts).filter(|_| marks.marker != Mark::Keep);
        let marks = if withheld.is_some() { Marks::default() } else { marks };
        let prediction = self.predict(&marks);
        let effect = match (prediction, wanted) {
            (Prediction::Conditional(entry), _) => Effect { outcome: Outcome::Unknown, why: Why::Conditions(entry) },
            (Prediction::Injected(entry), Some(false)) => return self.not_kept_out(entry, withheld),
            (Prediction::Injected(entry), Some(true) | None) => {
                Effect { outcome: Outcome::Injected, why: self.called(entry, &marks) }
            }
            (Prediction::Skipped(..) | Prediction::NotCalled, Some(true)) => {
                let why = withheld.map_or_else(|| self.why_out(prediction, &marks), Why::Withheld);
                return self.given_up(why, withheld);
            }
            (Prediction::Skipped(..) | Prediction::NotCalled, Some(false) | None) => {
                Effect { outcome: Outcome::NotInjected, why: self.why_out(prediction, &marks) }
            }
        };
        // A marker that the owner's selector holds in place is no failure where the effect is what was asked for.
        let stripped_in_vain = withheld.filter(|_| self.decision.action == Action::Remove);
        let effect = match stripped_in_vain {
            Some(withheld) => Effect { outcome: Outcome::Unreachable, why: Why::Withheld(withheld) },
            None => effect,
        };
        Consequence { marks, effect, withheld }
    }

    fn not_kept_out(&self, entry: &'f Entry, withheld: Option<Withheld>) -> Consequence<'f> {
        let why = match withheld {
            Some(withheld) => Why::Withheld(withheld),
            None if entry.runs_before_us => Why::RunsBeforeUs(entry),
            None => self.called(entry, &Marks::default()),
        };
        self.given_up(why, withheld)
    }

    /// Nothing is written for the decision, and what an earlier one of ours wrote is taken away.
    fn given_up(&self, why: Why<'f>, withheld: Option<Withheld>) -> Consequence<'f> {
        let marks = if withheld.is_some() { Marks::default() } else { cleaned(self.facts, self.decision) };
        Consequence { withheld, ..self.unreachable(marks, why) }
    }

    fn unreachable(&self, clean: Marks, why: Why<'f>) -> Consequence<'f> {
        let by_owner = match &why {
            Why::Withheld(withheld) => Some(*withheld),
            _ => None,
        };
        let withheld = marker_withheld(self.facts).filter(|_| clean.marker != Mark::Keep);
        let marks = if withheld.is_some() { Marks::default() } else { clean };
        let effect = Effect { outcome: Outcome::Unreachable, why };
        Consequence { marks, effect, withheld: withheld.or(by_owner) }
    }

    fn called(&self, entry: &'f Entry, marks: &Marks) -> Why<'f> {
        let view = self.view(marks);
        let (namespace, pod) = entry.called_by(&view, self.facts.settings.mesh);
        Why::Called(entry, namespace, pod)
    }

    /// Why the pod gets no sidecar.
    fn why_out(&self, prediction: Prediction<'f>, marks: &Marks) -> Why<'f> {
        let mesh = self.facts.settings.mesh;
        if let Prediction::Skipped(entry, skip) = prediction {
            return Why::Skipped(entry, skip, mesh);
        }
        let View { marker, revision, .. } = self.view(marks);
        let namespace_says_no = || {
            let key = mesh.namespace_labels.first()?;
            self.namespace.labels.get(key).filter(|value| *value != "enabled").map(|value| (*key, value))
        };
        if marker.and_then(|value| mesh.reads(value)) == Some(false) {
            return Why::MarkerSaysNo(mesh);
        }
        if let Some(label) = namespace_says_no() {
            return Why::NamespaceSaysNo(label);
        }
        let [marker, revision] = [marker, revision].map(|value| value.map(Into::into));
        Why::NotSelected(Seen { mesh, namespace: self.namespace, marker, revision, installed: self.revisions() })
    }

    fn predict_enabled(&self, revision: &Mark) -> Prediction<'f> {
        let mesh = self.facts.settings.mesh;
        let sent = View::sent(self.facts.pod, self.namespace, mesh);
        // A marker that says yes already stays as it is.
        let marker = sent.marker.filter(|value| mesh.reads(value) == Some(true)).unwrap_or(mesh.on[0]);
        let view = View { marker: Some(marker), legacy: None, revision: revision.after(sent.revision), ..sent };
        self.injectors.predict(&view, mesh)
    }

    fn predict(&self, marks: &Marks) -> Prediction<'f> {
        self.injectors.predict(&self.view(marks), self.facts.settings.mesh)
    }

    /// The pod as it will be with these marks.
    fn view<'m>(&'m self, marks: &'m Marks) -> View<'m, 'm> {
        let sent = View::sent(self.facts.pod, self.namespace, self.facts.settings.mesh);
        View {
            marker: marks.marker.after(sent.marker),
            legacy: marks.legacy.after(sent.legacy),
            revision: marks.revision.after(sent.revision),
            ..sent
        }
    }
}
