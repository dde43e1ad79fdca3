//! Strict deserialization: an unknown field is an error that names its path and the nearest known field.
//!
//! Values that the API server accepts are accepted, too: null stands for nothing, and a number for a quantity.

use std::cell::RefCell;

use serde::de::{DeserializeOwned, DeserializeSeed, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};
use serde_json::Value;

use crate::kernel::text::{did_you_mean, sanitize};

/// Error of an object: one sentence, or one for each unknown field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StrictError(String);

/// Reads an object. The error names every unknown field, or else the first other mistake.
pub fn read_object<T: DeserializeOwned>(object: &Value) -> Result<T, StrictError> {
    read_strictly(object).map_err(|StrictError(why)| StrictError(format!("{}: {why}", describe_object(object))))
}

/// Reads a value that is no object of Kubernetes, in the same strict way.
pub fn read_strictly<T: DeserializeOwned>(value: &Value) -> Result<T, StrictError> {
    let findings = StrictFindings::default();
    let read = T::deserialize(StrictDeserializer { value, path: String::new(), findings: &findings });
    let StrictFindings { unknown_fields, error_path } = findings;
    let unknown_fields = unknown_fields.into_inner();
    if !unknown_fields.is_empty() {
        return Err(StrictError(unknown_fields.join("\n  ")));
    }
    let with_path = |error: serde_json::Error| match error_path.into_inner().filter(|path| !path.is_empty()) {
        Some(path) => StrictError(format!("{path}: {error}")),
        None => StrictError(error.to_string()),
    };
    read.map_err(with_path)
}

/// Returns the kind and name of an object, for messages.
pub fn describe_object(object: &Value) -> String {
    let text = |value: &Value| sanitize(value.as_str().unwrap_or_default());
    let kind = object["kind"].as_str().map_or_else(|| "an object without a kind".to_owned(), |_| text(&object["kind"]));
    let metadata = &object["metadata"];
    let name = [&metadata["name"], &metadata["generateName"]].into_iter().find(|name| name.is_string());
    name.map_or_else(|| kind.clone(), |name| format!("{kind} {}", text(name)))
}

/// Mistakes found while reading.
#[derive(Default)]
struct StrictFindings {
    unknown_fields: RefCell<Vec<String>>,
    /// Path of the first error, recorded by the innermost value that passes it on.
    error_path: RefCell<Option<String>>,
}

/// Deserializer of a value that knows its path.
struct StrictDeserializer<'de, 'f> {
    value: &'de Value,
    path: String,
    findings: &'f StrictFindings,
}

impl<'de, 'f> StrictDeserializer<'de, 'f> {
    fn entries(self, fields: Option<&'static [&'static str]>) -> StrictMap<'de, 'f> {
        let Self { value, path, findings } = self;
        let entries: Vec<_> =
            value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value)).collect();
        StrictMap { entries: entries.into_iter(), fields, next: None, path, findings }
    }

    fn items(self) -> StrictList<'de, 'f> {
        let Self { value, path, findings } = self;
        StrictList { items: value.as_array().map_or(&[][..], Vec::as_slice).iter().enumerate(), path, findings }
    }
}

