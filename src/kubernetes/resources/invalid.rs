//! Why an object of ours cannot be used.

use kube::{Resource, ResourceExt};
use thiserror::Error;

use crate::kernel::text::{Clean, sanitized};

/// What is wrong with an object, in one sentence that names the object, the field, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{object}: {flaw}")]
pub struct Invalid {
    /// The object, such as `SuspensionPolicy shop/debug-web`.
    pub object: String,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} {sentence}")]
pub struct Flaw {
    /// The field's path, such as `spec.match.podSelector`.
    pub field: String,
    /// What is wrong, as the end of a sentence that begins with the field.
    pub sentence: String,
}

impl Flaw {
    pub(super) fn new(field: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { field: field.into(), sentence: sentence.into() }
    }

    /// A flaw of a text that is quoted, made harmless.
    pub(super) fn of_value(field: impl Into<String>, value: &str, right: &str) -> Self {
        Self::new(field, format!("is \"{}\", which is not {right}", Clean(value)))
    }

    /// The flaw as one of this object.
    pub(super) fn of<K: Resource<DynamicType = ()>>(self, object: &K) -> Invalid {
        let name = sanitized(&object.name_any());
        let name = object.namespace().map_or_else(|| name.clone(), |namespace| format!("{}/{name}", Clean(&namespace)));
        Invalid { object: format!("{} {name}", K::kind(&())), flaw: self }
    }
}

/// The name of an object and, of a namespaced kind, its namespace.
pub(super) fn name_of<K: Resource<DynamicType = ()>>(object: &K) -> Result<Box<str>, Flaw> {
    let missing = || Flaw::new("metadata.name", "is missing");
    object.meta().name.as_deref().filter(|name| !name.is_empty()).map(Into::into).ok_or_else(missing)
}

/// The namespace of an object of a namespaced kind.
pub(super) fn namespace_of<K: Resource<DynamicType = ()>>(object: &K) -> Result<Box<str>, Flaw> {
    let missing = || Flaw::new("metadata.namespace", "is missing, and says which namespace this is about");
    object.meta().namespace.as_deref().filter(|name| !name.is_empty()).map(Into::into).ok_or_else(missing)
}
