//! `/api/v1/preview` and `/api/v1/namespaces/{namespace}/preview`: what policies and suspensions would change; nothing is applied.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Api;
use super::endpoint::{Answer, Endpoint, Operation, schema_of, schema_of_inline};
use super::problem::Problem;
use super::reading::{Asked, beside, known_namespace, unread_while};
use super::request::{answer, json_answer, objects, whole};
use crate::features::preview::change::{Change, Reading, Refused, Words};
use crate::features::preview::comparison::origins_with;
use crate::features::preview::proposal::{Previewed, previewed};
use crate::features::status::running::RunningPods;
use crate::kernel::names::{GROUP, VERSION};
use crate::kernel::text::Clean;
use crate::kubernetes::client::access::Resource;
use crate::kubernetes::inventory::rule_kind::RuleKind;

/// How to ask for something else here.
const WORDS: Words = Words { as_enforced: "asEnforced=true", at: "at=" };
/// So many workloads are told of, unless another number is asked for.
const USUAL: usize = 1000;
/// No more are told of.
const MOST: usize = 10_000;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Wanted {
    /// What would go away, separated by commas: KIND/NAME, or KIND/NAMESPACE/NAME.
    delete: Option<String>,
    /// Whether policies in mode Audit count as in Enforce.
    #[serde(default)]
    as_enforced: bool,
    /// The time that stands in for now.
    at: Option<Timestamp>,
    /// How many workloads are told of at most; 1000 unless it is given. The summary counts all.
    #[schemars(range(min = 0, max = MOST))]
    limit: Option<usize>,
}

/// Proposals, as `kubectl apply` takes them.
struct Proposals;

/// What they would change, as `outrigger preview -o json` prints it.
#[derive(Debug, Serialize, JsonSchema)]
struct Answered {
    #[serde(flatten)]
    previewed: Previewed,
    /// How many workloads would change and are not told of, since there are more than asked for.
    omitted: usize,
    /// Parts of the cluster that are not known here.
    unread: Vec<String>,
    /// Whether the answer is not complete without those.
    partial: bool,
}

/// What is served of that.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let of = |id, summary, path: &str| {
        let operation = Operation {
            id,
            summary,
            query: Some(schema_of_inline::<Wanted>),
            body: Some((schema_of::<Proposals>, false)),
            may_be_yaml: true,
            answers: vec![Answer::json::<Answered>(
                200,
                "What new pods would get, where that is not what they get now.",
            )],
            problems: &[408, 413, 415, 422],
            ..Operation::default()
        };
        Endpoint::post(path.to_owned(), preview, operation)
    };
    vec![
        of(
            "previewCluster",
            "Tells what policies and suspensions would change, before they are applied.",
            "/api/v1/preview",
        ),
        of(
            "previewNamespace",
            "Tells what policies and suspensions of a namespace would change there, before they are applied.",
            "/api/v1/namespaces/{namespace}/preview",
        ),
    ]
}

/// Previews.
pub(super) async fn preview(asked: Asked, body: Body) -> Response {
    answer(async {
        let namespace = asked.part("namespace");
        let session = asked.session(Resource::Workloads, namespace.as_deref()).await?;
        let found = async {
            let wanted: Wanted = asked.query()?;
            if let Some(limit) = wanted.limit.filter(|limit| *limit > MOST) {
                return Err(Problem::new(400, format!("limit is {limit}, which is more than {MOST}")));
            }
            session.may("list").await?;
            let proposed = objects(&asked.headers, &whole(body).await?)?;
            beside(&asked.api, &session.caller.user, move |api| answered(api, namespace.as_deref(), &wanted, &proposed))
                .await
        };
        let found = session.done(found.await)?;
        Ok(json_answer(StatusCode::OK, &found))
    })
    .await
}

fn answered(api: &Api, namespace: Option<&str>, wanted: &Wanted, objects: &[Value]) -> Result<Answered, Problem> {
    let inventory = &api.inventory;
    if let Some(namespace) = namespace {
        known_namespace(inventory, namespace)?;
    }
    let now = wanted.at.unwrap_or_else(|| api.clock.now());
    let reading = Reading { namespace, terms: &api.terms, now, as_enforced: wanted.as_enforced };
    let changes = changes(&reading, wanted.delete.as_deref().unwrap_or_default(), objects)?;
    let (origins, unread) =
        unread_while(inventory, || origins_with(inventory, &RunningPods::within(inventory, namespace)));
    let mut previewed = previewed(inventory, &changes, &origins, (now, WORDS), || ()).map_err(refused)?;
    let omitted = omit(&mut previewed, wanted.limit.unwrap_or(USUAL));
    Ok(Answered { previewed, omitted, partial: !unread.is_empty(), unread })
}

fn changes(reading: &Reading<'_>, delete: &str, objects: &[Value]) -> Result<Vec<Change>, Problem> {
    let mut changes = reading.put(objects).map_err(refused)?;
    for target in delete.split(',').map(str::trim).filter(|target| !target.is_empty()) {
        let parts: Vec<&str> = target.split('/').collect();
        let change = match parts[..] {
            [kind, name] => reading.delete(&kind.to_lowercase(), None, name),
            [kind, namespace, name] => reading.delete(&kind.to_lowercase(), Some(namespace), name),
            _ => {
                let told = "is neither KIND/NAME nor KIND/NAMESPACE/NAME, such as clusterinjectionpolicy/mesh";
                return Err(Problem::new(422, format!("delete: {} {told}", Clean(target))));
            }
        };
        changes.push(change.map_err(refused)?);
    }
    if changes.is_empty() {
        let told = "nothing is proposed: send policies and suspensions, or name in delete what would go away";
        return Err(Problem::new(422, told));
    }
    match (reading.namespace, changes.iter().find(|change| change.namespace() != reading.namespace)) {
        (Some(namespace), Some(other)) => Err(Problem::new(
            422,
            format!("{} is not of namespace {namespace}: POST /api/v1/preview takes it", other.title()),
        )),
        _ => Ok(changes),
    }
}

/// Leaves out what is too much, and says how much that is.
fn omit(previewed: &mut Previewed, limit: usize) -> usize {
    let mut left = limit;
    for of_namespace in &mut previewed.preview.namespaces {
        of_namespace.workloads.truncate(left);
        left -= of_namespace.workloads.len();
    }
    previewed.preview.namespaces.retain(|of_namespace| !of_namespace.workloads.is_empty());
    previewed.preview.summary.changed - (limit - left)
}

fn refused(why: Refused) -> Problem {
    match why {
        Refused::Invalid(sentence) => Problem::new(422, sentence),
        Refused::NotKnown(sentence) => Problem::new(503, sentence),
    }
}

impl JsonSchema for Proposals {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Proposals".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let kinds = RuleKind::ALL.map(|kind| {
            let mut metadata = json!({
                "type": "object", "required": ["name"], "properties": {"name": super::document::name()},
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
                "kind": "ClusterInjectionPolicy",
                "metadata": {"name": "mesh-by-default"},
                "spec": {"action": "Enable"},
            },
        })
    }
}
