//! OpenAPI schema of a new suspension: the spec of its object and a name, with the rules that a schema can express.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use crate::api::document;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicySpec;
use crate::kubernetes::resources::suspension_policy::SuspensionPolicySpec;

/// Builds the schema of a new suspension of the cluster.
pub(super) fn cluster_request(generator: &mut SchemaGenerator) -> Schema {
    let endless = json!({
        "required": ["indefinite"],
        "properties": {"indefinite": {"const": true}, "for": {"type": "null"}, "expiresAt": {"type": "null"}},
    });
    let mut schema = request_schema::<ClusterSuspensionPolicySpec>(
        generator,
        &[given_field("for"), given_field("expiresAt"), endless],
    );
    let somewhere = ["namespaces", "namespaceSelector"]
        .map(|field| json!({"required": [field], "properties": {field: {"minProperties": 1}}}));
    schema.insert("anyOf".to_owned(), json!(somewhere));
    let mut example = example();
    example["namespaces"] = json!({"include": ["team-*"]});
    schema.insert("example".to_owned(), example);
    schema
}

/// Builds the schema of a new suspension of a namespace.
pub(super) fn namespace_request(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = request_schema::<SuspensionPolicySpec>(generator, &[given_field("for"), given_field("expiresAt")]);
    schema.insert("example".to_owned(), example());
    schema
}

/// Builds the schema of a spec with a name, in which exactly one schema of `ends` matches.
fn request_schema<Spec: JsonSchema>(generator: &mut SchemaGenerator, ends: &[Value]) -> Schema {
    let mut schema = Spec::json_schema(generator);
    let object = schema.ensure_object();
    object.entry("properties").or_insert_with(|| json!({}))["name"] = document::name_schema();
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

/// Requires that a field is given, and is not null.
pub(super) fn given_field(field: &str) -> Value {
    json!({"required": [field], "properties": {field: {"type": "string"}}})
}

fn example() -> Value {
    json!({"name": "debug-web", "suspend": "Injection", "for": "2h", "reason": "the proxy crashes in a loop", "ticket": "INC-1042"})
}
