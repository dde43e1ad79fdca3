//! `/api/v1/suspensions` and `/api/v1/namespaces/{namespace}/suspensions`: listed, made, extended, ended.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::Extension;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::LengthLimitError;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::events::events;
use super::problem::Problem;
use super::session::{Attempt, Session};
use super::{Api, BODY, PATIENCE};
use crate::audit::act::Deed;
use crate::cluster::access::Resource;
use crate::decision::reason::Clean;
use crate::resources::suspending::{Period, lasting};
use crate::resources::suspension_object::SuspensionObject;
use crate::server::listener::Peer;
use crate::suspensions::change::{Ending, Extension as Longer, asks_for_the_same, drafted, ended, extended};
use crate::suspensions::live::{Live, Unstored};
use crate::suspensions::whom::whom;
use crate::traffic::routing_for;

/// How many are listed where nothing else is asked for, and at most.
const USUAL: usize = 100;
const MOST: usize = 500;
/// How many workloads are named.
const MOST_NAMED: usize = 20;
/// The header that makes a repeated creation one.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// A body has so long to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// A change that lost a race is tried again so often, where no state was asked for.
const TRIES: usize = 5;

pub(super) type Place = Path<std::collections::HashMap<String, String>>;

/// Where a request goes.
fn place(Path(mut parts): Place) -> (Option<String>, Option<String>) {
    (parts.remove("namespace"), parts.remove("name"))
}

/// What can be asked of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    suspend: Option<String>,
    state: Option<String>,
    limit: Option<usize>,
    r#continue: Option<String>,
    watch: Option<bool>,
    /// Beside the cluster's own those of every namespace.
    #[serde(rename = "allNamespaces")]
    all_namespaces: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Acting {
    #[serde(default)]
    dry_run: bool,
}

/// How much longer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Extended {
    by: Option<String>,
    expires_at: Option<Timestamp>,
    reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ended {
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    items: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#continue: Option<String>,
}

/// Lists them.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    place: Place,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let (namespace, _) = self::place(place);
    let attempt = Attempt::new(Deed::Read, namespace.clone(), None, false, peer);
    answer(async {
        let session = Session::begin(&api, &headers, attempt).await?;
        let listed = async {
            session.may("list").await?;
            let wanted: Wanted = query_of(query.as_deref())?;
            if wanted.all_namespaces == Some(true) {
                if namespace.is_some() || wanted.watch == Some(true) {
                    return Err(Problem::new(400, "allNamespaces is for a list of the cluster, and not for watch"));
                }
                session.may_with("list", Resource::SuspensionPolicies).await?;
            }
            if wanted.watch == Some(true) {
                return events(Arc::clone(&api), session.token.clone(), namespace.clone());
            }
            listed(&api, namespace.as_deref(), &wanted)
        };
        session.done(listed.await)
    })
    .await
}

