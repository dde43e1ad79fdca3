//! Label selectors with the shape and the meaning of those of Kubernetes. Unknown fields are refused.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::invalid::FieldError;
use super::syntax::{LABEL_KEY, LABEL_VALUE};
use crate::decision::selector::{Selector, SelectorOperator, SelectorRequirement};

/// A label selector; all requirements must hold, and an empty one selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LabelSelector {
    /// Labels that must be present with exactly these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "match_labels")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements on labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = (
    "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
    "In and NotIn need values; Exists and DoesNotExist take none"
))]
pub struct LabelRequirement {
    /// The label's key.
    #[schemars(schema_with = "key")]
    pub key: String,
    /// Relation of the label to the values: In, NotIn, Exists or DoesNotExist. NotIn also holds where the label is
    /// absent.
    pub operator: LabelOperator,
    /// The values, for In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "values")]
    pub values: Vec<String>,
}

/// Relation of a label to the values of a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// The label has one of the values.
    In,
    /// The label is absent, or has none of the values.
    NotIn,
    /// The label is present; no values.
    Exists,
    /// The label is absent; no values.
    DoesNotExist,
}

impl LabelSelector {
    /// Returns whether the selector requires nothing.
    pub fn is_empty(&self) -> bool {
        let Self { match_labels, match_expressions } = self;
        match_labels.is_empty() && match_expressions.is_empty()
    }

    /// Compiles the selector; `path` is its place, for error messages.
    ///
    /// # Errors
    ///
    /// When a key or a value is none that a label can have, or an operator and its values do not go together.
    pub fn compile(&self, path: &str) -> Result<Selector, FieldError> {
        let Self { match_labels, match_expressions } = self;
        let labels = match_labels.iter().map(|(key, value)| {
            let path = format!("{path}.matchLabels");
            LABEL_KEY.check(path.as_str(), key)?;
            LABEL_VALUE.check(path, value)?;
            Ok(SelectorRequirement {
                key: key.as_str().into(),
                operator: SelectorOperator::In(vec![value.as_str().into()]),
            })
        });
        let expressions = match_expressions.iter().enumerate();
        let expressions = expressions.map(|(index, one)| one.compile(&format!("{path}.matchExpressions[{index}]")));
        labels.chain(expressions).collect::<Result<_, _>>().map(Selector::new)
    }
}

impl LabelRequirement {
    fn compile(&self, path: &str) -> Result<SelectorRequirement, FieldError> {
        let Self { key, operator, values } = self;
        LABEL_KEY.check(format!("{path}.key"), key)?;
        for (index, value) in values.iter().enumerate() {
            LABEL_VALUE.check(format!("{path}.values[{index}]"), value)?;
        }
        let texts = || values.iter().map(|value| value.as_str().into()).collect();
        let operator = match operator {
            LabelOperator::In | LabelOperator::NotIn if values.is_empty() => {
                return Err(FieldError::new(
                    format!("{path}.values"),
                    "is empty; the operators In and NotIn need values",
                ));
            }
            LabelOperator::In => SelectorOperator::In(texts()),
            LabelOperator::NotIn => SelectorOperator::NotIn(texts()),
            LabelOperator::Exists | LabelOperator::DoesNotExist if !values.is_empty() => {
                return Err(FieldError::new(format!("{path}.values"), "is only for the operators In and NotIn"));
            }
            LabelOperator::Exists => SelectorOperator::Exists,
            LabelOperator::DoesNotExist => SelectorOperator::DoesNotExist,
        };
        Ok(SelectorRequirement { key: key.as_str().into(), operator })
    }
}

fn match_labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": LABEL_VALUE.schema(),
        "x-kubernetes-validations": [LABEL_KEY.key_rule()],
    })
}

fn key(_: &mut SchemaGenerator) -> Schema {
    LABEL_KEY.schema()
}

fn values(_: &mut SchemaGenerator) -> Schema {
    LABEL_VALUE.list_schema(64)
}
