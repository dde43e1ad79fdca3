//! Ownership of the fields that an edit writes, read from the API server's managed fields, and the write strategy it allows.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::Value;

use super::MetadataEdit;
use super::field::MetadataField;
use crate::kernel::text::sanitize;

/// Plan to write an edit on an object in its present state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritePlan {
    /// Fields that others hold with another value.
    pub conflicts: Vec<FieldConflict>,
    pub strategy: WriteStrategy,
    /// Fields to apply. Fields that others hold with the requested value are left out: applied, they would outlive a removal by
    /// their holders.
    pub applied_fields: Vec<MetadataField>,
}

/// Label or annotation that others hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldConflict {
    /// Field and its value, such as `annotation key="value"`.
    pub field: String,
    /// Field managers that hold it.
    pub managers: Vec<String>,
}

/// Kind of write that an edit needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteStrategy {
    /// No write: all fields have their values. Another write would only keep them when their holders remove them.
    Skip,
    /// Server-side apply.
    Apply,
    /// Merge patch: a field must go that others hold, or nobody, and an apply would leave it.
    Merge,
}

impl WritePlan {
    /// Plans the write of an edit on an object.
    pub fn new(edit: &MetadataEdit, metadata: &ObjectMeta, object: &Value) -> Self {
        let (mut conflicts, mut applied_fields, mut strategy) = (Vec::new(), Vec::new(), WriteStrategy::Skip);
        for field in &edit.fields {
            let current = edit.current_value(object, field);
            let holders = field_holders(edit, metadata, field);
            let is_ours = holders.iter().any(|holder| is_applied_by(holder, edit.field_manager));
            let is_fulfilled = current == field.value.as_deref();
            if field.value.is_some() && (!is_fulfilled || is_ours || holders.is_empty()) {
                applied_fields.push(field.clone());
            }
            if is_fulfilled {
                continue;
            }
            if strategy == WriteStrategy::Skip {
                strategy = WriteStrategy::Apply;
            }
            let is_other = |holder: &&&ManagedFieldsEntry| holder.manager.as_deref() != Some(edit.field_manager);
            let managers: Vec<String> = holders.iter().filter(is_other).map(|holder| manager_name(holder)).collect();
            if let (Some(value), false) = (current, managers.is_empty()) {
                conflicts.push(FieldConflict { field: describe_field(field, value), managers });
            }
            if field.value.is_none() && !(is_ours && holders.len() == 1) {
                strategy = WriteStrategy::Merge;
            }
        }
        Self { conflicts, strategy, applied_fields }
    }
}

/// Returns the managers that hold a field.
fn field_holders<'m>(
    edit: &MetadataEdit,
    metadata: &'m ObjectMeta,
    field: &MetadataField,
) -> Vec<&'m ManagedFieldsEntry> {
    let steps = edit.metadata_path.iter().copied().chain([field.map.metadata_key(), field.key.as_str()]);
    let path: Vec<String> = steps.map(|step| format!("f:{step}")).collect();
    let holds = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        fields.and_then(|fields| path.iter().try_fold(fields, |fields, step| fields.get(step))).is_some()
    };
    metadata.managed_fields.iter().flatten().filter(holds).collect()
}

/// Whether the manager holds the field by apply. Only such a field goes when the next apply leaves it out.
fn is_applied_by(entry: &ManagedFieldsEntry, manager: &str) -> bool {
    entry.manager.as_deref() == Some(manager) && entry.operation.as_deref() == Some("Apply")
}

fn manager_name(entry: &ManagedFieldsEntry) -> String {
    sanitize(entry.manager.as_deref().unwrap_or("somebody without a name"))
}

