//! Errors of objects of ours that cannot be used.

use kube::{Resource, ResourceExt};
use thiserror::Error;

use crate::kernel::text::{CleanText, sanitize};

/// Error of an object: one sentence that names the object, the field, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{object}: {error}")]
pub struct InvalidObject {
    /// Kind and name, such as `SuspensionPolicy shop/debug-web`.
    pub object: String,
    /// Error of one of its fields.
    pub error: FieldError,
}

/// Error of one field.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} {sentence}")]
pub struct FieldError {
    /// Path of the field, such as `spec.match.podSelector`.
    pub field: String,
    /// Description of the error, as the end of a sentence that begins with the field.
    pub sentence: String,
}

impl FieldError {
    pub(super) fn new(field: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { field: field.into(), sentence: sentence.into() }
    }

    /// Creates an error that quotes the wrong text, made harmless.
    pub(super) fn for_value(field: impl Into<String>, value: &str, right: &str) -> Self {
        Self::new(field, format!("is \"{}\", which is not {right}", CleanText(value)))
    }

    /// Adds the object to the error.
    pub(super) fn in_object<K: Resource<DynamicType = ()>>(self, object: &K) -> InvalidObject {
        let name = sanitize(&object.name_any());
        let name =
            object.namespace().map_or_else(|| name.clone(), |namespace| format!("{}/{name}", CleanText(&namespace)));
        InvalidObject { object: format!("{} {name}", K::kind(&())), error: self }
    }
}

/// Returns the name of an object.
pub(super) fn name_of<K: Resource<DynamicType = ()>>(object: &K) -> Result<Box<str>, FieldError> {
    let missing = || FieldError::new("metadata.name", "is missing");
    object.meta().name.as_deref().filter(|name| !name.is_empty()).map(Into::into).ok_or_else(missing)
}

/// Returns the namespace of an object of a namespaced kind.
pub(super) fn namespace_of<K: Resource<DynamicType = ()>>(object: &K) -> Result<Box<str>, FieldError> {
    let missing = || FieldError::new("metadata.namespace", "is missing, and says which namespace this is about");
    object.meta().namespace.as_deref().filter(|name| !name.is_empty()).map(Into::into).ok_or_else(missing)
}