fn listed(api: &Api, namespace: Option<&str>, wanted: &Wanted) -> Result<Response, Problem> {
    let Wanted { suspend, state, limit, r#continue, watch: _, all_namespaces } = wanted;
    one_of("suspend", suspend.as_deref(), &["Injection", "Traffic"])?;
    one_of("state", state.as_deref(), &["Scheduled", "InForce", "Over", "Invalid"])?;
    let limit = limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::new(400, format!("limit is {limit}, which is not between 1 and {MOST}")));
    }
    let after = r#continue.as_deref().map(unpacked).transpose()?;
    let now = api.clock.now();
    let mut all = api.inventory.standings.suspensions();
    all.retain(|(object, period)| {
        let is_state = |wanted: &str| period.map_or("Invalid", |period| period.state(now).as_str()) == wanted;
        (*all_namespaces == Some(true) || object.namespace.as_deref() == namespace)
            && suspend.as_deref().is_none_or(|wanted| (wanted == "Traffic") == object.suspends_traffic())
            && state.as_deref().is_none_or(is_state)
            && after.as_deref().is_none_or(|after| place_of(object).as_str() > after)
    });
    all.sort_by_key(|(object, _)| place_of(object));
    let more = all.len() > limit;
    all.truncate(limit);
    let r#continue = all.last().filter(|_| more).map(|(object, _)| URL_SAFE_NO_PAD.encode(place_of(object)));
    let items = all.iter().map(|(object, period)| told(object, *period, now)).collect();
    Ok(json_answer(StatusCode::OK, &json!(Listed { items, r#continue })))
}

/// Where one stands in a list: those of the cluster first, then by namespace and name, in which `!` cannot be.
fn place_of(object: &SuspensionObject) -> String {
    format!("{}!{}", object.namespace.as_deref().unwrap_or_default(), object.name)
}

fn unpacked(token: &str) -> Result<String, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    bytes.ok_or_else(|| Problem::new(400, "continue is not what a list answered; leave it out to begin anew"))
}

/// Tells of one.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    place: Place,
    headers: HeaderMap,
) -> Response {
    let (namespace, name) = self::place(place);
    let attempt = Attempt::new(Deed::Read, namespace.clone(), name.clone(), false, peer);
    answer(async {
        let session = Session::begin(&api, &headers, attempt).await?;
        let found = async {
            session.may("get").await?;
            let name = name.unwrap_or_default();
            let all = api.inventory.standings.suspensions();
            let found = all.into_iter().find(|(object, _)| object.namespace == namespace && object.name == name);
            let missing = || Problem::not_found(format!("there is no suspension {}", Clean(&name)));
            Ok(answer_with(&api, &found.ok_or_else(missing)?.0, StatusCode::OK))
        };
        session.done(found.await)
    })
    .await
}

/// Makes one.
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    place: Place,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let (namespace, _) = self::place(place);
    let acting: Result<Acting, Problem> = query_of(query.as_deref());
    let dry_run = acting.as_ref().is_ok_and(|acting| acting.dry_run);
    let attempt = Attempt::new(Deed::Create, namespace.clone(), None, dry_run, peer);
    answer(async {
        let mut session = Session::begin(&api, &headers, attempt).await?;
        let made = async {
            acting?;
            session.may("create").await?;
            let _turn = turn(&api).await?;
            let body = whole(body).await?;
            let mut fields: Map<String, Value> = read(&headers, &body)?;
            let name = name_of(&mut fields, &session, &headers)?;
            session.attempt.name = Some(name.clone());
            made(&mut session, fields, name).await
        }
        .await;
        session.done(made)
    })
    .await
}

