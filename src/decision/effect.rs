//! What is written on a pod for a decision, so that the injector does what the decision says; or why nothing can be.

use std::fmt::Write;

use super::facts::{Facts, SelectorUse};
use super::mesh::Place;
use super::{Action, Decision, Rule};

/// The state that a decision gives each mark on a pod. What is kept is not touched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// The mesh's marker.
    pub marker: Mark,
    /// The annotation that the mesh still reads where the label is absent.
    pub legacy: Mark,
    /// The revision label.
    pub revision: Mark,
    /// The receipt.
    pub receipt: Mark,
    /// Why something that the decision asks for is not written.
    pub withheld: Option<Withheld>,
}

/// What happens to one mark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Mark {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is written; the pod does not have this value.
    Set(String),
    /// It is taken away; the pod has it.
    Strip,
}

/// Why a mark is not written although the decision asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// The direct owner's selector uses it: the owner would create pods for ever.
    OwnerSelector,
    /// The mark is there already, and whether the direct owner's selector uses it cannot be told.
    OwnerSelectorUnknown,
}

impl Withheld {
    /// One sentence, without a full stop.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::OwnerSelector => {
                "the selector of the pod's owner uses this label: with another value the owner would create pods for ever"
            }
            Self::OwnerSelectorUnknown => "whether the selector of the pod's owner uses this label cannot be told",
        }
    }
}

impl Marks {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        let Self { marker, legacy, revision, receipt, withheld: _ } = self;
        [marker, legacy, revision, receipt].iter().all(|mark| **mark == Mark::Keep)
    }
}

/// What to write for a decision. Marks of a pod that already says so stay as they are, which makes this idempotent.
pub fn marks(facts: &Facts<'_>, decision: &Decision<'_>) -> Marks {
    let wanted = revision(facts, decision);
    let revision_withheld =
        withheld(facts, facts.settings.mesh.revision_label, |used| used.revision).filter(|_| wanted != Mark::Keep);
    let revision = if revision_withheld.is_some() { Mark::Keep } else { wanted };
    let marks = match decision.action {
        Action::Enable => written(facts, decision, true, revision),
        Action::Disable => written(facts, decision, false, revision),
        Action::Remove => stripped(facts, revision),
        Action::Leave => cleaned(facts, decision, revision),
    };
    let label = (facts.settings.mesh.marker_place == Place::Label).then_some(facts.settings.mesh.marker_key);
    match withheld(facts, label, |used| used.marker) {
        Some(withheld) if marks.marker != Mark::Keep => Marks { withheld: Some(withheld), ..Marks::default() },
        _ => Marks { withheld: revision_withheld, ..marks },
    }
}

/// Why this label may not be changed on this pod. One that is unknown to be used may be added, never changed or removed.
fn withheld(facts: &Facts<'_>, label: Option<&str>, uses: fn(SelectorUse) -> bool) -> Option<Withheld> {
    match facts.owners.selector {
        Some(used) => uses(used).then_some(Withheld::OwnerSelector),
        None if facts.owners.chain.is_empty() => None,
        None => label.and_then(|label| facts.pod.label(label)).map(|_| Withheld::OwnerSelectorUnknown),
    }
}

fn written(facts: &Facts<'_>, decision: &Decision<'_>, on: bool, revision: Mark) -> Marks {
    let Facts { pod, settings, .. } = facts;
    let has = pod.marker(settings.mesh);
    let says_so = has.and_then(|value| settings.mesh.reads(value)) == Some(on);
    // A marker that is right already and has no receipt is the user's own: a receipt beside it would make it look like ours.
    let ours = pod.receipt().is_some() || !says_so || matches!(revision, Mark::Set(_));
    let receipt = ours.then(|| receipt(facts, decision, &revision)).filter(|new| pod.receipt() != Some(new));
    // An annotation hidden by the label that is now replaced would otherwise come to life as an override.
    let hidden = has.is_some() && !says_so && pod.receipt().is_none();
    let contradicts = |value: &str| hidden || go_bool(value) == Some(!on);
    Marks {
        marker: if says_so {
            Mark::Keep
        } else {
            Mark::Set(if on { settings.mesh.on[0] } else { settings.mesh.off[0] }.to_owned())
        },
        legacy: strip_if(pod.annotations.legacy.as_deref().is_some_and(contradicts)),
        revision,
        receipt: receipt.map_or(Mark::Keep, Mark::Set),
        withheld: None,
    }
}

