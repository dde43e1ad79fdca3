//! One label or annotation of an object.

use crate::kernel::text::Clean;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// A label or an annotation, and what is to become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "LabelOrAnnotation")]
pub struct Field {
    /// Which of the two it is.
    pub of: Map,
    /// The key.
    pub key: String,
    /// The value that is to stand there; none where it is to go.
    pub value: Option<String>,
}

/// Labels or annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "LabelsOrAnnotations")]
pub enum Map {
    /// Labels.
    Label,
    /// Annotations.
    Annotation,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (of, key) = (self.of.word(), &self.key);
        match &self.value {
            Some(value) => write!(f, "{of} {key}=\"{}\"", Clean(value)),
            None => write!(f, "{of} {key} taken away"),
        }
    }
}

impl Map {
    /// What an object calls them.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Label => "labels",
            Self::Annotation => "annotations",
        }
    }

    /// What sentences call one of them.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Annotation => "annotation",
        }
    }
}