async fn made(session: &mut Session<'_>, fields: Map<String, Value>, name: String) -> Result<Response, Problem> {
    let (api, namespace, dry_run) = (session.api, session.attempt.namespace.clone(), session.attempt.dry_run);
    let starts_were_given = fields.contains_key("startsAt");
    let spec = serde_json::from_value(Value::Object(fields));
    let spec =
        spec.map_err(|error| Problem::new(422, format!("this is no suspension: {}", Clean(&error.to_string()))))?;
    let draft = drafted(namespace, name, spec, session.attempt.id.clone(), api.clock.now(), &api.terms)?;
    session.attempt.after = Some(draft.clone());
    let writing = api.backend.writing(&session.token)?;
    let created = match unobstructed(api, &draft) {
        Ok(()) => writing.create(&draft, dry_run).await.map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    match created {
        Ok(Live { object, .. }) => {
            session.attempt.after = Some(object.clone());
            let mut response = answer_with(api, &object, if dry_run { StatusCode::OK } else { StatusCode::CREATED });
            if !dry_run && let Ok(location) = HeaderValue::from_str(&path_of(&object)) {
                response.headers_mut().insert(LOCATION, location);
            }
            Ok(response)
        }
        // The same once more is no conflict, also not with what the first has made.
        Err(problem) if problem.status == 409 => {
            let stands = writing.get(draft.namespace.as_deref(), &draft.name).await;
            let Ok(Live { object: stands, .. }) = stands else { return Err(problem) };
            if !asks_for_the_same(&stands, &draft, starts_were_given) {
                let asks = format!("{} stands there, and asks for something else", stands.named());
                return Err(Problem::new(409, format!("{asks}; choose another name, or extend or end it")));
            }
            session.attempt.after = Some(stands.clone());
            Ok(answer_with(api, &stands, StatusCode::OK))
        }
        Err(problem) => Err(problem),
    }
}

/// One suspension in full, with its tag.
fn answer_with(api: &Api, object: &SuspensionObject, status: StatusCode) -> Response {
    let period = object.period(api.terms.longest_suspension).ok();
    tagged(json_answer(status, &in_full(api, object, period)), object)
}

/// Refuses what could not be carried out.
fn unobstructed(api: &Api, draft: &SuspensionObject) -> Result<(), Problem> {
    let obstacles: Vec<_> = match draft.suspends_traffic() {
        true => routing_for(&api.inventory, draft, api.clock.now())
            .into_iter()
            .filter_map(|one| one.routing.err())
            .collect(),
        false => Vec::new(),
    };
    match obstacles.first() {
        None => Ok(()),
        Some(first) => {
            let status = match first.reason() {
                "Taken" => 409,
                "Unknown" => 503,
                _ => 422,
            };
            let sentences: Vec<_> = obstacles.iter().map(|one| one.sentence()).collect();
            Err(Problem::new(status, sentences.join("; ")))
        }
    }
}

/// Gives one a later end.
pub(super) async fn extend(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    place: Place,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    change(&api, peer, place, query, headers, body, Deed::Extend).await
}

/// Ends one now.
pub(super) async fn end(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    place: Place,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    change(&api, peer, place, query, headers, body, Deed::End).await
}

async fn change(
    api: &Arc<Api>,
    peer: Peer,
    place: Place,
    query: Option<String>,
    headers: HeaderMap,
    body: Body,
    deed: Deed,
) -> Response {
    let (namespace, name) = self::place(place);
    let acting: Result<Acting, Problem> = query_of(query.as_deref());
    let dry_run = acting.as_ref().is_ok_and(|acting| acting.dry_run);
    let attempt = Attempt::new(deed, namespace, name, dry_run, peer);
    answer(async {
        let mut session = Session::begin(api, &headers, attempt).await?;
        let changed = async {
            acting?;
            session.may("get").await?;
            session.may("patch").await?;
            let _turn = turn(api).await?;
            let asked = asked(&headers, &whole(body).await?, deed)?;
            session.attempt.reason.clone_from(&asked.reason);
            changed(&mut session, &headers, &asked).await
        }
        .await;
        session.done(changed)
    })
    .await
}

/// What a change is to come to.
struct Asked {
    longer: Option<Longer>,
    reason: Option<String>,
}

fn asked(headers: &HeaderMap, body: &Bytes, deed: Deed) -> Result<Asked, Problem> {
    if deed == Deed::End {
        let Ended { reason } = if body.is_empty() { Ended::default() } else { read(headers, body)? };
        return Ok(Asked { longer: None, reason });
    }
    let Extended { by, expires_at, reason } = read(headers, body)?;
    let longer = match (by, expires_at) {
        (Some(by), None) => Longer::By(
            lasting(&by).ok_or_else(|| Problem::new(422, "by is not a positive duration, such as 3h, 2h30m or 90s"))?,
        ),
        (None, Some(until)) => Longer::Until(until),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::new(422, "exactly one of by and expiresAt says how much longer"));
        }
    };
    Ok(Asked { longer: Some(longer), reason })
}

