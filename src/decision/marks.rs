//! Marks that a decision leaves on a pod, and reasons to withhold one.

use super::facts::{ChainEnd, Facts, OwnerChain, SelectorUse};
use super::mesh::MarkerPlace;
use super::reason::{DecisionRule, OverrideRule, OverrideSource};
use super::{Decision, receipt};

/// Changes of a decision to the marks on a pod. A mark that is kept is not touched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodMarks {
    /// Change of the mesh's marker.
    pub marker: MarkChange,
    /// Change of the annotation that the mesh still reads if the label is absent.
    pub legacy: MarkChange,
    /// Change of the revision label.
    pub revision: MarkChange,
    /// Change of the receipt.
    pub receipt: MarkChange,
}

/// Change of one mark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum MarkChange {
    /// Leaves the mark as it is.
    #[default]
    Keep,
    /// Writes this value, which the pod does not have.
    Set(String),
    /// Removes the mark, which the pod has.
    Strip,
}

impl MarkChange {
    /// Returns the value after the change, given the value before it.
    pub fn apply_to<'m>(&'m self, before: Option<&'m str>) -> Option<&'m str> {
        match self {
            Self::Keep => before,
            Self::Set(value) => Some(value),
            Self::Strip => None,
        }
    }
}

/// Reason why a mark is not written although the decision asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithheldReason {
    /// The direct owner's selector uses the label: the owner would create pods for ever.
    OwnerSelector,
    /// The label is there already, and the direct owner's selector is unknown.
    OwnerSelectorUnknown,
}

impl WithheldReason {
    /// Returns the reason as one sentence without a full stop.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::OwnerSelector => {
                "the selector of the pod's owner uses this label: with another value the owner would create pods for ever"
            }
            Self::OwnerSelectorUnknown => "whether the selector of the pod's owner uses this label cannot be told",
        }
    }
}

impl PodMarks {
    /// Returns whether nothing changes.
    pub fn is_empty(&self) -> bool {
        let Self { marker, legacy, revision, receipt } = self;
        [marker, legacy, revision, receipt].iter().all(|mark| **mark == MarkChange::Keep)
    }
}

/// Returns the reason why the marker may not be changed on this pod, if there is one.
pub(super) fn marker_withheld(facts: &Facts<'_>) -> Option<WithheldReason> {
    let mesh = facts.settings.mesh;
    label_withheld(facts, (mesh.marker_place == MarkerPlace::Label).then_some(mesh.marker_key), |used| used.marker)
}

/// Returns the reason why the revision label may not be changed on this pod, if there is one.
pub(super) fn revision_withheld(facts: &Facts<'_>) -> Option<WithheldReason> {
    label_withheld(facts, facts.settings.mesh.revision_label, |used| used.revision)
}

/// Returns the reason why this label may not be changed on this pod, if there is one. If the owner's selector is
/// unknown, the label may be added, but not changed or removed.
fn label_withheld(facts: &Facts<'_>, label: Option<&str>, uses: fn(SelectorUse) -> bool) -> Option<WithheldReason> {
    let OwnerChain { chain, end, selector, gateway: _ } = &facts.owners;
    let is_bare = chain.is_empty() && !matches!(end, ChainEnd::Missing(..));
    match *selector {
        Some(used) => uses(used).then_some(WithheldReason::OwnerSelector),
        None if is_bare => None,
        None => label.and_then(|label| facts.pod.label(label)).map(|_| WithheldReason::OwnerSelectorUnknown),
    }
}

/// Returns the marks that enable or disable injection. A marker that already has the value stays: this is idempotent.
pub(super) fn injection_marks(facts: &Facts<'_>, decision: &Decision<'_>, on: bool, revision: MarkChange) -> PodMarks {
    let mesh = facts.settings.mesh;
    let pod = facts.pod;
    let has = pod.marker(mesh);
    let says_so = has.and_then(|value| mesh.parse_marker(value)) == Some(on);
    let is_ours = has.is_some() && pod.marker_is_ours();
    // Else an annotation that the replaced label hid would take effect as an override.
    let hidden = has.is_some() && !says_so && !is_ours;
    let contradicts = |value: &str| hidden || parse_go_bool(value) == Some(!on);
    let marker = match says_so {
        true => MarkChange::Keep,
        false => MarkChange::Set(if on { mesh.on[0] } else { mesh.off[0] }.to_owned()),
    };
    PodMarks {
        receipt: receipt_change(facts, decision, says_so && !is_ours, &revision),
        marker,
        legacy: strip_if(pod.annotations.legacy.as_deref().is_some_and(contradicts)),
        revision,
    }
}

