//! A label or annotation of an object, with the value that an edit gives it.

use crate::kernel::text::CleanText;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// A label or an annotation, and what is to become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "LabelOrAnnotation")]
pub struct MetadataField {
    /// Which of the two it is.
    #[serde(rename = "of")]
    pub map: MetadataMap,
    /// The key.
    pub key: String,
    /// The value that is to stand there; none where it is to go.
    pub value: Option<String>,
}

/// Labels or annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "LabelsOrAnnotations")]
pub enum MetadataMap {
    /// Labels.
    Label,
    /// Annotations.
    Annotation,
}

impl fmt::Display for MetadataField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (of, key) = (self.map.noun(), &self.key);
        match &self.value {
            Some(value) => write!(f, "{of} {key}=\"{}\"", CleanText(value)),
            None => write!(f, "{of} {key} taken away"),
        }
    }
}

impl MetadataMap {
    /// Returns the field of an object's metadata, such as `labels`.
    pub(crate) fn metadata_key(self) -> &'static str {
        match self {
            Self::Label => "labels",
            Self::Annotation => "annotations",
        }
    }

    /// Returns the noun for one of them, such as `label`.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Annotation => "annotation",
        }
    }
}