async fn changed(session: &mut Session<'_>, headers: &HeaderMap, asked: &Asked) -> Result<Response, Problem> {
    let (api, dry_run) = (session.api, session.attempt.dry_run);
    let (namespace, name) = (session.attempt.namespace.clone(), session.attempt.name.clone().unwrap_or_default());
    let writing = api.backend.writing(&session.token)?;
    let wanted_state = headers.get(IF_MATCH);
    let mut tries = 1..=TRIES;
    loop {
        let is_last = tries.next().is_none_or(|attempt| attempt == TRIES);
        let live = writing.get(namespace.as_deref(), &name).await?;
        session.attempt.before = Some(live.object.clone());
        if wanted_state.is_some_and(|wanted| !names_state(wanted, &live.object)) {
            return Err(Problem::new(412, "it has been changed since you read it; read it again"));
        }
        let now = api.clock.now();
        let ending = match asked.longer {
            Some(longer) => Ending::Write(Box::new(extended(&live.object, longer, now, &api.terms)?)),
            None => ended(&live.object, now, &api.terms)?,
        };
        let written = match &ending {
            Ending::Write(object) => writing.replace(&live, object, dry_run).await.map(Some),
            Ending::Delete => writing.delete(&live, dry_run).await.map(|()| None),
        };
        match written {
            Ok(Some(Live { object, .. })) => {
                session.attempt.after = Some(object.clone());
                return Ok(answer_with(api, &object, StatusCode::OK));
            }
            // It had not begun, and is no more.
            Ok(None) => return Ok(StatusCode::NO_CONTENT.into_response()),
            Err(Unstored::Changed(_)) if wanted_state.is_some() => {
                return Err(Problem::new(412, "it has been changed since you read it; read it again"));
            }
            Err(Unstored::Changed(_)) if !is_last => {}
            Err(why) => return Err(why.into()),
        }
    }
}

/// A name that was given, or one that is the same for the same key of the same caller, or a new one.
fn name_of(fields: &mut Map<String, Value>, session: &Session<'_>, headers: &HeaderMap) -> Result<String, Problem> {
    match fields.remove("name") {
        Some(Value::String(name)) => return Ok(name),
        Some(_) => return Err(Problem::new(422, "name is not a text")),
        None => {}
    }
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(format!("suspension-{}", &session.attempt.id[..8])) };
    let namespace = session.attempt.namespace.as_deref().unwrap_or_default();
    let parts = [session.caller.user.as_bytes(), namespace.as_bytes(), key.as_bytes()].join(&0);
    let hash = digest(&SHA256, &parts);
    let hex: String = hash.as_ref()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("suspension-{hex}"))
}

async fn turn(api: &Api) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
    match tokio::time::timeout(PATIENCE, api.changes.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) | Err(_) => Err(Problem::new(503, "too many changes are under way; try again in a second")),
    }
}

/// The body, which is not read before it is known who sends it, and that they may.
async fn whole(body: Body) -> Result<Bytes, Problem> {
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if std::error::Error::source(&error).is_some_and(|cause| cause.is::<LengthLimitError>()) => {
            Err(Problem::new(413, "the body is larger than 1 MiB"))
        }
        Ok(Err(_)) => Err(Problem::new(400, "the body ended early; send it again")),
        Err(_) => Err(Problem::new(408, "the body took too long to arrive; send it again")),
    }
}

fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Problem> {
    let essence = headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().split(|byte| *byte == b';').next());
    if !essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(b"application/json")) {
        return Err(Problem::new(415, "the body is to be JSON; send it with Content-Type: application/json"));
    }
    serde_json::from_slice(body).map_err(|error| {
        let status = if error.is_data() { 422 } else { 400 };
        Problem::new(status, format!("the body cannot be read: {}", Clean(&error.to_string())))
    })
}

/// The parameters of a query, of which none may be unknown.
pub(super) fn query_of<T: DeserializeOwned>(query: Option<&str>) -> Result<T, Problem> {
    let uri = format!("/?{}", query.unwrap_or_default())
        .parse()
        .map_err(|_| Problem::new(400, "the query cannot be read"))?;
    let parsed = axum::extract::Query::<T>::try_from_uri(&uri);
    parsed.map(|query| query.0).map_err(|error| Problem::new(400, Clean(&error.body_text()).to_string()))
}