impl<'de> Deserializer<'de> for StrictDeserializer<'de, '_> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.value {
            Value::Object(_) => visitor.visit_map(self.entries(None)),
            Value::Array(_) => visitor.visit_seq(self.items()),
            plain => plain.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        match self.value {
            Value::Object(_) | Value::Null => visitor.visit_map(self.entries(Some(fields))),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.value {
            Value::Null => visitor.visit_map(self.entries(None)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.value {
            Value::Null => visitor.visit_seq(self.items()),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        match self.value {
            Value::Number(number) if name == "Quantity" => {
                visitor.visit_newtype_struct(number.to_string().into_deserializer())
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.value.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct identifier ignored_any
    }
}

/// Fields of an object; unknown ones are recorded and skipped.
struct StrictMap<'de, 'f> {
    entries: std::vec::IntoIter<(&'de str, &'de Value)>,
    /// Names of the known fields; `None` for the keys of a map.
    fields: Option<&'static [&'static str]>,
    next: Option<(&'de str, &'de Value)>,
    path: String,
    findings: &'f StrictFindings,
}

impl StrictMap<'_, '_> {
    fn is_known(&self, key: &str) -> bool {
        // Every object has these two fields, but not every type does.
        let is_type = self.path.is_empty() && ["apiVersion", "kind"].contains(&key);
        self.fields.is_none_or(|fields| is_type || fields.contains(&key))
    }

    fn path_of(&self, key: &str) -> String {
        let key = sanitize(key);
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    fn record_unknown(&self, key: &str) {
        let fields = self.fields.unwrap_or_default();
        let mut hint = did_you_mean(key, fields.iter().copied());
        if hint.is_empty() && fields.len() <= 12 {
            hint = format!("; known fields: {}", fields.join(", "));
        }
        self.findings.unknown_fields.borrow_mut().push(format!("{}: unknown field{hint}", self.path_of(key)));
    }
}

impl<'de> MapAccess<'de> for StrictMap<'de, '_> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        while let Some((key, value)) = self.entries.next() {
            if self.is_known(key) {
                self.next = Some((key, value));
                return seed.deserialize(key.into_deserializer()).map(Some);
            }
            self.record_unknown(key);
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Self::Error> {
        let (key, value) = self.next.take().ok_or_else(|| Error::custom("a value comes after its key"))?;
        let path = self.path_of(key);
        let strict = StrictDeserializer { value, path: path.clone(), findings: self.findings };
        seed.deserialize(strict).inspect_err(|_| {
            self.findings.error_path.borrow_mut().get_or_insert(path);
        })
    }
}

/// Items of a list.
struct StrictList<'de, 'f> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
    path: String,
    findings: &'f StrictFindings,
}

impl<'de> SeqAccess<'de> for StrictList<'de, '_> {
    type Error = serde_json::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Self::Error> {
        let Some((index, value)) = self.items.next() else { return Ok(None) };
        let path = format!("{}[{index}]", self.path);
        let strict = StrictDeserializer { value, path: path.clone(), findings: self.findings };
        let read = seed.deserialize(strict).inspect_err(|_| {
            self.findings.error_path.borrow_mut().get_or_insert(path);
        });
        read.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::json;

    use super::*;
    use crate::kubernetes::resources::injection_policy::InjectionPolicy;

    fn deployment(spec: Value) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"selector": {}, "template": {"spec": spec}},
        })
    }

    fn refusal<T: DeserializeOwned>(object: &Value) -> String {
        read_object::<T>(object).map(drop).map_err(|error| format!("{error:#}")).unwrap_err()
    }

    #[test]
    fn an_unknown_field_is_named_with_its_path_and_the_nearest() {
        let mut object =
            deployment(json!({"hostnetwork": true, "containers": [{"name": "a", "imagepullpolicy": "x"}]}));
        object["metadata"]["lables"] = json!({});
        assert_eq!(
            refusal::<Deployment>(&object),
            "Deployment web: metadata.lables: unknown field; did you mean labels?\n  \
             spec.template.spec.containers[0].imagepullpolicy: unknown field; did you mean imagePullPolicy?\n  \
             spec.template.spec.hostnetwork: unknown field; did you mean hostNetwork?"
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_with_its_path() {
        let object = deployment(json!({"containers": [{"name": "a", "env": [{"name": "A", "value": 1}]}]}));
        assert_eq!(
            refusal::<Deployment>(&object),
            "Deployment web: spec.template.spec.containers[0].env[0].value: invalid type: integer `1`, expected a string"
        );
    }

    #[test]
    fn what_the_api_server_takes_is_taken() {
        let resources = json!({"limits": {"cpu": 1, "memory": "1Gi"}});
        let container = json!({"name": "a", "resources": resources, "ports": [{"containerPort": 80}], "env": null});
        let probe = json!({"httpGet": {"port": "http"}});
        let object = deployment(json!({
            "containers": [container, {"name": "b", "livenessProbe": probe}], "volumes": null, "nodeSelector": null,
        }));
        let read = read_object::<Deployment>(&object).expect("this is a Deployment");
        let spec = read.spec.template.spec.expect("it has a template");
        assert_eq!(spec.containers.len(), 2);
    }

    #[test]
    fn resources_of_our_own_are_read_in_the_same_way() {
        let policy = |spec: Value| {
            json!({
                "apiVersion": "outrigger.dev/v1alpha1", "kind": "InjectionPolicy",
                "metadata": {"name": "all", "namespace": "shop"}, "spec": spec,
            })
        };
        assert!(read_object::<InjectionPolicy>(&policy(json!({"action": "Enable"}))).is_ok());
        let unknown = policy(json!({"action": "Enable", "match": {"podSelectors": {}}}));
        assert_eq!(
            refusal::<InjectionPolicy>(&unknown),
            "InjectionPolicy all: spec.match.podSelectors: unknown field; did you mean podSelector?"
        );
        let wrong = policy(json!({"action": "Sometimes"}));
        assert!(
            refusal::<InjectionPolicy>(&wrong)
                .starts_with("InjectionPolicy all: spec.action: unknown variant `Sometimes`"),
            "{}",
            refusal::<InjectionPolicy>(&wrong)
        );
    }
}
