//! `/openapi.json`: an OpenAPI 3.1 document, made from the table of endpoints and their types.

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::endpoint::{ApiEndpoint, HeaderSpec, OperationSpec, ResponseSpec, SchemaFn, component_schema};
use super::problem::ApiProblem;

/// Path of the document.
pub(super) const DOCUMENT_PATH: &str = "/openapi.json";
/// Problems of every operation: bad request, unknown caller, missing right, nothing there, our failure, not available now.
const COMMON_PROBLEMS: [u16; 6] = [400, 401, 403, 404, 500, 503];
/// Start and end of a CEL rule that matches a pattern: the API server knows no other patterns in validation rules.
const CEL_MATCHES: (&str, &str) = ("self.matches('", "')");

/// Returns the document of these endpoints.
pub(super) fn openapi_document(endpoints: &[ApiEndpoint]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.with_transform(KubernetesRulesTransform).into_generator();
    let problem = component_schema::<ApiProblem>(&mut generator);
    let mut paths = Map::new();
    for endpoint in endpoints {
        let operations = paths.entry(&endpoint.path).or_insert_with(|| json!({}));
        operations[endpoint.method] = operation_object(endpoint, &mut generator);
    }
    let mut schemas = generator.take_definitions(true);
    schemas.values_mut().filter_map(|schema| schema.try_into().ok()).for_each(to_json_schema);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Outrigger",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Suspensions of sidecar injection and of traffic. Who may is told by a bearer token of the cluster; \
                            what is written is written with it. Times are RFC 3339, durations days, hours, minutes and seconds such as 3d or 2h30m.",
        },
        "paths": paths,
        "security": [{"token": []}],
        "components": {
            "schemas": schemas,
            "responses": {"Problem": {
                "description": "It was not done; detail says why, and what to do.",
                "content": {"application/problem+json": {"schema": problem}},
            }},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "A token of the cluster."}},
        },
    })
}

fn operation_object(endpoint: &ApiEndpoint, generator: &mut SchemaGenerator) -> Value {
    let OperationSpec { id, summary, query, headers, body, may_be_yaml, responses: specs, problems } =
        &endpoint.operation;
    let parts: Vec<&str> = path_part_names(&endpoint.path).collect();
    let mut parameters: Vec<Value> = parts.iter().copied().map(path_parameter).collect();
    parameters.extend(query.iter().flat_map(|query| query_parameters(*query, generator)));
    parameters.extend(headers.iter().map(|header| {
        let HeaderSpec { name, description } = header;
        json!({"name": name, "in": "header", "description": description, "schema": {"type": "string"}})
    }));
    let problems = COMMON_PROBLEMS.iter().chain(*problems);
    let mut responses: Map<String, Value> =
        problems.map(|status| (status.to_string(), json!({"$ref": "#/components/responses/Problem"}))).collect();
    responses.extend(specs.iter().map(|spec| (spec.status.to_string(), response_object(spec, &parts, generator))));
    let mut operation =
        json!({"operationId": id, "summary": summary, "parameters": parameters, "responses": responses});
    if let Some((schema, required)) = body {
        let mut schema = schema(generator);
        to_json_schema(&mut schema);
        operation["requestBody"] = json!({"required": required, "content": {"application/json": {"schema": schema}}});
        if *may_be_yaml {
            operation["requestBody"]["content"]["application/yaml"] = json!({"schema": schema});
        }
    }
    operation
}

fn response_object(spec: &ResponseSpec, parts: &[&str], generator: &mut SchemaGenerator) -> Value {
    let ResponseSpec { status: _, description, body, may_stream, headers, linked_operations } = spec;
    let mut response = json!({"description": description});
    if let Some(schema) = body {
        response["content"]["application/json"] = json!({"schema": schema(generator)});
    }
    if *may_stream {
        response["content"]["text/event-stream"] = json!({"schema": {"type": "string"}});
    }
    for HeaderSpec { name, description } in *headers {
        response["headers"][name] = json!({"description": description, "schema": {"type": "string"}});
    }
    for id in linked_operations {
        let of_body = |part: &str| (part.to_owned(), json!(format!("$response.body#/{part}")));
        let parameters: Map<_, _> = parts.iter().copied().chain(["name"]).map(of_body).collect();
        response["links"][id] = json!({"operationId": id, "parameters": parameters});
    }
    response
}

/// Returns the names of a path's parameters.
fn path_part_names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn path_parameter(name: &str) -> Value {
    let schema = match name {
        "namespace" => json!({"type": "string", "minLength": 1, "maxLength": 63}),
        "run" => json!({"type": "string", "pattern": "^[a-z0-9-]{1,63}$"}),
        _ => json!({"type": "string", "minLength": 1, "maxLength": 253}),
    };
    json!({"name": name, "in": "path", "required": true, "schema": schema})
}

/// Returns a query parameter for each property of an object.
fn query_parameters(query: SchemaFn, generator: &mut SchemaGenerator) -> Vec<Value> {
    let mut schema = query(generator);
    to_json_schema(&mut schema);
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = non_null_schema(schema);
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        json!({"name": name, "in": "query", "description": description.unwrap_or_default(), "schema": schema})
    };
    properties.map(parameter).collect()
}

/// Removes null from the schema of a parameter: a query cannot express null.
fn non_null_schema(schema: &Value) -> Value {
    let mut non_null = schema.clone();
    if let Some(Value::Array(types)) = schema.get("type") {
        non_null["type"] = types[0].clone();
    }
    if let (Some(Value::Array(variants)), Some(non_null)) = (schema.get("anyOf"), non_null.as_object_mut()) {
        non_null.remove("anyOf");
        non_null.extend(variants[0].as_object().cloned().unwrap_or_default());
    }
    non_null
}

fn to_json_schema(schema: &mut Schema) {
    KubernetesRulesTransform.transform(schema);
}

/// Turns Kubernetes' own schema keywords into JSON Schema.
#[derive(Debug, Clone)]
struct KubernetesRulesTransform;

impl Transform for KubernetesRulesTransform {
    fn transform(&mut self, schema: &mut Schema) {
        if schema.remove("nullable") == Some(true.into())
            && let Some(Value::String(one)) = schema.get("type").cloned()
        {
            schema.insert("type".to_owned(), json!([one, "null"]));
        }
        for rule in schema.remove("x-kubernetes-validations").iter().filter_map(Value::as_array).flatten() {
            if let Some(pattern) = rule["rule"].as_str().and_then(extract_pattern) {
                schema.insert("pattern".to_owned(), pattern.into());
            }
        }
        transform_subschemas(self, schema);
    }
}

/// Extracts the pattern of a CEL rule that starts with one.
fn extract_pattern(rule: &str) -> Option<String> {
    let (pattern, _) = rule.strip_prefix(CEL_MATCHES.0)?.split_once(CEL_MATCHES.1)?;
    Some(pattern.replace("\\\\", "\\"))
}

/// Returns the schema of a name.
pub(super) fn name_schema() -> Value {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 253}).to_value()
}
