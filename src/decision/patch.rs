//! The JSON Patch that gives a pod its marks: it always applies to the pod that was sent, and is empty when nothing changes.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, RemoveOperation};
use serde_json::{Map, Value};

use crate::decision::facts::Pod;
use crate::decision::marks::{Mark, Marks};
use crate::decision::mesh::{Mesh, Place};
use crate::kernel::names;

/// The operations for these marks on this pod.
pub fn patch(pod: &Pod<'_>, mesh: &Mesh, marks: &Marks) -> Vec<PatchOperation> {
    let Marks { marker, legacy, revision, receipt } = marks;
    let mut labels = Writing::new("labels", pod.labels.is_some());
    let mut annotations = Writing::new("annotations", pod.annotations.present);
    match mesh.marker_place {
        Place::Label => labels.mark(mesh.marker_key, marker),
        Place::Annotation => annotations.mark(mesh.marker_key, marker),
    }
    if let Some(key) = mesh.revision_label {
        labels.mark(key, revision);
    }
    if let Some(key) = mesh.legacy_annotation {
        annotations.mark(key, legacy);
    }
    annotations.mark(names::DECISION, receipt);
    labels.operations.append(&mut annotations.operations);
    labels.operations
}

/// Operations on one map of a pod's metadata.
struct Writing {
    map: &'static str,
    present: bool,
    operations: Vec<PatchOperation>,
}

impl Writing {
    fn new(map: &'static str, present: bool) -> Self {
        Self { map, present, operations: Vec::new() }
    }

    fn mark(&mut self, key: &str, mark: &Mark) {
        match mark {
            Mark::Keep => {}
            Mark::Strip => {
                let path = PointerBuf::from_tokens(["metadata", self.map, key]);
                self.operations.push(PatchOperation::Remove(RemoveOperation { path }));
            }
            Mark::Set(value) if self.present => {
                let path = PointerBuf::from_tokens(["metadata", self.map, key]);
                self.operations.push(PatchOperation::Add(AddOperation { path, value: value.as_str().into() }));
            }
            // An absent map, or null, has no place to add a key to; a patch that does not apply would refuse the pod.
            Mark::Set(value) => {
                let path = PointerBuf::from_tokens(["metadata", self.map]);
                let value = Value::Object(Map::from_iter([(key.to_owned(), value.as_str().into())]));
                self.operations.push(PatchOperation::Add(AddOperation { path, value }));
                self.present = true;
            }
        }
    }
}
