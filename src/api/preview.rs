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
use crate::features::pod_source::pod_sources_with;
use crate::features::preview::change::{ChangeReader, OptionNames, PreviewRefusal, ProposedChange};
use crate::features::preview::proposal::{PreviewReport, preview_changes};
use crate::features::status::running::RunningPods;
use crate::kernel::names::{CLUSTER_INJECTION_POLICY, GROUP, VERSION};
use crate::kernel::text::CleanText;
use crate::kubernetes::client::access::ProtectedResource;
use crate::kubernetes::inventory::rule_kind::RuleKind;

/// Names of the options as this API spells them.
const OPTION_NAMES: OptionNames = OptionNames { as_enforced: "asEnforced=true", at: "at=" };

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PreviewQuery {
    /// What would go away, separated by commas: KIND/NAME, or KIND/NAMESPACE/NAME.
    delete: Option<String>,
    /// Whether policies in mode Audit count as in Enforce.
    #[serde(default)]
    as_enforced: bool,
    /// The time that stands in for now.
    at: Option<Timestamp>,
    /// How many workloads are told of at most; 1000 unless it is given. The summary counts all.
    #[schemars(range(min = 0, max = PREVIEW_PAGE.max))]
    limit: Option<usize>,
}

/// Body of the request: policies and suspensions, as `kubectl apply` takes them.
struct ProposalsBody;

/// What they would change, as `outrigger preview -o json` prints it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Answered")]
struct PreviewResponse {
    #[serde(flatten)]
    report: PreviewReport,
    /// How many workloads would change and are not told of, since there are more than asked for.
    omitted: usize,
    /// Parts of the cluster that are not known here.
    unread: Vec<String>,
    /// Whether the answer is not complete without those.
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
            responses: vec![ResponseSpec::json::<PreviewResponse>(
                200,
                "What new pods would get, where that is not what they get now.",
            )],
            problems: &[408, 413, 415, 422],
            ..OperationSpec::default()
        };
        ApiEndpoint::post(path.to_owned(), preview, operation)
    };
    vec![
        endpoint(
            "previewCluster",
            "Tells what policies and suspensions would change, before they are applied.",
            "/api/v1/preview",
        ),
        endpoint(
            "previewNamespace",
            "Tells what policies and suspensions of a namespace would change there, before they are applied.",
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
                return Err(ApiProblem::new(400, format!("limit is {limit}, which is more than {}", PREVIEW_PAGE.max)));
            }
            session.authorize("list").await?;
            let proposals = parse_objects(&request.headers, &read_body(body).await?)?;
            read_with_pods(&request.api, &session.caller.user, move |api| {
                preview_proposals(api, namespace.as_deref(), &query, &proposals)
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
    namespace: Option<&str>,
    query: &PreviewQuery,
    objects: &[Value],
) -> Result<PreviewResponse, ApiProblem> {
    let inventory = &api.inventory;
    if let Some(namespace) = namespace {
        check_namespace_exists(inventory, namespace)?;
    }
    let now = query.at.unwrap_or_else(|| api.clock.now());
    let reader = ChangeReader { namespace, rule_limits: &api.terms, now, as_enforced: query.as_enforced };
    let changes = read_changes(&reader, query.delete.as_deref().unwrap_or_default(), objects)?;
    let (sources, unread) =
        with_unread(inventory, || pod_sources_with(inventory, &RunningPods::in_namespace(inventory, namespace)));
    let mut report = preview_changes(inventory, &changes, &sources, (now, OPTION_NAMES), || ()).map_err(to_problem)?;
    let omitted = truncate(&mut report, query.limit.unwrap_or(PREVIEW_PAGE.default));
    Ok(PreviewResponse { report, omitted, partial: !unread.is_empty(), unread })
}

fn read_changes(reader: &ChangeReader<'_>, delete: &str, objects: &[Value]) -> Result<Vec<ProposedChange>, ApiProblem> {
    let mut changes = reader.read_manifests(objects).map_err(to_problem)?;
    for target in delete.split(',').map(str::trim).filter(|target| !target.is_empty()) {
        let parts: Vec<&str> = target.split('/').collect();
        let change = match parts[..] {
            [kind, name] => reader.read_deletion(&kind.to_lowercase(), None, name),
            [kind, namespace, name] => reader.read_deletion(&kind.to_lowercase(), Some(namespace), name),
            _ => {
                let fault = "is neither KIND/NAME nor KIND/NAMESPACE/NAME, such as clusterinjectionpolicy/mesh";
                return Err(ApiProblem::new(422, format!("delete: {} {fault}", CleanText(target))));
            }
        };
        changes.push(change.map_err(to_problem)?);
    }
    if changes.is_empty() {
        let fault = "nothing is proposed: send policies and suspensions, or name in delete what would go away";
        return Err(ApiProblem::new(422, fault));
    }
    match (reader.namespace, changes.iter().find(|change| change.namespace() != reader.namespace)) {
        (Some(namespace), Some(other)) => Err(ApiProblem::new(
            422,
            format!("{} is not of namespace {namespace}: POST /api/v1/preview takes it", other.title()),
        )),
        _ => Ok(changes),
    }
}

/// Limits the number of workloads, and returns how many it removed.
fn truncate(report: &mut PreviewReport, limit: usize) -> usize {
    let mut remaining = limit;
    for namespace in &mut report.preview.namespaces {
        namespace.workloads.truncate(remaining);
        remaining -= namespace.workloads.len();
    }
    report.preview.namespaces.retain(|namespace| !namespace.workloads.is_empty());
    report.preview.summary.changed - (limit - remaining)
}

fn to_problem(refusal: PreviewRefusal) -> ApiProblem {
    match refusal {
        PreviewRefusal::Invalid(sentence) => ApiProblem::new(422, sentence),
        PreviewRefusal::NotKnown(sentence) => ApiProblem::new(503, sentence),
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