pub(super) fn one_of(what: &str, value: Option<&str>, known: &[&str]) -> Result<(), Problem> {
    match value.filter(|value| !known.contains(value)) {
        None => Ok(()),
        Some(value) => {
            Err(Problem::new(400, format!("{what} is \"{}\", which is none of {}", Clean(value), known.join(", "))))
        }
    }
}

/// One suspension, as every answer tells of it.
pub(super) fn told(object: &SuspensionObject, period: Option<Period>, now: Timestamp) -> Value {
    let mut told = object.to_json()["spec"].take();
    let extra = json!({
        "kind": object.kind(), "namespace": object.namespace, "name": object.name, "uid": object.uid,
        "generation": object.generation, "auditId": object.audit_id(),
        "state": period.map_or("Invalid", |period| period.state(now).as_str()),
        "startsAt": period.map(|period| period.starts_at).filter(|start| *start != Timestamp::MIN),
        "endsAt": period.and_then(|period| period.ends_at),
    });
    for (key, value) in extra.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        told[key] = value.clone();
    }
    told
}

/// The same with whom it is about, and what is to be known of it.
fn in_full(api: &Api, object: &SuspensionObject, period: Option<Period>) -> Value {
    let now = api.clock.now();
    let mut body = told(object, period, now);
    let mut warnings: Vec<String> = Vec::new();
    if period.is_some_and(|period| period.is_shortened) {
        warnings.push("the installation's maximum ends it earlier than was asked for".to_owned());
    }
    if object.suspends_traffic() {
        let services = routing_for(&api.inventory, object, now);
        let of_service = |one: &crate::traffic::OfService| match &one.routing {
            Ok(routing) => json!({
                "namespace": one.namespace, "name": one.service, "notReached": routing.not_reached,
            }),
            Err(obstacle) => json!({
                "namespace": one.namespace, "name": one.service, "obstacle": obstacle.sentence(), "reason": obstacle.reason(),
            }),
        };
        body["routing"] = services.iter().map(of_service).collect();
    } else {
        let whom = whom(&api.inventory, object, &api.terms, now);
        let named = whom.workloads.iter().take(MOST_NAMED);
        let named: Vec<_> =
            named.map(|one| json!({"namespace": &*one.namespace, "kind": &*one.kind, "name": &*one.name})).collect();
        if whom.workloads.is_empty() && whom.unknown == 0 {
            warnings.push("it matches no workload at present; it holds for those that come".to_owned());
        }
        if !whom.also.is_empty() {
            warnings.push(format!(
                "some are suspended by {} too, and are as long as any of them holds",
                whom.also.join(", ")
            ));
        }
        body["matched"] = json!({"workloads": whom.workloads.len(), "unknown": whom.unknown, "first": named});
    }
    body["warnings"] = json!(warnings);
    body
}

fn etag(object: &SuspensionObject) -> String {
    format!("\"{}-{}\"", object.uid.as_deref().unwrap_or_default(), object.generation.unwrap_or_default())
}

fn names_state(wanted: &HeaderValue, object: &SuspensionObject) -> bool {
    let tag = etag(object);
    wanted.to_str().is_ok_and(|wanted| wanted.split(',').any(|one| one.trim() == "*" || one.trim() == tag))
}

fn tagged(mut response: Response, object: &SuspensionObject) -> Response {
    if let (Some(_), Ok(tag)) = (&object.uid, HeaderValue::from_str(&etag(object))) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

fn path_of(object: &SuspensionObject) -> String {
    let SuspensionObject { namespace, name, .. } = object;
    match namespace {
        Some(namespace) => format!("/api/v1/namespaces/{namespace}/suspensions/{name}"),
        None => format!("/api/v1/suspensions/{name}"),
    }
}

pub(super) fn json_answer(status: StatusCode, body: &Value) -> Response {
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    (status, [(CONTENT_TYPE, "application/json")], bytes).into_response()
}

pub(super) async fn answer(work: impl Future<Output = Result<Response, Problem>>) -> Response {
    work.await.unwrap_or_else(IntoResponse::into_response)
}
