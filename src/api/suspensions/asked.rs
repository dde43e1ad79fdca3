//! What a new suspension is, as the document says it: the spec of its object and a name, with the rules that a schema can tell.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use crate::api::document;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicySpec;
use crate::kubernetes::resources::suspension_policy::SuspensionPolicySpec;

/// A new suspension of the cluster.
pub(super) fn of_cluster(generator: &mut SchemaGenerator) -> Schema {
    let endless = json!({
        "required": ["indefinite"],
        "properties": {"indefinite": {"const": true}, "for": {"type": "null"}, "expiresAt": {"type": "null"}},
    });
    let mut schema = new::<ClusterSuspensionPolicySpec>(generator, &[given("for"), given("expiresAt"), endless]);
    let somewhere = ["namespaces", "namespaceSelector"]
        .map(|field| json!({"required": [field], "properties": {field: {"minProperties": 1}}}));
    schema.insert("anyOf".to_owned(), json!(somewhere));
    let mut example = example();
    example["namespaces"] = json!({"include": ["team-*"]});
    schema.insert("example".to_owned(), example);
    schema
}

/// A new suspension of a namespace.
pub(super) fn of_namespace(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = new::<SuspensionPolicySpec>(generator, &[given("for"), given("expiresAt")]);
    schema.insert("example".to_owned(), example());
    schema
}

/// Exactly one of `ends` holds.
fn new<Spec: JsonSchema>(generator: &mut SchemaGenerator, ends: &[Value]) -> Schema {
    let mut schema = Spec::json_schema(generator);
    let object = schema.ensure_object();
    object.entry("properties").or_insert_with(|| json!({}))["name"] = document::name();
    object.insert("oneOf".to_owned(), json!(ends));
    object.insert("if".to_owned(), json!({"properties": {"suspend": {"const": "Traffic"}}}));
    object.insert(
        "then".to_owned(),
        json!({
            "required": ["services"],
            "properties": {"services": {"minItems": 1}, "workloads": {"maxItems": 0}, "podSelector": {"maxProperties": 0}},
        }),
    );
    object.insert(
        "else".to_owned(),
        json!({"properties": {"services": {"maxItems": 0}, "httpStatus": {"type": "null"}}}),
    );
    schema
}

/// This field is given, and not null.
pub(super) fn given(field: &str) -> Value {
    json!({"required": [field], "properties": {field: {"type": "string"}}})
}

fn example() -> Value {
    json!({"name": "debug-web", "suspend": "Injection", "for": "2h", "reason": "the proxy crashes in a loop", "ticket": "INC-1042"})
}
