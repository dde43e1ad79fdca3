//! What is written on an object: which labels and annotations get which values, and which go.

use crate::features::overrides::field::{Field, Map};

use jiff::Timestamp;
use serde_json::{Map as Object, Value, json};

use super::change::{Asked, Change, Place, Refusal, refuse};
use super::labels::{label_fields, labels_of};
use super::subject::Subject;
use crate::decision::facts::Owner;
use crate::decision::mesh;
use crate::decision::mesh::Mesh;
use crate::kernel::names;
use crate::kernel::text::Clean;
use crate::kubernetes::inventory::Inventory;

/// A change of one object's labels and annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The object.
    pub object: ObjectName,
    /// Under which name the fields are owned. Each place has its own, so that applying one leaves the others as they are.
    pub manager: &'static str,
    /// Where in the object the metadata is that holds them.
    pub path: &'static [&'static str],
    /// The labels and annotations.
    pub fields: Vec<Field>,
    /// What stood there when this was found to make sense, and has to stand there still.
    pub seen: Vec<Field>,
}

/// Names an object, and how it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The resource's name in URLs.
    pub plural: String,
    /// The kind.
    pub kind: String,
    /// Its namespace, unless it is one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

const OWN: &[&str] = &["metadata"];
const TEMPLATE: &[&str] = &["spec", "template", "metadata"];
const JOB_TEMPLATE: &[&str] = &["spec", "jobTemplate", "spec", "template", "metadata"];

impl Edit {
    /// What is to be written for a change.
    ///
    /// # Errors
    ///
    /// When this cannot be written on such an object, or would silently undo something else.
    pub fn of(asked: &Asked, subject: &Subject, inventory: &Inventory) -> Result<Self, Refusal> {
        let object = ObjectName::of(subject, inventory)?;
        let mesh = inventory.settings.mesh;
        let mut seen = Vec::new();
        let (manager, path, fields) = match (&asked.place, subject) {
            (Place::Annotations, _) => ("outrigger-override", OWN, own_annotations(asked)),
            (Place::PodTemplate, Subject::Workload(owner)) => {
                ("outrigger-template", template_path(owner)?, marker(asked.change, mesh))
            }
            (Place::PodTemplate, Subject::Namespace(_)) => {
                return refuse(format!("{} has no pod template", subject.named()));
            }
            (Place::NamespaceLabel(choice), Subject::Namespace(namespace)) => {
                seen = labels_of(namespace);
                ("outrigger-label", OWN, label_fields(asked.change, choice, namespace, mesh)?)
            }
            (Place::NamespaceLabel(_), Subject::Workload(_)) => {
                return refuse(format!("{} is no namespace, whose labels Istio reads", subject.named()));
            }
        };
        Ok(Self { object, manager, path, fields, seen })
    }

    /// The configuration of these fields to apply to the object of this UID in this state.
    pub fn applied(&self, fields: &[Field], uid: &str, version: &str) -> Value {
        self.written(uid, version, fields.iter())
    }

    /// The merge patch that does the same whoever owns what, to the object of this UID in this state.
    pub fn merged(&self, uid: &str, version: &str) -> Value {
        self.written(uid, version, self.fields.iter())
    }

