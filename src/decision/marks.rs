//! The marks that a decision leaves on a pod, and why one may be withheld.

use super::Decision;
use super::facts::{ChainEnd, Facts, Owners, SelectorUse};
use super::mesh::Place;
use super::reason::{Override, Rule, Source};
use super::receipt;

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

impl Mark {
    /// The mark's value, of which the pod has `before`.
    pub fn after<'m>(&'m self, before: Option<&'m str>) -> Option<&'m str> {
        match self {
            Self::Keep => before,
            Self::Set(value) => Some(value),
            Self::Strip => None,
        }
    }
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
        let Self { marker, legacy, revision, receipt } = self;
        [marker, legacy, revision, receipt].iter().all(|mark| **mark == Mark::Keep)
    }
}

/// Why the marker may not be changed on this pod.
pub(super) fn marker_withheld(facts: &Facts<'_>) -> Option<Withheld> {
    let mesh = facts.settings.mesh;
    withheld(facts, (mesh.marker_place == Place::Label).then_some(mesh.marker_key), |used| used.marker)
}

/// Why the revision label may not be changed on this pod.
pub(super) fn revision_withheld(facts: &Facts<'_>) -> Option<Withheld> {
    withheld(facts, facts.settings.mesh.revision_label, |used| used.revision)
}

/// Why this label may not be changed on this pod. One that is unknown to be used may be added, never changed or removed.
fn withheld(facts: &Facts<'_>, label: Option<&str>, uses: fn(SelectorUse) -> bool) -> Option<Withheld> {
    let Owners { chain, end, selector, gateway: _ } = &facts.owners;
    let is_bare = chain.is_empty() && !matches!(end, ChainEnd::Missing(..));
    match *selector {
        Some(used) => uses(used).then_some(Withheld::OwnerSelector),
        None if is_bare => None,
        None => label.and_then(|label| facts.pod.label(label)).map(|_| Withheld::OwnerSelectorUnknown),
    }
}

/// Marks that tell the injector yes or no. What already says so stays as it is, which makes this idempotent.
pub(super) fn written(facts: &Facts<'_>, decision: &Decision<'_>, on: bool, revision: Mark) -> Marks {
    let mesh = facts.settings.mesh;
    let pod = facts.pod;
    let has = pod.marker(mesh);
    let says_so = has.and_then(|value| mesh.reads(value)) == Some(on);
    let is_ours = has.is_some() && pod.marker_is_ours();
    // An annotation hidden by the label that is now replaced would otherwise come to life as an override.
    let hidden = has.is_some() && !says_so && !is_ours;
    let contradicts = |value: &str| hidden || go_bool(value) == Some(!on);
    let marker = match says_so {
        true => Mark::Keep,
        false => Mark::Set(if on { mesh.on[0] } else { mesh.off[0] }.to_owned()),
    };
    Marks {
        receipt: receipt(facts, decision, says_so && !is_ours, &revision),
        marker,
        legacy: strip_if(pod.annotations.legacy.as_deref().is_some_and(contradicts)),
        revision,
    }
}

/// The receipt for what is ours on the pod; beside the pod's own marker only a revision can be.
fn receipt(facts: &Facts<'_>, decision: &Decision<'_>, own_marker: bool, revision: &Mark) -> Mark {
    let has = facts.pod.receipt().map(|receipt| receipt.0);
    let ours = match revision {
        Mark::Set(revision) => Some(revision.as_str()),
        Mark::Keep => stale_revision(facts),
        Mark::Strip => None,
    };
    let follows_own_marker = matches!(&decision.rule, Rule::Override(Override { source: Source::Marker(_), .. }));
    let wanted = match (own_marker, ours) {
        (true, None) => None,
        // A marker that a later review has to go on taking for the pod's own.
        (true, Some(revision)) if follows_own_marker => Some(receipt::for_revision(revision)),
        (true | false, revision) => Some(receipt::for_marker(decision.action, &decision.rule, revision)),
    };
    match wanted {
        Some(wanted) if has == Some(wanted.as_str()) => Mark::Keep,
        Some(wanted) => Mark::Set(wanted),
        None => strip_if(has.is_some()),
    }
}

/// Marks that leave it to the namespace.
pub(super) fn stripped(facts: &Facts<'_>, revision: Mark) -> Marks {
    let pod = facts.pod;
    Marks {
        marker: strip_if(pod.marker(facts.settings.mesh).is_some()),
        legacy: strip_if(pod.annotations.legacy.is_some()),
        revision,
        receipt: strip_if(pod.receipt().is_some()),
    }
}

/// Leaves everything, apart from what an earlier decision of ours left behind on a copied pod.
pub(super) fn cleaned(facts: &Facts<'_>, decision: &Decision<'_>) -> Marks {
    let Some(receipt) = facts.pod.receipt().filter(|_| !matches!(decision.rule, Rule::Safety(_))) else {
        return Marks::default();
    };
    let has_marker = facts.pod.marker(facts.settings.mesh).is_some();
    Marks {
        marker: strip_if(has_marker && receipt.claims_marker()),
        revision: without_stale_revision(facts),
        receipt: Mark::Strip,
        legacy: Mark::Keep,
    }
}

/// The pod's revision label, where a receipt says that we wrote it.
pub(super) fn stale_revision<'f>(facts: &'f Facts<'_>) -> Option<&'f str> {
    let revision = facts.settings.mesh.revision_label.and_then(|key| facts.pod.label(key))?;
    facts.pod.receipt()?.revision().filter(|ours| *ours == revision)
}

/// The pod's revision label, where it is not ours.
pub(super) fn own_revision<'f>(facts: &'f Facts<'_>) -> Option<&'f str> {
    let revision = facts.settings.mesh.revision_label.and_then(|key| facts.pod.label(key));
    revision.filter(|_| stale_revision(facts).is_none())
}

/// Takes away a revision label of ours, unless the owner's selector may use it.
pub(super) fn without_stale_revision(facts: &Facts<'_>) -> Mark {
    strip_if(stale_revision(facts).is_some() && revision_withheld(facts).is_none())
}

/// The mark that leaves the pod with this revision label.
pub(super) fn revision_to(facts: &Facts<'_>, wanted: Option<&str>) -> Mark {
    let Some(key) = facts.settings.mesh.revision_label else { return Mark::Keep };
    let has = facts.pod.label(key);
    match wanted {
        _ if wanted == has => Mark::Keep,
        Some(wanted) => Mark::Set(wanted.to_owned()),
        None => Mark::Strip,
    }
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
