//! Edits of the two namespace labels that Istio reads. Neither defeats the other unnoticed.
//!
//! `istio-injection` has precedence: with either value of it, Istio ignores `istio.io/rev`. So one request is refused: to enable by
//! one label while the other is set.

use super::request::{NamespaceLabelChoice, OverrideAction, OverrideRefusal, refuse};
use crate::decision::facts::NamespaceFacts;
use crate::decision::mesh::{InjectorKind, Mesh};
use crate::kernel::names::{INJECTION_LABEL, REVISION_LABEL};
use crate::kernel::text::CleanText;
use crate::kubernetes::client::metadata_edit::field::{MetadataField, MetadataMap};

/// Returns the edit of the two labels.
///
/// # Errors
///
/// Fails if the mesh is not Istio, the revision differs, or the other label would defeat the new one.
pub(super) fn label_fields(
    action: OverrideAction,
    choice: &NamespaceLabelChoice,
    namespace: &NamespaceFacts,
    mesh: &Mesh,
) -> Result<Vec<MetadataField>, OverrideRefusal> {
    if !matches!(mesh.injector, InjectorKind::Istio { .. }) {
        return refuse(format!("--label needs Istio: the injector of {} reads no namespace labels", mesh.name));
    }
    let current = |key: &str| namespace.labels.get(key);
    let NamespaceLabelChoice { revision, removes_other } = choice;
    let (key, value) = match (action, revision) {
        (OverrideAction::Enable, None) => (INJECTION_LABEL, Some("enabled")),
        (OverrideAction::Enable, Some(revision)) => (REVISION_LABEL, Some(revision.as_str())),
        (OverrideAction::Disable, _) => (INJECTION_LABEL, Some("disabled")),
        (OverrideAction::Remove, None) if current(INJECTION_LABEL).is_none() && current(REVISION_LABEL).is_some() => {
            (REVISION_LABEL, None)
        }
        (OverrideAction::Remove, None) => (INJECTION_LABEL, None),
        (OverrideAction::Remove, Some(revision)) => {
            check_revision_label(namespace, revision)?;
            (REVISION_LABEL, None)
        }
    };
    let other = if key == INJECTION_LABEL { REVISION_LABEL } else { INJECTION_LABEL };
    let mut fields = vec![label_field(key, value)];
    match current(other) {
        Some(_) if *removes_other => fields.push(label_field(other, None)),
        Some(current) if action == OverrideAction::Enable => {
            return refuse_ineffective_label(namespace, (key, value), (other, current));
        }
        Some(_) | None => {}
    }
    Ok(fields)
}

/// Returns both labels with their present values. A plan relies on both: each is right or wrong by the other.
pub(super) fn current_labels(namespace: &NamespaceFacts) -> Vec<MetadataField> {
    [INJECTION_LABEL, REVISION_LABEL].map(|key| label_field(key, namespace.labels.get(key))).to_vec()
}

fn label_field(key: &str, value: Option<&str>) -> MetadataField {
    MetadataField { map: MetadataMap::Label, key: key.to_owned(), value: value.map(str::to_owned) }
}

/// Refuses to remove a revision label that names another revision.
fn check_revision_label(namespace: &NamespaceFacts, revision: &str) -> Result<(), OverrideRefusal> {
    match namespace.labels.get(REVISION_LABEL) {
        Some(current) if current == revision => Ok(()),
        Some(current) => {
            let NamespaceFacts { name, .. } = namespace;
            refuse(format!("namespace {name} has {REVISION_LABEL}={}, not {revision}", CleanText(current)))
        }
        None => refuse(format!("namespace {} has no label {REVISION_LABEL}", namespace.name)),
    }
}

