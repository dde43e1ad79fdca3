//! The mesh's own markers that stand in a cluster before its first policy, and would count as overrides of it.

use serde::Serialize;

use super::comparison::{Origin, origins};
use crate::decision::effect::{Outcome, consequence};
use crate::decision::facts::{Annotations, Facts, Pod};
use crate::decision::mesh::{Mesh, Place};
use crate::decision::reason::Rule;
use crate::decision::{Action, Decision, decide};
use crate::features::explain::explanation::EffectTold;
use crate::kernel::text::sanitized;
use crate::kubernetes::inventory::Inventory;

/// A marker on a workload's pod template, or on a pod that no known workload made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StandingMarker {
    /// The namespace.
    pub namespace: String,
    /// The kind of the workload, or `Pod`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How many pods of it run; absent where pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<usize>,
    /// `label` or `annotation`.
    pub place: &'static str,
    /// The key.
    pub key: &'static str,
    /// The value, as written.
    pub value: String,
    /// What it would ask for as an override; absent where it would not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asks: Option<&'static str>,
    /// What the injector would do with a pod without it.
    pub without_it: EffectTold,
    /// Whether that is what the marker asks for; absent where it does not count, or where nobody can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agrees: Option<bool>,
}

/// Every marker that stands, apart from those on pods that are never touched and those that are ours.
pub fn markers(inventory: &Inventory, now: jiff::Timestamp) -> Vec<StandingMarker> {
    let of = |origin: &Origin| {
        origin.about(inventory, |facts| match decide(facts, now).rule {
            Rule::Safety(_) => Vec::new(),
            _ => of_facts(facts, origin),
        })
    };
    origins(inventory).iter().flat_map(of).collect()
}

fn of_facts(facts: &Facts<'_>, origin: &Origin) -> Vec<StandingMarker> {
    let (pod, mesh) = (facts.pod, facts.settings.mesh);
    let place = match mesh.marker_place {
        Place::Label => "label",
        Place::Annotation => "annotation",
    };
    let marker = pod.marker(mesh).filter(|_| !pod.marker_is_ours());
    let legacy = mesh.legacy_annotation.zip(pod.annotations.legacy.as_deref());
    let read = marker.map(|value| (place, mesh.marker_key, value, mesh.reads(value)));
    // The injector, and so we, read the annotation only where there is no label.
    let hidden = legacy.map(|(key, value)| ("annotation", key, value, mesh.reads(value).filter(|_| marker.is_none())));
    let found: Vec<_> = read.into_iter().chain(hidden).collect();
    if found.is_empty() {
        return Vec::new();
    }
    let without_it = without_markers(facts);
    let told = found.into_iter().map(|(place, key, value, asks)| StandingMarker {
        namespace: sanitized(origin.namespace()),
        kind: sanitized(origin.kind()),
        name: sanitized(origin.name()),
        pods: origin.pods,
        place,
        key,
        value: sanitized(value),
        asks: asks.map(|on| if on { Action::Enable } else { Action::Disable }.as_str()),
        agrees: asks.and_then(|on| match without_it.outcome {
            Outcome::Injected => Some(on),
            Outcome::NotInjected => Some(!on),
            Outcome::Unreachable | Outcome::Unknown => None,
        }),
        without_it: without_it.clone(),
    });
    told.collect()
}

/// What the injector does where neither the pod nor any rule says anything.
fn without_markers(facts: &Facts<'_>) -> EffectTold {
    let bare = bare(facts.pod, facts.settings.mesh);
    let facts = Facts { pod: &bare, ..facts.clone() };
    let nothing = Decision {
        action: Action::Leave,
        rule: Rule::Nothing,
        until: None,
        revision: None,
        is_final: false,
        considered: Vec::new(),
    };
    (&consequence(&facts, &nothing).effect).into()
}

fn bare<'p>(pod: &Pod<'p>, mesh: &Mesh) -> Pod<'p> {
    let mut bare = pod.clone();
    if mesh.marker_place == Place::Label {
        bare.labels = bare.labels.map(|labels| labels.without(mesh.marker_key));
    }
    bare.annotations = Annotations { marker: None, legacy: None, receipt: None, ..bare.annotations };
    bare
}
