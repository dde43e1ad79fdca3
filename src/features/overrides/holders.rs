//! Who else holds what is to be written, as the API server's managed fields tell, and how it can be written then.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::Value;

use super::edit::Edit;
use crate::features::overrides::field::Field;
use crate::kernel::text::sanitized;

/// How an object stands towards an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What others hold with another value than is wanted.
    pub held: Vec<Held>,
    /// How it is written.
    pub way: Way,
    /// What is applied then: not what stands as it is to and others hold, who could not take it away any more.
    pub applied: Vec<Field>,
}

/// A label or annotation that others hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which, with its value.
    pub field: String,
    /// By whom, as they name themselves.
    pub managers: Vec<String>,
}

/// How an edit is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Not at all: everything stands as it is to. To write it once more would only keep what its holders may take away.
    Nothing,
    /// By server-side apply.
    Apply,
    /// By a merge patch: applying leaves what others hold, or what nobody holds, and that has to go.
    Merge,
}

impl Standing {
    /// How this object stands.
    pub fn of(edit: &Edit, metadata: &ObjectMeta, object: &Value) -> Self {
        let (mut held, mut applied, mut way) = (Vec::new(), Vec::new(), Way::Nothing);
        for field in &edit.fields {
            let stands = edit.standing(object, field);
            let holders = holders(edit, metadata, field);
            let is_ours = holders.iter().any(|holder| is_applied_by(holder, edit.manager));
            let is_as_wanted = stands == field.value.as_deref();
            if field.value.is_some() && (!is_as_wanted || is_ours || holders.is_empty()) {
                applied.push(field.clone());
            }
            if is_as_wanted {
                continue;
            }
            if way == Way::Nothing {
                way = Way::Apply;
            }
            let is_other = |holder: &&&ManagedFieldsEntry| holder.manager.as_deref() != Some(edit.manager);
            let managers: Vec<String> = holders.iter().filter(is_other).map(|holder| name_of(holder)).collect();
            if let (Some(value), false) = (stands, managers.is_empty()) {
                held.push(Held { field: told(field, value), managers });
            }
            if field.value.is_none() && !(is_ours && holders.len() == 1) {
                way = Way::Merge;
            }
        }
        Self { held, way, applied }
    }
}

/// Whoever holds a field.
fn holders<'m>(edit: &Edit, metadata: &'m ObjectMeta, field: &Field) -> Vec<&'m ManagedFieldsEntry> {
    let steps = edit.path.iter().copied().chain([field.of.as_str(), field.key.as_str()]);
    let path: Vec<String> = steps.map(|step| format!("f:{step}")).collect();
    let holds = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        fields.and_then(|fields| path.iter().try_fold(fields, |fields, step| fields.get(step))).is_some()
    };
    metadata.managed_fields.iter().flatten().filter(holds).collect()
}

/// Only what was applied goes by being left out of the next application.
fn is_applied_by(entry: &ManagedFieldsEntry, manager: &str) -> bool {
    entry.manager.as_deref() == Some(manager) && entry.operation.as_deref() == Some("Apply")
}

fn name_of(entry: &ManagedFieldsEntry) -> String {
    sanitized(entry.manager.as_deref().unwrap_or("somebody without a name"))
}

fn told(Field { of, key, .. }: &Field, value: &str) -> String {
    format!("{} {key}=\"{}\"", of.word(), sanitized(value))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::FieldsV1;
    use serde_json::json;

    use super::*;
    use crate::features::overrides::edit::ObjectName;
    use crate::features::overrides::field::Map;

    const INJECT: &str = "outrigger.dev/inject";

    fn edit(value: Option<&str>) -> Edit {
        let object = ObjectName {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            plural: "deployments".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
        };
        let field = Field { of: Map::Annotation, key: INJECT.to_owned(), value: value.map(str::to_owned) };
        Edit { object, manager: "ours", path: &["metadata"], fields: vec![field], seen: Vec::new() }
    }

    /// How an object with this value stands, which these hold, each by an operation.
    fn standing(wanted: Option<&str>, stands: Option<&str>, holders: &[(&str, &str)]) -> (Vec<String>, Way) {
        let fields = json!({"f:metadata": {"f:annotations": {format!("f:{INJECT}"): {}}}});
        let entry = |(manager, operation): &(&str, &str)| ManagedFieldsEntry {
            manager: Some((*manager).to_owned()),
            operation: Some((*operation).to_owned()),
            fields_v1: Some(FieldsV1(fields.clone())),
            ..ManagedFieldsEntry::default()
        };
        let managed_fields = Some(holders.iter().map(entry).collect());
        let metadata = ObjectMeta { managed_fields, ..ObjectMeta::default() };
        let annotations = stands.map(|value| json!({INJECT: value}));
        let Standing { held, way, applied: _ } =
            Standing::of(&edit(wanted), &metadata, &json!({"metadata": {"annotations": annotations}}));
        (held.into_iter().flat_map(|held| held.managers).collect(), way)
    }

    #[test]
    fn what_others_hold_is_found_and_what_applying_leaves_is_taken_by_a_patch() {
        let ours = ("ours", "Apply");
        for (wanted, stands, holders, held, way) in [
            (Some("true"), None, &[][..], &[][..], Way::Apply),
            (Some("true"), Some("false"), &[ours], &[], Way::Apply),
            (Some("true"), Some("false"), &[("kubectl-annotate", "Update")], &["kubectl-annotate"], Way::Apply),
            (Some("true"), Some("true"), &[("argocd", "Apply")], &[], Way::Nothing),
            (Some("true"), Some("true"), &[ours], &[], Way::Nothing),
            (Some("true"), Some("false"), &[("ours", "Update")], &[], Way::Apply),
            (None, None, &[], &[], Way::Nothing),
            (None, Some("true"), &[ours], &[], Way::Apply),
            (None, Some("true"), &[ours, ("argocd", "Apply")], &["argocd"], Way::Merge),
            (None, Some("true"), &[("ours", "Update")], &[], Way::Merge),
            (None, Some("true"), &[], &[], Way::Merge),
        ] {
            let found = standing(wanted, stands, holders);
            let expected = (held.iter().map(|name| (*name).to_owned()).collect(), way);
            assert_eq!(found, expected, "{wanted:?} where {stands:?} is held by {holders:?}");
        }
    }

    #[test]
    fn what_others_hold_as_it_is_wanted_stays_theirs_when_something_else_is_written() {
        let reason = Field { of: Map::Annotation, key: "outrigger.dev/reason".to_owned(), value: Some("x".to_owned()) };
        let edit = Edit { fields: vec![edit(Some("true")).fields.remove(0), reason], ..edit(None) };
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
            let standing = Standing::of(&edit, &ObjectMeta { managed_fields, ..ObjectMeta::default() }, &object);
            assert_eq!((standing.held.len(), standing.way), (0, Way::Apply));
            standing.applied.into_iter().map(|field| field.key).collect::<Vec<_>>()
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
