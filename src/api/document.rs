//! `/openapi.json`: what is served, in the words of OpenAPI 3.1, made from the table of endpoints and the types behind them.

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::endpoint::{Answer, Endpoint, Header, Operation, SchemaOf, schema_of};
use super::problem::Problem;

/// Where the document is.
pub(super) const PATH: &str = "/openapi.json";
/// The problems that every operation may have: who asks is not known, or may not, or asks for what is not there, or we cannot answer now.
const PROBLEMS: [u16; 6] = [400, 401, 403, 404, 500, 503];
/// As the API server writes rules, of which it takes no patterns.
const MATCHES: (&str, &str) = ("self.matches('", "')");

/// The document of these endpoints.
pub(super) fn document(endpoints: &[Endpoint]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.with_transform(OfOpenApi).into_generator();
    let problem = schema_of::<Problem>(&mut generator);
    let mut paths = Map::new();
    for endpoint in endpoints {
        let operations = paths.entry(&endpoint.path).or_insert_with(|| json!({}));
        operations[endpoint.method] = operation(endpoint, &mut generator);
    }
    let mut schemas = generator.take_definitions(true);
    schemas.values_mut().filter_map(|schema| schema.try_into().ok()).for_each(transformed);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Outrigger",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Suspensions of sidecar injection and of traffic. Who may is told by a bearer token of the cluster; \
                            what is written is written with it. Times are RFC 3339, durations hours, minutes and seconds such as 2h30m.",
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

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let Operation { id, summary, query, headers, body, may_be_yaml, answers, problems } = &endpoint.operation;
    let parts: Vec<&str> = parts_of(&endpoint.path).collect();
    let mut parameters: Vec<Value> = parts.iter().copied().map(part).collect();
    parameters.extend(query.iter().flat_map(|query| of_query(*query, generator)));
    parameters.extend(headers.iter().map(|header| {
        let Header { name, description } = header;
        json!({"name": name, "in": "header", "description": description, "schema": {"type": "string"}})
    }));
    let problems = PROBLEMS.iter().chain(*problems);
    let mut responses: Map<String, Value> =
        problems.map(|status| (status.to_string(), json!({"$ref": "#/components/responses/Problem"}))).collect();
    responses.extend(answers.iter().map(|answer| (answer.status.to_string(), told(answer, &parts, generator))));
    let mut operation =
        json!({"operationId": id, "summary": summary, "parameters": parameters, "responses": responses});
    if let Some((schema, required)) = body {
        let mut schema = schema(generator);
        transformed(&mut schema);
        operation["requestBody"] = json!({"required": required, "content": {"application/json": {"schema": schema}}});
        if *may_be_yaml {
            operation["requestBody"]["content"]["application/yaml"] = json!({"schema": schema});
        }
    }
    operation
}

fn told(answer: &Answer, parts: &[&str], generator: &mut SchemaGenerator) -> Value {
    let Answer { status: _, description, body, may_stream, headers, leads_to } = answer;
    let mut told = json!({"description": description});
    if let Some(schema) = body {
        told["content"]["application/json"] = json!({"schema": schema(generator)});
    }
    if *may_stream {
        told["content"]["text/event-stream"] = json!({"schema": {"type": "string"}});
    }
    for Header { name, description } in *headers {
        told["headers"][name] = json!({"description": description, "schema": {"type": "string"}});
    }
    for id in leads_to {
        let of_body = |part: &str| (part.to_owned(), json!(format!("$response.body#/{part}")));
        let parameters: Map<_, _> = parts.iter().copied().chain(["name"]).map(of_body).collect();
        told["links"][id] = json!({"operationId": id, "parameters": parameters});
    }
    told
}

/// The named parts of a path.
fn parts_of(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn part(name: &str) -> Value {
    let schema = match name {
        "namespace" => json!({"type": "string", "minLength": 1, "maxLength": 63}),
        "run" => json!({"type": "string", "pattern": "^[a-z0-9-]{1,63}$"}),
        _ => json!({"type": "string", "minLength": 1, "maxLength": 253}),
    };
    json!({"name": name, "in": "path", "required": true, "schema": schema})
}

/// Each property of an object is a parameter of the query.
fn of_query(query: SchemaOf, generator: &mut SchemaGenerator) -> Vec<Value> {
    let mut schema = query(generator);
    transformed(&mut schema);
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = of_given(schema);
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        json!({"name": name, "in": "query", "description": description.unwrap_or_default(), "schema": schema})
    };
    properties.map(parameter).collect()
}

/// The schema of a parameter that is given: a query has no null.
fn of_given(schema: &Value) -> Value {
    let mut given = schema.clone();
    if let Some(Value::Array(types)) = schema.get("type") {
        given["type"] = types[0].clone();
    }
    if let (Some(Value::Array(ways)), Some(given)) = (schema.get("anyOf"), given.as_object_mut()) {
        given.remove("anyOf");
        given.extend(ways[0].as_object().cloned().unwrap_or_default());
    }
    given
}

fn transformed(schema: &mut Schema) {
    OfOpenApi.transform(schema);
}

/// Turns what only the API server of Kubernetes understands into JSON Schema.
#[derive(Debug, Clone)]
struct OfOpenApi;

impl Transform for OfOpenApi {
    fn transform(&mut self, schema: &mut Schema) {
        if schema.remove("nullable") == Some(true.into())
            && let Some(Value::String(one)) = schema.get("type").cloned()
        {
            schema.insert("type".to_owned(), json!([one, "null"]));
        }
        for rule in schema.remove("x-kubernetes-validations").iter().filter_map(Value::as_array).flatten() {
            if let Some(pattern) = rule["rule"].as_str().and_then(pattern_of) {
                schema.insert("pattern".to_owned(), pattern.into());
            }
        }
        transform_subschemas(self, schema);
    }
}

/// The pattern of a rule that begins with one.
fn pattern_of(rule: &str) -> Option<String> {
    let (pattern, _) = rule.strip_prefix(MATCHES.0)?.split_once(MATCHES.1)?;
    Some(pattern.replace("\\\\", "\\"))
}

/// The schema of a name.
pub(super) fn name() -> Value {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 253}).to_value()
}
