//! Edits of an object's metadata: labels and annotations to set or remove, and the patches that do it.

use crate::features::overrides::field::{MetadataField, MetadataMap};

use jiff::Timestamp;
use serde_json::{Map as Object, Value, json};

use super::namespace_labels::{current_labels, label_fields};
use super::request::{OverrideAction, OverrideMechanism, OverrideRefusal, OverrideRequest, refuse};
use super::subject::OverrideSubject;
use crate::decision::facts::Owner;
use crate::decision::mesh;
use crate::decision::mesh::Mesh;
use crate::kernel::names;
use crate::kernel::text::CleanText;
use crate::kubernetes::inventory::Inventory;

/// Edit of one object's labels or annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataEdit {
    /// Object to edit.
    pub target: EditTarget,
    /// Field manager that owns the fields. Each mechanism has its own, so that an apply for one leaves the others as they are.
    pub field_manager: &'static str,
    /// Path from the object's root to the metadata that holds the fields.
    pub metadata_path: &'static [&'static str],
    /// Labels and annotations to set or remove.
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

const OBJECT_METADATA: &[&str] = &["metadata"];
const POD_TEMPLATE_METADATA: &[&str] = &["spec", "template", "metadata"];
const JOB_TEMPLATE_METADATA: &[&str] = &["spec", "jobTemplate", "spec", "template", "metadata"];

impl MetadataEdit {
    /// Plans the edit of one subject for a request.
    ///
    /// # Errors
    ///
    /// Fails if the mechanism does not exist on such an object, or if the edit would silently defeat another label.
    pub fn from_request(
        request: &OverrideRequest,
        subject: &OverrideSubject,
        inventory: &Inventory,
    ) -> Result<Self, OverrideRefusal> {
        let target = EditTarget::from_subject(subject, inventory)?;
        let mesh = inventory.settings.mesh;
        let mut expected = Vec::new();
        let (field_manager, metadata_path, fields) = match (&request.mechanism, subject) {
            (OverrideMechanism::Annotations, _) => {
                ("outrigger-override", OBJECT_METADATA, override_annotations(request))
            }
            (OverrideMechanism::PodTemplate, OverrideSubject::Workload(owner)) => {
                ("outrigger-template", pod_template_path(owner)?, marker_fields(request.action, mesh))
            }
            (OverrideMechanism::PodTemplate, OverrideSubject::Namespace(_)) => {
                return refuse(format!("{} has no pod template", subject.describe()));
            }
            (OverrideMechanism::NamespaceLabel(choice), OverrideSubject::Namespace(namespace)) => {
                expected = current_labels(namespace);
                ("outrigger-label", OBJECT_METADATA, label_fields(request.action, choice, namespace, mesh)?)
            }
            (OverrideMechanism::NamespaceLabel(_), OverrideSubject::Workload(_)) => {
                return refuse(format!("{} is no namespace, whose labels Istio reads", subject.describe()));
            }
        };
        Ok(Self { target, field_manager, metadata_path, fields, expected })
    }

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
    fn from_subject(subject: &OverrideSubject, inventory: &Inventory) -> Result<Self, OverrideRefusal> {
        match subject {
            OverrideSubject::Namespace(namespace) => Ok(Self {
                group: String::new(),
                version: "v1".to_owned(),
                plural: "namespaces".to_owned(),
                kind: "Namespace".to_owned(),
                namespace: None,
                name: namespace.name.to_string(),
            }),
            OverrideSubject::Workload(owner) => {
                let Some(kind) = inventory.owner_kinds.find(&owner.group, &owner.kind) else {
                    return refuse(format!("{} is of a kind that is not read here", subject.describe()));
                };
                Ok(Self {
                    group: kind.group.clone(),
                    version: kind.version.clone(),
                    plural: kind.plural.clone(),
                    kind: kind.kind.clone(),
                    namespace: Some(owner.namespace.to_string()),
                    name: owner.name.to_string(),
                })
            }
        }
    }

    /// Returns the resource as RBAC names it, such as `deployments.apps`.
    pub fn resource_name(&self) -> String {
        let Self { group, plural, .. } = self;
        if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") }
    }
}

/// Returns our three annotations. Those without a value are removed: a reason or an end of an earlier override does not hold
/// for this one.
fn override_annotations(OverrideRequest { action: change, reason, until, .. }: &OverrideRequest) -> Vec<MetadataField> {
    let field = |key: &str, value| MetadataField { map: MetadataMap::Annotation, key: key.to_owned(), value };
    let until = until.map(|until: Timestamp| until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    vec![
        field(names::INJECT, change.injects().map(|on| on.to_string())),
        field(names::REASON, reason.clone()),
        field(names::UNTIL, until),
    ]
}

/// Sets the mesh's marker, and removes the legacy annotation, which could contradict it.
fn marker_fields(change: OverrideAction, mesh: &Mesh) -> Vec<MetadataField> {
    let values = |on: bool| if on { mesh.on } else { mesh.off };
    let value = change.injects().and_then(|on| values(on).first()).map(|value| (*value).to_owned());
    let of = match mesh.marker_place {
        mesh::MarkerPlace::Label => MetadataMap::Label,
        mesh::MarkerPlace::Annotation => MetadataMap::Annotation,
    };
    let marker = MetadataField { map: of, key: mesh.marker_key.to_owned(), value };
    let legacy = mesh.legacy_annotation.map(|key| MetadataField {
        map: MetadataMap::Annotation,
        key: key.to_owned(),
        value: None,
    });
    [marker].into_iter().chain(legacy).collect()
}

/// Returns the path to the metadata of a workload's pod template.
fn pod_template_path(owner: &Owner) -> Result<&'static [&'static str], OverrideRefusal> {
    let named = || OverrideSubject::Workload(owner.clone().into()).describe();
    match &owner.template {
        _ if &*owner.kind == "Job" && &*owner.group == "batch" => refuse(format!(
            "{} has a pod template that nobody can change; an override on the Job itself can be",
            named()
        )),
        _ if let Some(from) = &owner.template_source => refuse(format!(
            "{} has no pod template of its own, but that of {}/{}; name that, or leave --template out",
            named(),
            CleanText(&from.kind.to_lowercase()),
            CleanText(&from.name)
        )),
        None => refuse(format!("{} has no pod template that is known here", named())),
        Some(template) if template.job_override.is_some() => Ok(JOB_TEMPLATE_METADATA),
        Some(_) => Ok(POD_TEMPLATE_METADATA),
    }
}
