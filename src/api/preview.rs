//! `/api/v1/preview` and `/api/v1/namespaces/{namespace}/preview`: previews policies and suspensions; nothing is applied.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ApiState;
use super::endpoint::{ApiEndpoint, OperationSpec, ResponseSpec, component_schema, inline_schema};
use super::extract::{ApiRequest, check_namespace_exists, read_with_pods, with_unread};
use super::limits::PREVIEW_PAGE;
use super::problem::ApiProblem;
use super::request::{json_response, parse_objects, read_body, respond};
use crate::features::preview::refusal::{OptionNames, PreviewRefusal, RuleDeletion};
use crate::features::preview::request::{PreviewReport, PreviewRequest};
use crate::kernel::names::{CLUSTER_INJECTION_POLICY, GROUP, VERSION};
use crate::kernel::text::CleanText;
use crate::kubernetes::client::access::ProtectedResource;
use crate::kubernetes::inventory::rule_kind::RuleKind;

/// Names of the options as this API spells them.
const OPTION_NAMES: OptionNames = OptionNames { as_enforced: "asEnforced=true", at: "at=" };

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PreviewQuery {
    /// Rules that would be deleted, separated by commas: KIND/NAME or KIND/NAMESPACE/NAME.
    delete: Option<String>,
    /// Whether policies in mode Audit count as in Enforce.
    #[serde(default)]
    as_enforced: bool,
    /// Time to use in place of the clock.
    at: Option<Timestamp>,
    /// Most workloads in the answer, 1000 by default; the summary counts all.
    #[schemars(range(min = 0, max = PREVIEW_PAGE.max))]
    limit: Option<usize>,
}

/// Body of the request: policies and suspensions, as `kubectl apply` takes them.
struct ProposalsBody;

/// Preview, as `outrigger preview -o json` prints it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Answered")]
struct PreviewResponse {
    #[serde(flatten)]
    report: PreviewReport,
    /// Number of changed workloads that the limit leaves out.
    omitted: usize,
    /// Parts of the cluster that are not known.
    unread: Vec<String>,
    /// Whether the answer is incomplete, since some parts are not known.
    partial: bool,
}

/// Returns the endpoints of previews.
pub(super) fn endpoints() -> Vec<ApiEndpoint> {
    let endpoint = |id, summary, path: &str| {
        let operation = OperationSpec {
            id,
            summary,
            query: Some(inline_schema::<PreviewQuery>),
            body: Some((component_schema::<ProposalsBody>, false)),
            may_be_yaml: true,
            responses: vec![ResponseSpec::json::<PreviewResponse>(200, "Changes for new pods.")],
            problems: &[408, 413, 415, 422],
            ..OperationSpec::default()
        };
        ApiEndpoint::post(path.to_owned(), preview, operation)
    };
    vec![
        endpoint("previewCluster", "Previews changes of policies and suspensions.", "/api/v1/preview"),
        endpoint(
            "previewNamespace",
            "Previews changes of the policies and suspensions of a namespace.",
            "/api/v1/namespaces/{namespace}/preview",
        ),
    ]
}

pub(super) async fn preview(request: ApiRequest, body: Body) -> Response {
    respond(async {
        let namespace = request.path_part("namespace");
        let session = request.begin_read(ProtectedResource::Workloads, namespace.as_deref()).await?;
        let outcome = async {
            let query: PreviewQuery = request.parse_query()?;
            if let Some(limit) = query.limit.filter(|limit| *limit > PREVIEW_PAGE.max) {
                return Err(ApiProblem::new(400, format!("limit is {limit}: give at most {}", PREVIEW_PAGE.max)));
            }
            session.authorize("list").await?;
            let proposals = parse_objects(&request.headers, &read_body(body).await?)?;
            read_with_pods(&request.api, &session.caller.user, move |api| {
                preview_proposals(api, namespace, &query, proposals)
            })
            .await
        };
        let response = session.record_outcome(outcome.await)?;
        Ok(json_response(StatusCode::OK, &response))
    })
    .await
}

