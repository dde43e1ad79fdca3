//! Adoption: the mesh's own markers in a cluster without policies, which would count as overrides of the first one.

use serde::Serialize;

use crate::decision::effect::{EffectOutcome, consequence};
use crate::decision::facts::{Facts, PodAnnotations, PodFacts};
use crate::decision::mesh::{MarkerPlace, Mesh};
use crate::decision::reason::DecisionRule;
use crate::decision::{Action, Decision, decide};
use crate::features::new_pod::EffectSummary;
use crate::features::pod_source::{PodSource, pod_sources_with};
use crate::features::status::running::RunningPods;
use crate::kernel::text::sanitize;
use crate::kubernetes::inventory::Inventory;

/// Marker on the pod template of a workload, or on a pod without a known workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExistingMarker {
    pub namespace: String,
    /// Kind of the workload, or `Pod`.
    pub kind: String,
    pub name: String,
    /// Number of running pods; absent where pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<usize>,
    /// `label` or `annotation`.
    pub place: &'static str,
    pub key: &'static str,
    /// Value, as written.
    pub value: String,
    /// Action that the marker would ask for as an override; absent where it would not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asks: Option<&'static str>,
    /// Effect of the injector on a pod without the marker.
    pub without_it: EffectSummary,
    /// Whether the marker asks for that effect; absent where the marker does not count, or the effect is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agrees: Option<bool>,
}

/// Returns the markers of one namespace or of all, except on pods that are never touched and except our own.
pub fn existing_markers(inventory: &Inventory, namespace: Option<&str>, now: jiff::Timestamp) -> Vec<ExistingMarker> {
    let markers = |source: &PodSource| {
        source.with_facts(inventory, |facts| match decide(facts, now).rule {
            DecisionRule::Safety(_) => Vec::new(),
            _ => markers_of_pod(facts, source),
        })
    };
    pod_sources_with(inventory, &RunningPods::in_namespace(inventory, namespace)).iter().flat_map(markers).collect()
}

fn markers_of_pod(facts: &Facts<'_>, source: &PodSource) -> Vec<ExistingMarker> {
    let (pod, mesh) = (facts.pod, facts.settings.mesh);
    let place = match mesh.marker_place {
        MarkerPlace::Label => "label",
        MarkerPlace::Annotation => "annotation",
    };
    let marker = pod.marker(mesh).filter(|_| !pod.marker_is_ours());
    let legacy = mesh.legacy_annotation.zip(pod.annotations.legacy.as_deref());
    let read = marker.map(|value| (place, mesh.marker_key, value, mesh.parse_marker(value)));
    // The injector, and so we, read the annotation only where there is no label.
    let hidden =
        legacy.map(|(key, value)| ("annotation", key, value, mesh.parse_marker(value).filter(|_| marker.is_none())));
    let found: Vec<_> = read.into_iter().chain(hidden).collect();
    if found.is_empty() {
        return Vec::new();
    }
    let without_it = effect_without_markers(facts);
    let markers = found.into_iter().map(|(place, key, value, asks)| ExistingMarker {
        namespace: sanitize(source.namespace()),
        kind: sanitize(source.kind()),
        name: sanitize(source.name()),
        pods: source.pods,
        place,
        key,
        value: sanitize(value),
        asks: asks.map(|on| if on { Action::Enable } else { Action::Disable }.as_str()),
        agrees: asks.and_then(|on| match without_it.outcome {
            EffectOutcome::Injected => Some(on),
            EffectOutcome::NotInjected => Some(!on),
            EffectOutcome::Unreachable | EffectOutcome::Unknown => None,
        }),
        without_it: without_it.clone(),
    });
    markers.collect()
}

/// Returns the effect of the injector where neither the pod nor any rule has a say.
fn effect_without_markers(facts: &Facts<'_>) -> EffectSummary {
    let bare = without_marks(facts.pod, facts.settings.mesh);
    let facts = Facts { pod: &bare, ..facts.clone() };
    let nothing = Decision {
        action: Action::Leave,
        rule: DecisionRule::Nothing,
        until: None,
        revision: None,
        is_final: false,
        considered: Vec::new(),
    };
    (&consequence(&facts, &nothing).effect).into()
}

fn without_marks<'p>(pod: &PodFacts<'p>, mesh: &Mesh) -> PodFacts<'p> {
    let mut bare = pod.clone();
    if mesh.marker_place == MarkerPlace::Label {
        bare.labels = bare.labels.map(|labels| labels.without(mesh.marker_key));
    }
    bare.annotations = PodAnnotations { marker: None, legacy: None, receipt: None, ..bare.annotations };
    bare
}
