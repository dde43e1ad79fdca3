//! Metadata of objects: the override, the times of its parts, and a namespace as a whole.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::decision::facts::NamespaceFacts;
use crate::decision::mesh::{MarkerPlace, Mesh};
use crate::decision::overrides::{Override, OverrideEnd};
use crate::kernel::names;

pub fn read_override(metadata: &ObjectMeta) -> Override<'static> {
    let text =
        |key| metadata.annotations.as_ref().and_then(|annotations| annotations.get(key)).cloned().map(Cow::Owned);
    let inject = text(names::INJECT);
    let since = inject.as_ref().and_then(|_| override_written_at(metadata, &["f:metadata"]));
    Override { inject, reason: text(names::REASON), until: text(names::UNTIL).map(OverrideEnd::parse), since }
}

/// Returns the time of the last write of the override below this path, as far as the API server's managed fields record
/// it.
pub(super) fn override_written_at(metadata: &ObjectMeta, path: &[&str]) -> Option<jiff::Timestamp> {
    let key = format!("f:{}", names::INJECT);
    let path: Vec<&str> = path.iter().copied().chain(["f:annotations", &key]).collect();
    written_at(metadata, &path)
}

/// Path of an object's labels in its managed fields.
pub(super) const LABELS_PATH: [&str; 2] = ["f:metadata", "f:labels"];

/// Returns the time of the last write at this path of an object, as far as the API server's managed fields record it.
pub(super) fn written_at(metadata: &ObjectMeta, path: &[&str]) -> Option<jiff::Timestamp> {
    let owns = |fields: &serde_json::Value| path.iter().try_fold(fields, |fields, step| fields.get(*step)).is_some();
    let managed = metadata.managed_fields.iter().flatten();
    let of_key = managed.filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| owns(&fields.0)));
    of_key.filter_map(|entry| entry.time.as_ref()).map(|time| time.0).max()
}

pub fn namespace_of(metadata: &ObjectMeta, mesh: &Mesh) -> NamespaceFacts {
    let name = metadata.name.as_deref().unwrap_or_default();
    let mut labels = metadata.labels.clone().unwrap_or_default();
    // The API server always sets this label; a file may lack it.
    labels.entry("kubernetes.io/metadata.name".to_owned()).or_insert_with(|| name.to_owned());
    let annotations = metadata.annotations.as_ref().filter(|_| mesh.marker_place == MarkerPlace::Annotation);
    NamespaceFacts {
        name: name.into(),
        labels: labels.into_iter().collect(),
        own_override: read_override(metadata),
        marker: annotations.and_then(|annotations| annotations.get(mesh.marker_key)).map(|value| value.as_str().into()),
        labelled_at: written_at(metadata, &LABELS_PATH),
    }
}
