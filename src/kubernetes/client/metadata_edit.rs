//! Edit of one object's labels or annotations, and the patch documents that write it.

pub mod field;
pub mod field_ownership;

use serde_json::{Map as Object, Value, json};

use crate::kernel::text::CleanText;
use field::MetadataField;

/// Edit of one object's labels or annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataEdit {
    pub target: EditTarget,
    /// Field manager that owns the fields. Each mechanism has its own, so that an apply for one leaves the others as they are.
    pub field_manager: &'static str,
    /// Path from the object's root to the metadata that holds the fields.
    pub metadata_path: &'static [&'static str],
    pub fields: Vec<MetadataField>,
    /// Fields that the plan relied on. The edit fails if their values have changed since.
    pub expected: Vec<MetadataField>,
}

/// Object to edit, with all that its URL needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditTarget {
    /// API group; empty for the core group.
    pub group: String,
    pub version: String,
    /// Resource name in URLs, such as `deployments`.
    pub plural: String,
    pub kind: String,
    /// Namespace of the object; none for a namespace.
    pub namespace: Option<String>,
    pub name: String,
}

impl MetadataEdit {
    /// Returns the apply configuration of these fields, bound to this UID and resource version.
    pub fn apply_configuration(&self, fields: &[MetadataField], uid: &str, version: &str) -> Value {
        self.patch_document(uid, version, fields.iter())
    }

    /// Returns the merge patch of all fields, bound to this UID and resource version. The owners of the fields do not matter.
    pub fn merge_patch(&self, uid: &str, version: &str) -> Value {
        self.patch_document(uid, version, self.fields.iter())
    }

    /// Returns the value that an object has for a field now.
    pub fn current_value<'o>(&self, object: &'o Value, field: &MetadataField) -> Option<&'o str> {
        let metadata = self.metadata_path.iter().try_fold(object, |object, step| object.get(*step))?;
        metadata.get(field.map.metadata_key())?.get(&field.key)?.as_str()
    }

    /// Describes the first relied-on field that has changed since planning. A change to the requested value is accepted.
    pub fn unexpected_change(&self, object: &Value) -> Option<String> {
        let describe = |field: &MetadataField, value: Option<&str>| match value {
            Some(value) => format!("{} {}=\"{}\"", field.map.noun(), field.key, CleanText(value)),
            None => format!("no {} {}", field.map.noun(), field.key),
        };
        self.expected.iter().find_map(|expected| {
            let current = self.current_value(object, expected);
            let is_requested = |field: &MetadataField| field.key == expected.key && field.value.as_deref() == current;
            let has_changed = current != expected.value.as_deref() && !self.fields.iter().any(is_requested);
            has_changed.then(|| {
                format!(
                    "there is {} now, and was {}",
                    describe(expected, current),
                    describe(expected, expected.value.as_deref())
                )
            })
        })
    }

    fn patch_document<'f>(&self, uid: &str, version: &str, fields: impl Iterator<Item = &'f MetadataField>) -> Value {
        let EditTarget { group, version: api_version, kind, namespace, name, .. } = &self.target;
        let api_version = if group.is_empty() { api_version.clone() } else { format!("{group}/{api_version}") };
        let metadata = json!({"name": name, "uid": uid, "resourceVersion": version});
        let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
        if let Some(namespace) = namespace {
            object["metadata"]["namespace"] = json!(namespace);
        }
        for MetadataField { map, key, value } in fields {
            let steps = self.metadata_path.iter().copied().chain([map.metadata_key()]);
            let place = steps.fold(&mut object, |object, step| {
                let within = object.as_object_mut().expect("every step is an object");
                within.entry(step).or_insert_with(|| Value::Object(Object::new()))
            });
            place[key.as_str()] = json!(value);
        }
        object
    }
}

impl EditTarget {
    /// Returns the resource as RBAC names it, such as `deployments.apps`.
    pub fn resource_name(&self) -> String {
        let Self { group, plural, .. } = self;
        if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") }
    }
}
