//! `/api/v1/suspensions` and `/api/v1/namespaces/{namespace}/suspensions`: listed, made, extended, ended.

mod asked;
mod changed;
mod created;
pub(super) mod told;

use axum::http::StatusCode;
use axum::response::Response;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde_json::Value;

use super::Api;
use super::endpoint::{Answer, Endpoint, Header, Operation, SchemaOf, schema_of, schema_of_inline};
use super::events::events;
use super::problem::Problem;
use super::reading::Asked;
use super::request::{answer, json_answer};
use super::session::{Attempt, Session};
use crate::audit::act::Deed;
use crate::kubernetes::client::access::Resource;
use crate::kubernetes::resources::suspending::Suspend;
use crate::kubernetes::resources::suspension_object::{State, SuspensionObject};
use told::{Listed, Suspension, SuspensionInFull, answer_with};

/// How many are listed where nothing else is asked for, and at most.
const USUAL: usize = 100;
const MOST: usize = 500;

/// What can be asked of a list.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Only those of injection, or of traffic.
    suspend: Option<Suspend>,
    /// Only those that stand so by the clock.
    state: Option<WantedState>,
    /// At most so many, 100 where it is left out.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<usize>,
    /// What the list before answered, for the rest of it.
    r#continue: Option<String>,
    /// Whether to answer with server-sent events: snapshot first, then created, changed, began, ended, deleted, and closed at the end.
    watch: Option<bool>,
    /// Beside the cluster's own those of every namespace.
    #[serde(rename = "allNamespaces")]
    all_namespaces: Option<bool>,
}

