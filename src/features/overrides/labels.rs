//! The two labels of a namespace that Istio reads, neither of which undoes the other unnoticed.
//!
//! `istio-injection` comes first: where it stands, with either value, `istio.io/rev` is not looked at. So only what would
//! defeat something is refused: to enable by one of them while the other stands.

use super::change::{Change, Choice, Refusal, refuse};
use crate::decision::facts::Namespace;
use crate::decision::mesh::{Injector, Mesh};
use crate::features::overrides::field::{Field, Map};
use crate::kernel::text::Clean;

/// The label that switches injection by the default revision.
pub const INJECTION: &str = "istio-injection";
/// The label that names a revision.
pub const REVISION: &str = "istio.io/rev";

/// What is to become of the two labels.
pub(super) fn label_fields(
    change: Change,
    choice: &Choice,
    namespace: &Namespace,
    mesh: &Mesh,
) -> Result<Vec<Field>, Refusal> {
    if !matches!(mesh.injector, Injector::Istio { .. }) {
        return refuse(format!("the mesh is {}, whose injector reads no label of a namespace here", mesh.name));
    }
    let standing = |key: &str| namespace.labels.get(key);
    let Choice { revision, both } = choice;
    let (key, value) = match (change, revision) {
        (Change::Enable, None) => (INJECTION, Some("enabled")),
        (Change::Enable, Some(revision)) => (REVISION, Some(revision.as_str())),
        (Change::Disable, _) => (INJECTION, Some("disabled")),
        (Change::Remove, None) if standing(INJECTION).is_none() && standing(REVISION).is_some() => (REVISION, None),
        (Change::Remove, None) => (INJECTION, None),
        (Change::Remove, Some(revision)) => {
            check_stands(namespace, revision)?;
            (REVISION, None)
        }
    };
    let other = if key == INJECTION { REVISION } else { INJECTION };
    let mut fields = vec![label(key, value)];
    match standing(other) {
        Some(_) if *both => fields.push(label(other, None)),
        Some(stands) if change == Change::Enable => return defeated(namespace, (key, value), (other, stands)),
        Some(_) | None => {}
    }
    Ok(fields)
}

/// Both labels as they stand, since what becomes of the one is right or wrong by the other.
pub(super) fn labels_of(namespace: &Namespace) -> Vec<Field> {
    [INJECTION, REVISION].map(|key| label(key, namespace.labels.get(key))).to_vec()
}

fn label(key: &str, value: Option<&str>) -> Field {
    Field { of: Map::Label, key: key.to_owned(), value: value.map(str::to_owned) }
}

/// Whoever names a revision means that one.
fn check_stands(namespace: &Namespace, revision: &str) -> Result<(), Refusal> {
    match namespace.labels.get(REVISION) {
        Some(stands) if stands == revision => Ok(()),
        Some(stands) => {
            let Namespace { name, .. } = namespace;
            refuse(format!("namespace {name} has {REVISION}={}, and not {revision}", Clean(stands)))
        }
        None => refuse(format!("namespace {} has no label {REVISION}", namespace.name)),
    }
}