    /// What stands in an object in the place of a field.
    pub fn standing<'o>(&self, object: &'o Value, field: &Field) -> Option<&'o str> {
        let metadata = self.path.iter().try_fold(object, |object, step| object.get(*step))?;
        metadata.get(field.of.as_str())?.get(&field.key)?.as_str()
    }

    /// What has changed in an object since it was looked at, and not to what is wanted anyway; in a sentence.
    pub fn departure(&self, object: &Value) -> Option<String> {
        let told = |field: &Field, value: Option<&str>| match value {
            Some(value) => format!("{} {}=\"{}\"", field.of.word(), field.key, Clean(value)),
            None => format!("no {} {}", field.of.word(), field.key),
        };
        self.seen.iter().find_map(|seen| {
            let stands = self.standing(object, seen);
            let is_wanted = |field: &Field| field.key == seen.key && field.value.as_deref() == stands;
            let departs = stands != seen.value.as_deref() && !self.fields.iter().any(is_wanted);
            departs
                .then(|| format!("there is {} now, and was {}", told(seen, stands), told(seen, seen.value.as_deref())))
        })
    }

    fn written<'f>(&self, uid: &str, version: &str, fields: impl Iterator<Item = &'f Field>) -> Value {
        let ObjectName { group, version: of_kind, kind, namespace, name, .. } = &self.object;
        let api_version = if group.is_empty() { of_kind.clone() } else { format!("{group}/{of_kind}") };
        let metadata = json!({"name": name, "uid": uid, "resourceVersion": version});
        let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
        if let Some(namespace) = namespace {
            object["metadata"]["namespace"] = json!(namespace);
        }
        for Field { of, key, value } in fields {
            let steps = self.path.iter().copied().chain([of.as_str()]);
            let place = steps.fold(&mut object, |object, step| {
                let within = object.as_object_mut().expect("every step is an object");
                within.entry(step).or_insert_with(|| Value::Object(Object::new()))
            });
            place[key.as_str()] = json!(value);
        }
        object
    }
}

impl ObjectName {
    fn of(subject: &Subject, inventory: &Inventory) -> Result<Self, Refusal> {
        match subject {
            Subject::Namespace(namespace) => Ok(Self {
                group: String::new(),
                version: "v1".to_owned(),
                plural: "namespaces".to_owned(),
                kind: "Namespace".to_owned(),
                namespace: None,
                name: namespace.name.to_string(),
            }),
            Subject::Workload(owner) => {
                let Some(kind) = inventory.owner_kinds.named(&owner.group, &owner.kind) else {
                    return refuse(format!("{} is of a kind that is not read here", subject.named()));
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

    /// How rights name it, such as `deployments.apps`.
    pub fn resource(&self) -> String {
        let Self { group, plural, .. } = self;
        if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") }
    }
}

/// Our three annotations: what is not asked for goes, since a reason or an end of an earlier override is none of this one.
fn own_annotations(Asked { change, reason, until, .. }: &Asked) -> Vec<Field> {
    let field = |key: &str, value| Field { of: Map::Annotation, key: key.to_owned(), value };
    let until = until.map(|until: Timestamp| until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    vec![
        field(names::INJECT, change.asks().map(|on| on.to_string())),
        field(names::REASON, reason.clone()),
        field(names::UNTIL, until),
    ]
}

/// The mesh's marker, and none of the annotation that contradicts it.
fn marker(change: Change, mesh: &Mesh) -> Vec<Field> {
    let values = |on: bool| if on { mesh.on } else { mesh.off };
    let value = change.asks().and_then(|on| values(on).first()).map(|value| (*value).to_owned());
    let of = match mesh.marker_place {
        mesh::Place::Label => Map::Label,
        mesh::Place::Annotation => Map::Annotation,
    };
    let marker = Field { of, key: mesh.marker_key.to_owned(), value };
    let legacy = mesh.legacy_annotation.map(|key| Field { of: Map::Annotation, key: key.to_owned(), value: None });
    [marker].into_iter().chain(legacy).collect()
}

/// Where a workload keeps the metadata of its pods.
fn template_path(owner: &Owner) -> Result<&'static [&'static str], Refusal> {
    let named = || Subject::Workload(owner.clone().into()).named();
    match &owner.template {
        _ if &*owner.kind == "Job" && &*owner.group == "batch" => refuse(format!(
            "{} has a pod template that nobody can change; an override on the Job itself can be",
            named()
        )),
        _ if let Some(from) = &owner.template_from => refuse(format!(
            "{} has no pod template of its own, but that of {}/{}; name that, or leave --template out",
            named(),
            Clean(&from.kind.to_lowercase()),
            Clean(&from.name)
        )),
        None => refuse(format!("{} has no pod template that is known here", named())),
        Some(template) if template.job.is_some() => Ok(JOB_TEMPLATE),
        Some(_) => Ok(TEMPLATE),
    }
}