/// How a suspension stands by the clock.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
enum WantedState {
    /// It is still to begin.
    Scheduled,
    /// It holds.
    InForce,
    /// It has ended.
    Over,
    /// It cannot be read.
    Invalid,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Acting {
    /// Whether to say what would be done, and do nothing.
    #[serde(default)]
    dry_run: bool,
}

impl Wanted {
    /// A stream tells of all.
    fn is_of_all(&self) -> Result<(), Problem> {
        let Self { suspend, state, limit, r#continue, watch: _, all_namespaces } = self;
        let is_filtered = suspend.is_some() || state.is_some() || limit.is_some() || r#continue.is_some();
        if !is_filtered && *all_namespaces != Some(true) {
            return Ok(());
        }
        Err(Problem::new(400, "watch tells of every suspension there; leave out the other parameters"))
    }
}

impl WantedState {
    fn stands(self) -> Option<State> {
        match self {
            Self::Scheduled => Some(State::Scheduled),
            Self::InForce => Some(State::InForce),
            Self::Over => Some(State::Over),
            Self::Invalid => None,
        }
    }
}

const ETAG: Header = Header { name: "ETag", description: "Names this state of the suspension, for If-Match." };
const IF_MATCH: Header =
    Header { name: "If-Match", description: "What ETag said: the change is refused with 412 if it is another by now." };
const IDEMPOTENCY_KEY: Header = Header {
    name: "Idempotency-Key",
    description: "Instead of a name: the same key of the same caller makes one suspension, however often it is sent.",
};
const LOCATION: Header = Header { name: "Location", description: "Where the new suspension is." };

/// What is served of suspensions.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut all = of("/api/v1", &OF_CLUSTER, asked::of_cluster, schema_of_inline::<Wanted>);
    all.extend(of("/api/v1/namespaces/{namespace}", &OF_NAMESPACE, asked::of_namespace, wanted_of_namespace));
    all
}

/// What programs call the operations: list, create, get, extend, end.
type Ids = [&'static str; 5];
const OF_CLUSTER: Ids = ["listSuspensions", "createSuspension", "getSuspension", "extendSuspension", "endSuspension"];
const OF_NAMESPACE: Ids = [
    "listNamespaceSuspensions",
    "createNamespaceSuspension",
    "getNamespaceSuspension",
    "extendNamespaceSuspension",
    "endNamespaceSuspension",
];

fn of(
    prefix: &str,
    [listing, creating, getting, extending, ending]: &Ids,
    body: SchemaOf,
    wanted: SchemaOf,
) -> Vec<Endpoint> {
    let (all, one) = (format!("{prefix}/suspensions"), format!("{prefix}/suspensions/{{name}}"));
    let in_full =
        |status, description| Answer { headers: &[ETAG], ..Answer::json::<SuspensionInFull>(status, description) };
    let created = Answer {
        headers: &[ETAG, LOCATION],
        leads_to: vec![getting, extending, ending],
        ..in_full(201, "It is made.")
    };
    let changing = |id, summary, answers, body| Operation {
        id,
        summary,
        query: Some(schema_of_inline::<Acting>),
        headers: &[IF_MATCH],
        body: Some(body),
        answers,
        problems: &[408, 409, 412, 413, 415, 422],
        ..Operation::default()
    };
    let ended = vec![in_full(200, "It is over."), Answer::empty(204, "It had not begun, and is no more.")];
    vec![
        Endpoint::get(
            all.clone(),
            list,
            Operation {
                id: listing,
                summary: "Lists suspensions by name, or streams them as they begin, change and end.",
                query: Some(wanted),
                answers: vec![Answer { may_stream: true, ..Answer::json::<Listed>(200, "Those that are wanted.") }],
                ..Operation::default()
            },
        ),
        Endpoint::post(
            all,
            created::create,
            Operation {
                id: creating,
                summary: "Makes a suspension, which begins now unless it says otherwise; the same once more is no other.",
                query: Some(schema_of_inline::<Acting>),
                headers: &[IDEMPOTENCY_KEY],
                body: Some((body, true)),
                answers: vec![created, in_full(200, "It stands already, or nothing was to be done.")],
                problems: &[408, 409, 413, 415, 422],
                ..Operation::default()
            },
        ),
        Endpoint::get(
            one.clone(),
            self::one,
            Operation {
                id: getting,
                summary: "Tells of one suspension, whom it is about, and what is to be known of it.",
                answers: vec![in_full(200, "The suspension.")],
                ..Operation::default()
            },
        ),
        Endpoint::post(
            format!("{one}/extend"),
            changed::extend,
            changing(
                extending,
                "Gives it a later end.",
                vec![in_full(200, "It ends later.")],
                (schema_of::<changed::Extended>, true),
            ),
        ),
        Endpoint::post(
            format!("{one}/end"),
            changed::end,
            changing(ending, "Ends it now.", ended, (schema_of::<changed::Ended>, false)),
        ),
    ]
}

/// A namespace has no others beside it.
fn wanted_of_namespace(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = Wanted::json_schema(generator);
    if let Some(parameters) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        parameters.remove("allNamespaces");
    }
    schema
}

/// Lists them.
pub(super) async fn list(asked: Asked) -> Response {
    let (api, namespace) = (&asked.api, asked.part("namespace"));
    let attempt = Attempt::new(Deed::Read, namespace.clone(), None, false, asked.peer);
    answer(async {
        let session = Session::begin(api, &asked.headers, attempt).await?;
        let listed = async {
            session.may("list").await?;
            let wanted: Wanted = asked.query()?;
            if wanted.all_namespaces == Some(true) {
                if namespace.is_some() {
                    return Err(Problem::new(400, "allNamespaces is for a list of the cluster"));
                }
                session.may_with("list", Resource::SuspensionPolicies).await?;
            }
            if wanted.watch == Some(true) {
                wanted.is_of_all()?;
                return events(&session, namespace.clone());
            }
            listed(api, namespace.as_deref(), &wanted)
        };
        session.done(listed.await)
    })
    .await
}

fn listed(api: &Api, namespace: Option<&str>, wanted: &Wanted) -> Result<Response, Problem> {
    let Wanted { suspend, state, limit, r#continue, watch: _, all_namespaces } = wanted;
    let limit = limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::new(400, format!("limit is {limit}, which is not between 1 and {MOST}")));
    }
    let now = api.clock.now();
    let mut all = api.inventory.standings.suspensions();
    all.retain(|(object, period)| {
        let stands = period.map(|period| period.state(now));
        (*all_namespaces == Some(true) || object.namespace.as_deref() == namespace)
            && suspend.is_none_or(|wanted| wanted == object.spec.suspend)
            && state.is_none_or(|wanted| wanted.stands() == stands)
            && r#continue.as_deref().is_none_or(|after| place_of(object).as_str() > after)
    });
    all.sort_by_cached_key(|(object, _)| place_of(object));
    let more = all.len() > limit;
    all.truncate(limit);
    let r#continue = all.last().filter(|_| more).map(|(object, _)| place_of(object));
    let items = all.iter().map(|(object, period)| Suspension::told(object, *period, now)).collect();
    Ok(json_answer(StatusCode::OK, &Listed { items, r#continue }))
}

/// Where one stands in a list: those of the cluster first, then by namespace and name, in which `!` cannot be.
fn place_of(object: &SuspensionObject) -> String {
    format!("{}!{}", object.namespace.as_deref().unwrap_or_default(), object.name)
}

/// Tells of one.
pub(super) async fn one(asked: Asked) -> Response {
    let (api, namespace, name) = (&asked.api, asked.part("namespace"), asked.part("name"));
    let attempt = Attempt::new(Deed::Read, namespace.clone(), name.clone(), false, asked.peer);
    answer(async {
        let session = Session::begin(api, &asked.headers, attempt).await?;
        let found = async {
            session.may("get").await?;
            // Not from what we have watched: whoever has just made or changed one is to find it so, with any replica.
            let live =
                api.backend.writing(&session.token)?.get(namespace.as_deref(), &name.unwrap_or_default()).await?;
            Ok(answer_with(api, &live.object, StatusCode::OK).await)
        };
        session.done(found.await)
    })
    .await
}
