//! Plan of an edit: the labels or annotations that a request sets or removes on its subject.

use jiff::Timestamp;

use super::namespace_labels::{current_labels, label_fields};
use super::request::{OverrideAction, OverrideMechanism, OverrideRefusal, OverrideRequest, refuse};
use super::subject::OverrideSubject;
use crate::decision::facts::Owner;
use crate::decision::mesh;
use crate::decision::mesh::Mesh;
use crate::kernel::names;
use crate::kernel::text::CleanText;
use crate::kubernetes::client::metadata_edit::field::{MetadataField, MetadataMap};
use crate::kubernetes::client::metadata_edit::{EditTarget, MetadataEdit};
use crate::kubernetes::inventory::Inventory;

const OBJECT_METADATA: &[&str] = &["metadata"];
const POD_TEMPLATE_METADATA: &[&str] = &["spec", "template", "metadata"];
const JOB_TEMPLATE_METADATA: &[&str] = &["spec", "jobTemplate", "spec", "template", "metadata"];

/// Plans the edit of one subject for a request.
///
/// # Errors
///
/// Fails if the mechanism does not exist on such an object, or if the edit would silently defeat another label.
pub(super) fn plan_edit(
    request: &OverrideRequest,
    subject: &OverrideSubject,
    inventory: &Inventory,
) -> Result<MetadataEdit, OverrideRefusal> {
    let target = edit_target(subject, inventory)?;
    let mesh = inventory.settings.mesh;
    let mut expected = Vec::new();
    let (field_manager, metadata_path, fields) = match (&request.mechanism, subject) {
        (OverrideMechanism::Annotations, _) => ("outrigger-override", OBJECT_METADATA, override_annotations(request)),
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
            return refuse(format!("{} is not a namespace: --label needs one", subject.describe()));
        }
    };
    Ok(MetadataEdit { target, field_manager, metadata_path, fields, expected })
}

fn edit_target(subject: &OverrideSubject, inventory: &Inventory) -> Result<EditTarget, OverrideRefusal> {
    match subject {
        OverrideSubject::Namespace(namespace) => Ok(EditTarget {
            group: String::new(),
            version: "v1".to_owned(),
            plural: "namespaces".to_owned(),
            kind: "Namespace".to_owned(),
            namespace: None,
            name: namespace.name.to_string(),
        }),
        OverrideSubject::Workload(owner) => {
            let Some(kind) = inventory.owner_kinds.find(&owner.group, &owner.kind) else {
                return refuse(format!("{} is of an unknown kind", subject.describe()));
            };
            Ok(EditTarget {
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
        _ if &*owner.kind == "Job" && &*owner.group == "batch" => {
            refuse(format!("{} has a pod template that cannot be changed; leave --template out", named()))
        }
        _ if let Some(from) = &owner.template_source => refuse(format!(
            "{} uses the pod template of {}/{}; name that one, or leave --template out",
            named(),
            CleanText(&from.kind.to_lowercase()),
            CleanText(&from.name)
        )),
        None => refuse(format!("{} has no known pod template", named())),
        Some(template) if template.job_override.is_some() => Ok(JOB_TEMPLATE_METADATA),
        Some(_) => Ok(POD_TEMPLATE_METADATA),
    }
}
