//! A label or annotation of an object, with the value that an edit gives it.

use crate::kernel::text::CleanText;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// Label or annotation, with its new value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "LabelOrAnnotation")]
pub struct MetadataField {
    /// Kind of the field.
    #[serde(rename = "of")]
    pub map: MetadataMap,
    /// Key of the label or annotation.
    pub key: String,
    /// New value; null to remove the field.
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
            None => write!(f, "remove {of} {key}"),
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