fn stripped(facts: &Facts<'_>, revision: Mark) -> Marks {
    let pod = facts.pod;
    Marks {
        marker: strip_if(pod.marker(facts.settings.mesh).is_some()),
        legacy: strip_if(pod.annotations.legacy.is_some()),
        revision,
        receipt: strip_if(pod.receipt().is_some()),
        withheld: None,
    }
}

/// Leaves everything, apart from what an earlier decision of ours left behind on a copied pod.
fn cleaned(facts: &Facts<'_>, decision: &Decision<'_>, revision: Mark) -> Marks {
    let pod = facts.pod;
    if pod.receipt().is_none() || matches!(decision.rule, Rule::Safety(_)) {
        return Marks::default();
    }
    let marker = strip_if(pod.marker(facts.settings.mesh).is_some());
    Marks { marker, revision, receipt: Mark::Strip, ..Marks::default() }
}

/// The revision label: written where it opens the gate, taken away where it would close or open one against a final word.
fn revision(facts: &Facts<'_>, decision: &Decision<'_>) -> Mark {
    let Some(key) = facts.settings.mesh.revision_label else { return Mark::Keep };
    let has = facts.pod.label(key);
    // In a namespace that carries an injection label the injector does not look at the pod's own revision.
    let ignored = facts.namespace.as_ref().is_ok_and(|namespace| {
        facts.settings.mesh.namespace_labels.iter().any(|label| namespace.labels.get(label).is_some())
    });
    if ignored {
        return strip_if(stale_revision(facts));
    }
    let wanted = decision.revision.filter(|_| decision.action == Action::Enable);
    let ours = stale_revision(facts);
    match (wanted, has) {
        (Some(wanted), Some(has)) if wanted == has => Mark::Keep,
        (Some(wanted), None) => Mark::Set(wanted.to_owned()),
        (Some(wanted), Some(_)) if decision.is_final || ours => Mark::Set(wanted.to_owned()),
        (None, Some(_)) if ours || (decision.is_final && decision.action != Action::Disable) => Mark::Strip,
        (Some(_) | None, _) => Mark::Keep,
    }
}

/// Whether the pod's revision label is one that a receipt says we wrote.
fn stale_revision(facts: &Facts<'_>) -> bool {
    let revision = facts.settings.mesh.revision_label.and_then(|key| facts.pod.label(key));
    match (revision, facts.pod.receipt()) {
        (Some(revision), Some(receipt)) => receipt_revision(receipt) == Some(revision),
        _ => false,
    }
}

fn receipt(facts: &Facts<'_>, decision: &Decision<'_>, revision: &Mark) -> String {
    let mut receipt = format!("{} by {}", decision.action.as_str(), decision.rule);
    let kept =
        || facts.settings.mesh.revision_label.filter(|_| stale_revision(facts)).and_then(|key| facts.pod.label(key));
    let written = match revision {
        Mark::Set(revision) => Some(revision.as_str()),
        Mark::Keep => kept(),
        Mark::Strip => None,
    };
    if let Some(revision) = written {
        let _ = write!(receipt, "{REVISION}{revision}");
    }
    receipt
}

/// Stands between the rule and the revision in a receipt.
const REVISION: &str = ", revision ";

fn receipt_revision(receipt: &str) -> Option<&str> {
    receipt.rsplit_once(REVISION).map(|(_, revision)| revision)
}

fn strip_if(has: bool) -> Mark {
    if has { Mark::Strip } else { Mark::Keep }
}

/// What Go's `strconv.ParseBool` reads, since Istio's CNI plugin reads the legacy annotation with it.
fn go_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
