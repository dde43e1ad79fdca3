//! JSON Patch that gives a pod its marks. It always applies to the pod that was sent, and is empty if nothing changes.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, RemoveOperation};
use serde_json::{Map, Value};

use crate::decision::facts::PodFacts;
use crate::decision::marks::{MarkChange, PodMarks};
use crate::decision::mesh::{MarkerPlace, Mesh};
use crate::kernel::names;

/// Returns the operations that give `pod` these marks.
pub fn marks_patch(pod: &PodFacts<'_>, mesh: &Mesh, marks: &PodMarks) -> Vec<PatchOperation> {
    let PodMarks { marker, legacy, revision, receipt } = marks;
    let mut labels = MetadataPatch::new("labels", pod.labels.is_some());
    let mut annotations = MetadataPatch::new("annotations", pod.annotations.present);
    match mesh.marker_place {
        MarkerPlace::Label => labels.add(mesh.marker_key, marker),
        MarkerPlace::Annotation => annotations.add(mesh.marker_key, marker),
    }
    if let Some(key) = mesh.revision_label {
        labels.add(key, revision);
    }
    if let Some(key) = mesh.legacy_annotation {
        annotations.add(key, legacy);
    }
    annotations.add(names::DECISION, receipt);
    labels.operations.append(&mut annotations.operations);
    labels.operations
}

/// Operations on one map (labels or annotations) of a pod's metadata.
struct MetadataPatch {
    map: &'static str,
    present: bool,
    operations: Vec<PatchOperation>,
}

impl MetadataPatch {
    fn new(map: &'static str, present: bool) -> Self {
        Self { map, present, operations: Vec::new() }
    }

    fn add(&mut self, key: &str, mark: &MarkChange) {
        match mark {
            MarkChange::Keep => {}
            MarkChange::Strip => {
                let path = PointerBuf::from_tokens(["metadata", self.map, key]);
                self.operations.push(PatchOperation::Remove(RemoveOperation { path }));
            }
            MarkChange::Set(value) if self.present => {
                let path = PointerBuf::from_tokens(["metadata", self.map, key]);
                self.operations.push(PatchOperation::Add(AddOperation { path, value: value.as_str().into() }));
            }
            // An absent map, or null, has no place to add a key to; a patch that does not apply would refuse the pod.
            MarkChange::Set(value) => {
                let path = PointerBuf::from_tokens(["metadata", self.map]);
                let value = Value::Object(Map::from_iter([(key.to_owned(), value.as_str().into())]));
                self.operations.push(PatchOperation::Add(AddOperation { path, value }));
                self.present = true;
            }
        }
    }
}