fn defeated(
    namespace: &Namespace,
    (key, value): (&str, Option<&str>),
    (other, stands): (&str, &str),
) -> Result<Vec<Field>, Refusal> {
    let (name, stands, value) = (&namespace.name, Clean(stands), value.unwrap_or_default());
    let follows = if key == INJECTION {
        format!("{key}={value} would move it from that revision to the default one")
    } else {
        format!("as long as that stands, {key}={value} is not looked at")
    };
    let sentence = format!("namespace {name} has {other}={stands}: {follows}");
    Err(Refusal::Undoes(format!("{sentence}; it has to be said that this one may go")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decision::mesh::MESHES;
    use crate::features::overrides::edit::{Edit, ObjectName};

    fn written(change: Change, revision: Option<&str>, both: bool, stands: &[(&str, &str)]) -> Result<String, String> {
        let labels = stands.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let namespace = Namespace { name: "shop".into(), labels, ..Namespace::default() };
        let choice = Choice { revision: revision.map(str::to_owned), both };
        let fields = label_fields(change, &choice, &namespace, &MESHES[0]).map_err(|refusal| refusal.to_string())?;
        let told = fields.iter().map(|Field { key, value, .. }| match value {
            Some(value) => format!("{key}={value}"),
            None => format!("{key}-"),
        });
        Ok(told.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn neither_label_undoes_the_other_unless_that_is_said() {
        let (on, rev) = (("istio-injection", "enabled"), ("istio.io/rev", "stable"));
        for (change, revision, both, stands, expected) in [
            (Change::Enable, None, false, &[][..], Ok("istio-injection=enabled")),
            (Change::Enable, Some("stable"), false, &[], Ok("istio.io/rev=stable")),
            (Change::Enable, None, false, &[rev], Err("would move it from that revision to the default one")),
            (Change::Enable, None, true, &[rev], Ok("istio-injection=enabled istio.io/rev-")),
            (Change::Enable, Some("stable"), false, &[on], Err("istio.io/rev=stable is not looked at")),
            (Change::Enable, Some("stable"), true, &[on], Ok("istio.io/rev=stable istio-injection-")),
            (Change::Enable, Some("canary"), false, &[rev], Ok("istio.io/rev=canary")),
            (Change::Disable, None, false, &[rev], Ok("istio-injection=disabled")),
            (Change::Disable, None, true, &[rev], Ok("istio-injection=disabled istio.io/rev-")),
            (Change::Remove, None, false, &[on, rev], Ok("istio-injection-")),
            (Change::Remove, None, true, &[on, rev], Ok("istio-injection- istio.io/rev-")),
            (Change::Remove, None, false, &[rev], Ok("istio.io/rev-")),
            (Change::Remove, Some("stable"), false, &[on, rev], Ok("istio.io/rev-")),
            (Change::Remove, Some("canary"), false, &[rev], Err("has istio.io/rev=stable, and not canary")),
            (Change::Remove, Some("canary"), false, &[], Err("has no label istio.io/rev")),
        ] {
            let found = written(change, revision, both, stands);
            let agrees = match (&found, expected) {
                (Ok(found), Ok(expected)) => found == expected,
                (Err(found), Err(part)) => found.contains(part),
                _ => false,
            };
            assert!(agrees, "{change:?} {revision:?} {both} on {stands:?}: {found:?}");
        }
    }

    #[test]
    fn labels_that_have_changed_since_they_were_looked_at_are_told() {
        let object = ObjectName {
            group: String::new(),
            version: "v1".to_owned(),
            plural: "namespaces".to_owned(),
            kind: "Namespace".to_owned(),
            namespace: None,
            name: "shop".to_owned(),
        };
        for (wanted, seen, stands, expected) in [
            ((INJECTION, Some("enabled")), json!({}), json!({}), None),
            ((INJECTION, Some("enabled")), json!({}), json!({"istio-injection": "enabled"}), None),
            (
                (INJECTION, Some("enabled")),
                json!({}),
                json!({"istio.io/rev": "canary"}),
                Some("there is label istio.io/rev=\"canary\" now, and was no label istio.io/rev"),
            ),
            (
                (REVISION, None),
                json!({"istio.io/rev": "stable"}),
                json!({"istio.io/rev": "canary"}),
                Some("there is label istio.io/rev=\"canary\" now, and was label istio.io/rev=\"stable\""),
            ),
            ((REVISION, None), json!({"istio.io/rev": "stable"}), json!({}), None),
            (
                (REVISION, None),
                json!({"istio-injection": "disabled", "istio.io/rev": "stable"}),
                json!({"istio.io/rev": "stable"}),
                Some("there is no label istio-injection now, and was label istio-injection=\"disabled\""),
            ),
        ] {
            let labels = serde_json::from_value::<std::collections::BTreeMap<String, String>>(seen).unwrap();
            let namespace = Namespace { labels: labels.into_iter().collect(), ..Namespace::default() };
            let (fields, seen) = (vec![label(wanted.0, wanted.1)], labels_of(&namespace));
            let edit = Edit { object: object.clone(), manager: "ours", path: &["metadata"], fields, seen };
            let found = edit.departure(&json!({"metadata": {"labels": stands}}));
            assert_eq!(found.as_deref(), expected, "{wanted:?} on {stands}");
        }
    }
}