/// Returns the change of the receipt for our marks. Beside the pod's own marker, only a revision can be ours.
fn receipt_change(facts: &Facts<'_>, decision: &Decision<'_>, own_marker: bool, revision: &MarkChange) -> MarkChange {
    let has = facts.pod.receipt().map(|receipt| receipt.0);
    let ours = match revision {
        MarkChange::Set(revision) => Some(revision.as_str()),
        MarkChange::Keep => stale_revision(facts),
        MarkChange::Strip => None,
    };
    let decides_by_own_marker =
        matches!(&decision.rule, DecisionRule::Override(OverrideRule { source: OverrideSource::Marker(_), .. }));
    let wanted_receipt = match (own_marker, ours) {
        (true, None) => None,
        // A later review must still take this marker for the pod's own.
        (true, Some(revision)) if decides_by_own_marker => Some(receipt::revision_receipt(revision)),
        (true | false, revision) => Some(receipt::marker_receipt(decision.action, &decision.rule, revision)),
    };
    match wanted_receipt {
        Some(wanted_receipt) if has == Some(wanted_receipt.as_str()) => MarkChange::Keep,
        Some(wanted_receipt) => MarkChange::Set(wanted_receipt),
        None => strip_if(has.is_some()),
    }
}

/// Returns the marks that leave the pod to its namespace.
pub(super) fn stripped_marks(facts: &Facts<'_>, revision: MarkChange) -> PodMarks {
    let pod = facts.pod;
    PodMarks {
        marker: strip_if(pod.marker(facts.settings.mesh).is_some()),
        legacy: strip_if(pod.annotations.legacy.is_some()),
        revision,
        receipt: strip_if(pod.receipt().is_some()),
    }
}

/// Returns the marks that only strip leftovers of an earlier decision of ours from a copied pod.
pub(super) fn cleaned_marks(facts: &Facts<'_>, decision: &Decision<'_>) -> PodMarks {
    let Some(receipt) = facts.pod.receipt().filter(|_| !matches!(decision.rule, DecisionRule::Safety(_))) else {
        return PodMarks::default();
    };
    let has_marker = facts.pod.marker(facts.settings.mesh).is_some();
    PodMarks {
        marker: strip_if(has_marker && receipt.claims_marker()),
        revision: strip_stale_revision(facts),
        receipt: MarkChange::Strip,
        legacy: MarkChange::Keep,
    }
}

/// Returns the pod's revision label if a receipt says that we wrote it.
pub(super) fn stale_revision<'f>(facts: &'f Facts<'_>) -> Option<&'f str> {
    let revision = facts.settings.mesh.revision_label.and_then(|key| facts.pod.label(key))?;
    facts.pod.receipt()?.revision().filter(|ours| *ours == revision)
}

/// Returns the pod's revision label if we did not write it.
pub(super) fn own_revision<'f>(facts: &'f Facts<'_>) -> Option<&'f str> {
    let revision = facts.settings.mesh.revision_label.and_then(|key| facts.pod.label(key));
    revision.filter(|_| stale_revision(facts).is_none())
}

/// Returns the change that strips a revision label of ours, unless the owner's selector may use it.
pub(super) fn strip_stale_revision(facts: &Facts<'_>) -> MarkChange {
    strip_if(stale_revision(facts).is_some() && revision_withheld(facts).is_none())
}

/// Returns the change after which the pod has this revision label.
pub(super) fn revision_change(facts: &Facts<'_>, revision: Option<&str>) -> MarkChange {
    let Some(key) = facts.settings.mesh.revision_label else { return MarkChange::Keep };
    let has = facts.pod.label(key);
    match revision {
        _ if revision == has => MarkChange::Keep,
        Some(revision) => MarkChange::Set(revision.to_owned()),
        None => MarkChange::Strip,
    }
}

fn strip_if(has: bool) -> MarkChange {
    if has { MarkChange::Strip } else { MarkChange::Keep }
}

/// Parses as Go's `strconv.ParseBool` does: Istio's CNI plugin reads the legacy annotation with it.
fn parse_go_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
