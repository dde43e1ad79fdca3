//! `/api/v1/suspensions` and `/api/v1/namespaces/{namespace}/suspensions`: list, create, extend and end suspensions.

mod change;
mod create;
pub(super) mod response;
mod schema;

use axum::http::StatusCode;
use axum::response::Response;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde_json::Value;

use super::ApiState;
use super::endpoint::{
    ApiEndpoint, HeaderSpec, OperationSpec, ResponseSpec, SchemaFn, component_schema, inline_schema,
};
use super::extract::ApiRequest;
use super::limits::SUSPENSION_PAGE;
use super::problem::ApiProblem;
use super::request::{json_response, respond};
use super::session::{ApiSession, AuditedAttempt};
use super::suspension_events::stream_suspensions;
use crate::audit::act_entry::ActKind;
use crate::features::suspension::prepare::SuspensionWorld;
use crate::kubernetes::client::access::ProtectedResource;
use crate::kubernetes::resources::suspension_fields::SuspensionSubject;
use crate::kubernetes::resources::suspension_object::{SuspensionObject, SuspensionPhase};
use response::{SuspensionDetails, SuspensionListResponse, SuspensionResponse, respond_with};

/// Parameters of a list of suspensions.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SuspensionListQuery {
    /// Subject: only suspensions of injection, or only those of traffic.
    suspend: Option<SuspensionSubject>,
    /// State: only suspensions that are in this state now.
    state: Option<SuspensionStateQuery>,
    /// Maximum number of items, 100 by default.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<usize>,
    /// Value of `continue` in the previous page, for the next page.
    r#continue: Option<String>,
    /// Answer with server-sent events: first snapshot, then created, changed, began, ended and deleted, and closed at the end.
    watch: Option<bool>,
    /// List the suspensions of every namespace, too.
    #[serde(rename = "allNamespaces")]
    all_namespaces: Option<bool>,
}