fn preview_proposals(
    api: &ApiState,
    namespace: Option<String>,
    query: &PreviewQuery,
    objects: Vec<Value>,
) -> Result<PreviewResponse, ApiProblem> {
    let inventory = &api.inventory;
    if let Some(namespace) = &namespace {
        check_namespace_exists(inventory, namespace)?;
    }
    let request = PreviewRequest {
        objects,
        deletions: parse_deletions(query.delete.as_deref().unwrap_or_default())?,
        default_namespace: None,
        within: namespace,
        as_enforced: query.as_enforced,
        option_names: OPTION_NAMES,
    };
    let plan = request.prepare(&api.terms, query.at.unwrap_or_else(|| api.clock.now())).map_err(to_problem)?;
    let compare = || plan.compare(inventory, &plan.sources(inventory), || ());
    let (report, unread) = with_unread(inventory, compare);
    let mut report = report.map_err(to_problem)?;
    let omitted = report.truncate(query.limit.unwrap_or(PREVIEW_PAGE.default));
    Ok(PreviewResponse { report, omitted, partial: !unread.is_empty(), unread })
}

fn parse_deletions(delete: &str) -> Result<Vec<RuleDeletion>, ApiProblem> {
    let targets = delete.split(',').map(str::trim).filter(|target| !target.is_empty());
    let parse = |target: &str| {
        let (kind, namespace, name) = match target.split('/').collect::<Vec<_>>()[..] {
            [kind, name] => (kind, None, name),
            [kind, namespace, name] => (kind, Some(namespace), name),
            _ => {
                let fault = "is neither KIND/NAME nor KIND/NAMESPACE/NAME, such as clusterinjectionpolicy/mesh";
                return Err(ApiProblem::new(422, format!("delete: {} {fault}", CleanText(target))));
            }
        };
        Ok(RuleDeletion { kind: kind.to_owned(), namespace: namespace.map(str::to_owned), name: name.to_owned() })
    };
    targets.map(parse).collect()
}

fn to_problem(refusal: PreviewRefusal) -> ApiProblem {
    match refusal {
        PreviewRefusal::Invalid(_) | PreviewRefusal::NothingProposed => ApiProblem::new(422, refusal.to_string()),
        PreviewRefusal::OtherNamespace { .. } => {
            ApiProblem::new(422, format!("{refusal}: send it to POST /api/v1/preview"))
        }
        PreviewRefusal::NotKnown(_) => ApiProblem::new(503, refusal.to_string()),
    }
}

impl JsonSchema for ProposalsBody {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Proposals".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let kinds = RuleKind::ALL.map(|kind| {
            let mut metadata = json!({
                "type": "object", "required": ["name"], "properties": {"name": super::document::name_schema()},
            });
            if kind.is_namespaced() {
                metadata["properties"]["namespace"] = json!({"type": ["string", "null"], "maxLength": 63});
            }
            json!({
                "type": "object",
                "required": ["apiVersion", "kind", "metadata", "spec"],
                "properties": {
                    "apiVersion": {"const": format!("{GROUP}/{VERSION}")},
                    "kind": {"const": kind.as_str()},
                    "metadata": metadata,
                    // Its parts may be null, as for the API server, which no schema of ours says.
                    "spec": {"type": "object"},
                },
                "additionalProperties": false,
            })
        });
        let list = json!({
            "type": "object",
            "required": ["apiVersion", "kind", "items"],
            "properties": {
                "apiVersion": {"const": "v1"},
                "kind": {"const": "List"},
                "items": {"type": "array", "minItems": 1, "items": {"oneOf": kinds}},
            },
        });
        json_schema!({
            "description": "Policies and suspensions, as kubectl apply takes them: one, or a List of them; in YAML also several documents.",
            "oneOf": kinds.iter().cloned().chain([list]).collect::<Vec<_>>(),
            "example": {
                "apiVersion": format!("{GROUP}/{VERSION}"),
                "kind": CLUSTER_INJECTION_POLICY.kind,
                "metadata": {"name": "mesh-by-default"},
                "spec": {"action": "Enable"},
            },
        })
    }
}