fn refuse_ineffective_label(
    namespace: &NamespaceFacts,
    (key, value): (&str, Option<&str>),
    (other, current): (&str, &str),
) -> Result<Vec<MetadataField>, OverrideRefusal> {
    let (name, current, value) = (&namespace.name, CleanText(current), value.unwrap_or_default());
    let follows = if key == INJECTION_LABEL {
        format!("{key}={value} would move the namespace from that revision to the default one")
    } else {
        format!("Istio would ignore {key}={value}")
    };
    refuse(format!("namespace {name} has {other}={current}: {follows}; pass --both-labels to remove {other}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decision::mesh::MESHES;
    use crate::kubernetes::client::metadata_edit::{EditTarget, MetadataEdit};

    fn edited_labels(
        change: OverrideAction,
        revision: Option<&str>,
        removes_other: bool,
        current: &[(&str, &str)],
    ) -> Result<String, String> {
        let labels = current.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let namespace = NamespaceFacts { name: "shop".into(), labels, ..NamespaceFacts::default() };
        let choice = NamespaceLabelChoice { revision: revision.map(str::to_owned), removes_other };
        let fields = label_fields(change, &choice, &namespace, &MESHES[0]).map_err(|refusal| refusal.to_string())?;
        let shown = fields.iter().map(|MetadataField { key, value, .. }| match value {
            Some(value) => format!("{key}={value}"),
            None => format!("{key}-"),
        });
        Ok(shown.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn neither_label_undoes_the_other_unless_that_is_said() {
        let (on, rev) = (("istio-injection", "enabled"), ("istio.io/rev", "stable"));
        for (change, revision, removes_other, current, expected) in [
            (OverrideAction::Enable, None, false, &[][..], Ok("istio-injection=enabled")),
            (OverrideAction::Enable, Some("stable"), false, &[], Ok("istio.io/rev=stable")),
            (
                OverrideAction::Enable,
                None,
                false,
                &[rev],
                Err("would move the namespace from that revision to the default one"),
            ),
            (OverrideAction::Enable, None, true, &[rev], Ok("istio-injection=enabled istio.io/rev-")),
            (OverrideAction::Enable, Some("stable"), false, &[on], Err("Istio would ignore istio.io/rev=stable")),
            (OverrideAction::Enable, Some("stable"), true, &[on], Ok("istio.io/rev=stable istio-injection-")),
            (OverrideAction::Enable, Some("canary"), false, &[rev], Ok("istio.io/rev=canary")),
            (OverrideAction::Disable, None, false, &[rev], Ok("istio-injection=disabled")),
            (OverrideAction::Disable, None, true, &[rev], Ok("istio-injection=disabled istio.io/rev-")),
            (OverrideAction::Remove, None, false, &[on, rev], Ok("istio-injection-")),
            (OverrideAction::Remove, None, true, &[on, rev], Ok("istio-injection- istio.io/rev-")),
            (OverrideAction::Remove, None, false, &[rev], Ok("istio.io/rev-")),
            (OverrideAction::Remove, Some("stable"), false, &[on, rev], Ok("istio.io/rev-")),
            (OverrideAction::Remove, Some("canary"), false, &[rev], Err("has istio.io/rev=stable, not canary")),
            (OverrideAction::Remove, Some("canary"), false, &[], Err("has no label istio.io/rev")),
        ] {
            let found = edited_labels(change, revision, removes_other, current);
            let agrees = match (&found, expected) {
                (Ok(found), Ok(expected)) => found == expected,
                (Err(found), Err(part)) => found.contains(part),
                _ => false,
            };
            assert!(agrees, "{change:?} {revision:?} {removes_other} on {current:?}: {found:?}");
        }
    }

    #[test]
    fn labels_that_have_changed_since_they_were_looked_at_are_told() {
        let object = EditTarget {
            group: String::new(),
            version: "v1".to_owned(),
            plural: "namespaces".to_owned(),
            kind: "Namespace".to_owned(),
            namespace: None,
            name: "shop".to_owned(),
        };
        for (requested, seen, current, expected) in [
            ((INJECTION_LABEL, Some("enabled")), json!({}), json!({}), None),
            ((INJECTION_LABEL, Some("enabled")), json!({}), json!({"istio-injection": "enabled"}), None),
            (
                (INJECTION_LABEL, Some("enabled")),
                json!({}),
                json!({"istio.io/rev": "canary"}),
                Some("there is label istio.io/rev=\"canary\" now, and was no label istio.io/rev"),
            ),
            (
                (REVISION_LABEL, None),
                json!({"istio.io/rev": "stable"}),
                json!({"istio.io/rev": "canary"}),
                Some("there is label istio.io/rev=\"canary\" now, and was label istio.io/rev=\"stable\""),
            ),
            ((REVISION_LABEL, None), json!({"istio.io/rev": "stable"}), json!({}), None),
            (
                (REVISION_LABEL, None),
                json!({"istio-injection": "disabled", "istio.io/rev": "stable"}),
                json!({"istio.io/rev": "stable"}),
                Some("there is no label istio-injection now, and was label istio-injection=\"disabled\""),
            ),
        ] {
            let labels = serde_json::from_value::<std::collections::BTreeMap<String, String>>(seen).unwrap();
            let namespace = NamespaceFacts { labels: labels.into_iter().collect(), ..NamespaceFacts::default() };
            let (fields, seen) = (vec![label_field(requested.0, requested.1)], current_labels(&namespace));
            let edit = MetadataEdit {
                target: object.clone(),
                field_manager: "ours",
                metadata_path: &["metadata"],
                fields,
                expected: seen,
            };
            let found = edit.unexpected_change(&json!({"metadata": {"labels": current}}));
            assert_eq!(found.as_deref(), expected, "{requested:?} on {current}");
        }
    }
}