/// State of a suspension.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[schemars(rename = "WantedState")]
enum SuspensionStateQuery {
    /// The suspension begins later.
    Scheduled,
    /// The suspension is in force.
    InForce,
    /// The suspension has ended.
    Over,
    /// The suspension cannot be read.
    Invalid,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DryRunQuery {
    /// Check the request and answer as usual, but store nothing.
    #[serde(default)]
    dry_run: bool,
}

impl SuspensionListQuery {
    /// Refuses filters of a stream, which always sends every suspension.
    fn check_unfiltered(&self) -> Result<(), ApiProblem> {
        let Self { suspend, state, limit, r#continue, watch: _, all_namespaces } = self;
        let is_filtered = suspend.is_some() || state.is_some() || limit.is_some() || r#continue.is_some();
        if !is_filtered && *all_namespaces != Some(true) {
            return Ok(());
        }
        Err(ApiProblem::new(400, "watch sends every suspension; leave out the other parameters"))
    }
}

impl SuspensionStateQuery {
    fn as_state(self) -> Option<SuspensionPhase> {
        match self {
            Self::Scheduled => Some(SuspensionPhase::Scheduled),
            Self::InForce => Some(SuspensionPhase::InForce),
            Self::Over => Some(SuspensionPhase::Over),
            Self::Invalid => None,
        }
    }
}

const ETAG: HeaderSpec = HeaderSpec { name: "ETag", description: "Version of the suspension, for If-Match." };
const IF_MATCH: HeaderSpec = HeaderSpec {
    name: "If-Match",
    description: "ETag of an earlier answer: the change is refused with 412 if the suspension was changed since.",
};
const IDEMPOTENCY_KEY: HeaderSpec = HeaderSpec {
    name: "Idempotency-Key",
    description: "Key that replaces the name: the same key of the same caller creates only one suspension, however often it is sent.",
};
const LOCATION: HeaderSpec = HeaderSpec { name: "Location", description: "Path of the new suspension." };

pub(super) fn endpoints() -> Vec<ApiEndpoint> {
    let mut all =
        endpoints_under("/api/v1", &CLUSTER_IDS, schema::cluster_request, inline_schema::<SuspensionListQuery>);
    all.extend(endpoints_under(
        "/api/v1/namespaces/{namespace}",
        &NAMESPACE_IDS,
        schema::namespace_request,
        namespace_list_query,
    ));
    all
}

/// OpenAPI operation ids: list, create, get, extend, end.
type OperationIds = [&'static str; 5];
const CLUSTER_IDS: OperationIds =
    ["listSuspensions", "createSuspension", "getSuspension", "extendSuspension", "endSuspension"];
const NAMESPACE_IDS: OperationIds = [
    "listNamespaceSuspensions",
    "createNamespaceSuspension",
    "getNamespaceSuspension",
    "extendNamespaceSuspension",
    "endNamespaceSuspension",
];

fn endpoints_under(
    prefix: &str,
    [listing, creating, getting, extending, ending]: &OperationIds,
    body: SchemaFn,
    query: SchemaFn,
) -> Vec<ApiEndpoint> {
    let (all, one) = (format!("{prefix}/suspensions"), format!("{prefix}/suspensions/{{name}}"));
    let in_full = |status, description| ResponseSpec {
        headers: &[ETAG],
        ..ResponseSpec::json::<SuspensionDetails>(status, description)
    };
    let created = ResponseSpec {
        headers: &[ETAG, LOCATION],
        linked_operations: vec![getting, extending, ending],
        ..in_full(201, "The suspension is created.")
    };
    let changing = |id, summary, answers, body| OperationSpec {
        id,
        summary,
        query: Some(inline_schema::<DryRunQuery>),
        headers: &[IF_MATCH],
        body: Some(body),
        responses: answers,
        problems: &[408, 409, 412, 413, 415, 422],
        ..OperationSpec::default()
    };
    let ended = vec![
        in_full(200, "The suspension is ended."),
        ResponseSpec::empty(204, "The suspension had not begun, and is deleted."),
    ];
    vec![
        ApiEndpoint::get(
            all.clone(),
            list,
            OperationSpec {
                id: listing,
                summary: "Lists suspensions by name, or streams their events.",
                query: Some(query),
                responses: vec![ResponseSpec {
                    may_stream: true,
                    ..ResponseSpec::json::<SuspensionListResponse>(200, "The suspensions.")
                }],
                ..OperationSpec::default()
            },
        ),
        ApiEndpoint::post(
            all,
            create::create,
            OperationSpec {
                id: creating,
                summary: "Creates a suspension, which begins now by default; a repeated request creates no second one.",
                query: Some(inline_schema::<DryRunQuery>),
                headers: &[IDEMPOTENCY_KEY],
                body: Some((body, true)),
                responses: vec![created, in_full(200, "The suspension exists already, or this was a dry run.")],
                problems: &[408, 409, 413, 415, 422],
                ..OperationSpec::default()
            },
        ),
        ApiEndpoint::get(
            one.clone(),
            self::get,
            OperationSpec {
                id: getting,
                summary: "Returns one suspension, with its targets and warnings.",
                responses: vec![in_full(200, "The suspension.")],
                ..OperationSpec::default()
            },
        ),
        ApiEndpoint::post(
            format!("{one}/extend"),
            change::extend,
            changing(
                extending,
                "Gives a suspension a later end.",
                vec![in_full(200, "The suspension ends later.")],
                (component_schema::<change::ExtendRequest>, true),
            ),
        ),
        ApiEndpoint::post(
            format!("{one}/end"),
            change::end,
            changing(ending, "Ends a suspension now.", ended, (component_schema::<change::EndRequest>, false)),
        ),
    ]
}

/// Returns the list query of a namespace, which has no `allNamespaces`.
fn namespace_list_query(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = SuspensionListQuery::json_schema(generator);
    if let Some(parameters) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        parameters.remove("allNamespaces");
    }
    schema
}

/// Returns what plans and effects of suspensions depend on, now.
fn suspension_world(api: &ApiState) -> SuspensionWorld<'_> {
    SuspensionWorld { inventory: &api.inventory, limits: api.terms, now: api.clock.now() }
}

pub(super) async fn list(request: ApiRequest) -> Response {
    let (api, namespace) = (&request.api, request.path_part("namespace"));
    let attempt = AuditedAttempt::on_suspension(ActKind::Read, namespace.clone(), None, false, request.peer);
    respond(async {
        let session = ApiSession::begin(api, &request.headers, attempt).await?;
        let listed = async {
            session.authorize("list").await?;
            let query: SuspensionListQuery = request.parse_query()?;
            if query.all_namespaces == Some(true) {
                if namespace.is_some() {
                    return Err(ApiProblem::new(400, "allNamespaces is only for /api/v1/suspensions"));
                }
                session.authorize_for("list", ProtectedResource::SuspensionPolicies).await?;
            }
            if query.watch == Some(true) {
                query.check_unfiltered()?;
                return stream_suspensions(&session, namespace.clone());
            }
            list_page(api, namespace.as_deref(), &query)
        };
        session.record_outcome(listed.await)
    })
    .await
}

fn list_page(api: &ApiState, namespace: Option<&str>, query: &SuspensionListQuery) -> Result<Response, ApiProblem> {
    let SuspensionListQuery { suspend, state, limit, r#continue, watch: _, all_namespaces } = query;
    let limit = limit.unwrap_or(SUSPENSION_PAGE.default);
    if !(1..=SUSPENSION_PAGE.max).contains(&limit) {
        return Err(ApiProblem::new(
            400,
            format!("limit is {limit}, which is not between 1 and {}", SUSPENSION_PAGE.max),
        ));
    }
    let now = api.clock.now();
    let mut all = api.inventory.rule_records.suspensions();
    all.retain(|(object, period)| {
        let phase = period.map(|period| period.phase(now));
        (*all_namespaces == Some(true) || object.namespace.as_deref() == namespace)
            && suspend.is_none_or(|subject| subject == object.spec.suspend)
            && state.is_none_or(|state| state.as_state() == phase)
            && r#continue.as_deref().is_none_or(|after| list_position(object).as_str() > after)
    });
    all.sort_by_cached_key(|(object, _)| list_position(object));
    let more = all.len() > limit;
    all.truncate(limit);
    let r#continue = all.last().filter(|_| more).map(|(object, _)| list_position(object));
    let items = all.iter().map(|(object, period)| SuspensionResponse::from_object(object, *period, now)).collect();
    Ok(json_response(StatusCode::OK, &SuspensionListResponse { items, r#continue }))
}

/// Returns the sort key of a list: suspensions of the cluster first, then by namespace and name. Names cannot contain `!`.
fn list_position(object: &SuspensionObject) -> String {
    format!("{}!{}", object.namespace.as_deref().unwrap_or_default(), object.name)
}

pub(super) async fn get(request: ApiRequest) -> Response {
    let (api, namespace, name) = (&request.api, request.path_part("namespace"), request.path_part("name"));
    let attempt = AuditedAttempt::on_suspension(ActKind::Read, namespace.clone(), name.clone(), false, request.peer);
    respond(async {
        let session = ApiSession::begin(api, &request.headers, attempt).await?;
        let response = async {
            session.authorize("get").await?;
            // Read from the store, not from the watch: callers must see their own changes at once, on any replica.
            let stored = api
                .backend
                .suspension_store(&session.token)?
                .get(namespace.as_deref(), &name.unwrap_or_default())
                .await?;
            Ok(respond_with(api, &stored.object, StatusCode::OK).await)
        };
        session.record_outcome(response.await)
    })
    .await
}