fn describe_field(MetadataField { map, key, .. }: &MetadataField, value: &str) -> String {
    format!("{} {key}=\"{}\"", map.noun(), sanitize(value))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::FieldsV1;
    use serde_json::json;

    use super::*;
    use crate::kubernetes::client::metadata_edit::EditTarget;
    use crate::kubernetes::client::metadata_edit::field::MetadataMap;

    const INJECT: &str = "outrigger.dev/inject";

    fn edit(value: Option<&str>) -> MetadataEdit {
        let object = EditTarget {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            plural: "deployments".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
        };
        let field =
            MetadataField { map: MetadataMap::Annotation, key: INJECT.to_owned(), value: value.map(str::to_owned) };
        MetadataEdit {
            target: object,
            field_manager: "ours",
            metadata_path: &["metadata"],
            fields: vec![field],
            expected: Vec::new(),
        }
    }

    /// Plans an edit of an object with this value, held by these managers and operations.
    fn plan_write(
        requested: Option<&str>,
        current: Option<&str>,
        holders: &[(&str, &str)],
    ) -> (Vec<String>, WriteStrategy) {
        let fields = json!({"f:metadata": {"f:annotations": {format!("f:{INJECT}"): {}}}});
        let entry = |(manager, operation): &(&str, &str)| ManagedFieldsEntry {
            manager: Some((*manager).to_owned()),
            operation: Some((*operation).to_owned()),
            fields_v1: Some(FieldsV1(fields.clone())),
            ..ManagedFieldsEntry::default()
        };
        let managed_fields = Some(holders.iter().map(entry).collect());
        let metadata = ObjectMeta { managed_fields, ..ObjectMeta::default() };
        let annotations = current.map(|value| json!({INJECT: value}));
        let WritePlan { conflicts: held, strategy: way, applied_fields: _ } =
            WritePlan::new(&edit(requested), &metadata, &json!({"metadata": {"annotations": annotations}}));
        (held.into_iter().flat_map(|held| held.managers).collect(), way)
    }

    #[test]
    fn what_others_hold_is_found_and_what_applying_leaves_is_taken_by_a_patch() {
        let ours = ("ours", "Apply");
        for (requested, current, holders, expected_holders, expected_strategy) in [
            (Some("true"), None, &[][..], &[][..], WriteStrategy::Apply),
            (Some("true"), Some("false"), &[ours], &[], WriteStrategy::Apply),
            (
                Some("true"),
                Some("false"),
                &[("kubectl-annotate", "Update")],
                &["kubectl-annotate"],
                WriteStrategy::Apply,
            ),
            (Some("true"), Some("true"), &[("argocd", "Apply")], &[], WriteStrategy::Skip),
            (Some("true"), Some("true"), &[ours], &[], WriteStrategy::Skip),
            (Some("true"), Some("false"), &[("ours", "Update")], &[], WriteStrategy::Apply),
            (None, None, &[], &[], WriteStrategy::Skip),
            (None, Some("true"), &[ours], &[], WriteStrategy::Apply),
            (None, Some("true"), &[ours, ("argocd", "Apply")], &["argocd"], WriteStrategy::Merge),
            (None, Some("true"), &[("ours", "Update")], &[], WriteStrategy::Merge),
            (None, Some("true"), &[], &[], WriteStrategy::Merge),
        ] {
            let found = plan_write(requested, current, holders);
            let expected = (expected_holders.iter().map(|name| (*name).to_owned()).collect(), expected_strategy);
            assert_eq!(found, expected, "{requested:?} where {current:?} is held by {holders:?}");
        }
    }

    #[test]
    fn what_others_hold_as_it_is_wanted_stays_theirs_when_something_else_is_written() {
        let reason = MetadataField {
            map: MetadataMap::Annotation,
            key: "outrigger.dev/reason".to_owned(),
            value: Some("x".to_owned()),
        };
        let edit = MetadataEdit { fields: vec![edit(Some("true")).fields.remove(0), reason], ..edit(None) };
        let object = json!({"metadata": {"annotations": {INJECT: "true"}}});
        let applied = |holders: &[&str]| {
            let fields = json!({"f:metadata": {"f:annotations": {format!("f:{INJECT}"): {}}}});
            let entry = |manager: &&str| ManagedFieldsEntry {
                manager: Some((*manager).to_owned()),
                operation: Some("Apply".to_owned()),
                fields_v1: Some(FieldsV1(fields.clone())),
                ..ManagedFieldsEntry::default()
            };
            let managed_fields = Some(holders.iter().map(entry).collect());
            let plan = WritePlan::new(&edit, &ObjectMeta { managed_fields, ..ObjectMeta::default() }, &object);
            assert_eq!((plan.conflicts.len(), plan.strategy), (0, WriteStrategy::Apply));
            plan.applied_fields.into_iter().map(|field| field.key).collect::<Vec<_>>()
        };
        let (both, reason) = (vec![INJECT, "outrigger.dev/reason"], vec!["outrigger.dev/reason"]);
        assert_eq!(applied(&["argocd"]), reason);
        // Left out it would go, or what is ours would become theirs alone.
        assert_eq!(
            [applied(&["ours"]), applied(&["ours", "argocd"]), applied(&[])],
            [both.clone(), both.clone(), both]
        );
    }
}
