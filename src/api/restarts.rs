//! `/api/v1/namespaces/{namespace}/restarts`: the pods of workloads are replaced, one wave after another, with the caller's own token.
//!
//! Guarantees: the token is held for its restart alone. When it is over, or this process ends, the restart stops where it is, and
//! whoever may can go on with it or give it up, here or by the command. Each replica knows those that it runs itself.
//! Limits: namespaces are read one after another, for a minute each at most.

mod asked;
mod forgotten;
mod planned;
mod runs;
mod step;
mod told;
mod watched;

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::Api;
use super::endpoint::{Answer, Endpoint, Operation, schema_of, schema_of_inline};
use super::listener::Listener;
use super::problem::Problem;
use super::reading::Asked as Request;
use super::request::{carried_through, json_answer, read, turn, whole};
use super::session::{Attempt, Other, Session};
use crate::audit::act::Deed;
use crate::features::restart::left::Left;
use crate::kernel::text::Clean;
use crate::kernel::text::nearest;
use crate::kubernetes::client::access::Resource;
use crate::kubernetes::client::restarts::Restarts;
use crate::kubernetes::client::restarts::run::{Pace, Runner};
use asked::{Checked, Wanted};
use forgotten::{Forgotten, forget};
use planned::{Planned, read_in_turn, refused_by_the_first};
use runs::Run;
pub(super) use runs::Runs;
use told::{Begun, Listed, Restart, RestartInFull};
use watched::Steps;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Acting {
    /// Whether to say what would be done, and whether it may be, and do nothing.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Watching {
    /// Server-sent events: a snapshot first, then each step, what is waited for, and the end.
    watch: Option<bool>,
}

const ALL: &str = "/api/v1/namespaces/{namespace}/restarts";
const ONE: &str = "/api/v1/namespaces/{namespace}/restarts/{run}";

/// What is served of that.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let begun = Answer { headers: &[told::LOCATION], ..Answer::json::<Begun>(202, "It has begun, or goes on.") };
    let creating = Operation {
        id: "restartWorkloads",
        summary: "Restarts workloads of a namespace, one wave after another; or goes on with a restart that is not over.",
        query: Some(schema_of_inline::<Acting>),
        body: Some((schema_of::<Wanted>, true)),
        answers: vec![
            begun,
            Answer::json::<Planned>(200, "What would be done; without dryRun there is nothing to do."),
        ],
        problems: &[408, 409, 413, 415, 422],
        ..Operation::default()
    };
    let telling = Operation {
        id: "getRestart",
        summary: "Tells how far a restart of this replica has come, or each step of it as it comes.",
        query: Some(schema_of_inline::<Watching>),
        answers: vec![Answer { may_stream: true, ..Answer::json::<RestartInFull>(200, "How far it has come.") }],
        ..Operation::default()
    };
    let cancelling = Operation {
        id: "cancelRestart",
        summary: "Stops a restart: what has begun rolls out by itself, and nothing else begins.",
        answers: vec![Answer::json::<Restart>(202, "It stops as soon as what is being written is.")],
        problems: &[409],
        ..Operation::default()
    };
    let forgetting = Operation {
        id: "forgetRestart",
        summary: "Gives a restart up that is not over: its marks go off its workloads, and nothing else becomes of them.",
        query: Some(schema_of_inline::<Acting>),
        answers: vec![Answer::json::<Forgotten>(200, "It is given up; of a dry run what would be.")],
        problems: &[409, 422],
        ..Operation::default()
    };
    vec![
        Endpoint::reading::<Listed, _>(
            "listRestarts",
            ALL,
            "Lists the restarts that this replica runs, or has run, the newest first.",
            list,
        ),
        Endpoint::post(ALL.to_owned(), create, creating),
        Endpoint::get(ONE.to_owned(), one, telling),
        Endpoint::post(format!("{ONE}/cancel"), cancel, cancelling),
        Endpoint::post(format!("{ONE}/forget"), forget, forgetting),
    ]
}

/// Lists them.
pub(super) async fn list(request: Request) -> Response {
    let namespace = request.part("namespace").unwrap_or_default();
    let of = namespace.clone();
    let look = move |api: &Api| Ok(Listed::of(api, &of));
    request.looked(("list", Resource::Workloads), Some(&namespace), look).await
}

/// Tells of one.
pub(super) async fn one(request: Request) -> Response {
    let namespace = request.part("namespace").unwrap_or_default();
    let find = |session: &Session<'_>| {
        let Watching { watch } = request.query()?;
        let run = named(&request, &namespace)?;
        if watch == Some(true) {
            let listener = Listener::new(session, Resource::Workloads, Some(namespace.clone()))?;
            return Ok(listener.hear(Steps::of(run)));
        }
        Ok(json_answer(StatusCode::OK, &RestartInFull::of(&run)))
    };
    request.found(("list", Resource::Workloads), Some(&namespace), find).await
}

fn named(request: &Request, namespace: &str) -> Result<Arc<Run>, Problem> {
    let wanted = request.part("run").unwrap_or_default();
    if let Some(found) = request.api.restarts.named(namespace, &wanted) {
        return Ok(found);
    }
    let all = request.api.restarts.of_namespace(namespace);
    let meant = nearest(&wanted, all.iter().map(|run| run.id.as_str()));
    let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
    let (wanted, namespace) = (Clean(&wanted), Clean(namespace));
    Err(Problem::not_found(format!("this replica has run no restart {wanted} in namespace {namespace}{meant}")))
}

/// Begins one, or goes on with one.
pub(super) async fn create(request: Request, body: Body) -> Response {
    let acting: Result<Acting, Problem> = request.query();
    let dry_run = acting.as_ref().is_ok_and(|acting| acting.dry_run);
    let namespace = request.part("namespace").unwrap_or_default();
    let other = Other::of("Restart", &namespace, None);
    let attempt = Attempt::on(Deed::Restart, other, (&namespace, None), dry_run, request.peer);
    carried_through(&Arc::clone(&request.api), async move {
        let Request { api, headers, .. } = &request;
        let mut session = Session::begin(api, headers, attempt).await?;
        let begun = async {
            acting?;
            session.may("list").await?;
            let body = whole(body).await?;
            begun(&mut session, &namespace, read(headers, &body)?).await
        }
        .await;
        let (response, running) = session.done(begun)?;
        // Its beginning is recorded before its end.
        running.map(|running| api.under_way.spawn(running));
        Ok(response)
    })
    .await
}

/// An answer, and what is to run from then on.
type Beginning = (Response, Option<BoxFuture<'static, ()>>);

async fn begun(session: &mut Session<'_>, namespace: &str, wanted: Wanted) -> Result<Beginning, Problem> {
    let (api, dry_run) = (session.api, session.attempt.dry_run);
    let Checked { whom, except, pace } = wanted.checked()?;
    let restarts = restarts_of(session)?;
    let found = read_in_turn(api, &session.caller.user, &restarts, namespace).await?;
    let (run, left, mut plan) = planned::planned(api, found, namespace, (whom, except)).await?;
    let Left { workloads, excepted } = &left;
    // Not before: whoever waits to be planned keeps no other change waiting.
    let _turn = turn(api).await?;
    let other = session.attempt.other.as_mut().expect("an attempt with an object tells of it");
    other.object.name = Some(run.clone());
    let mut after = json!({"workloads": workloads.len()});
    if !excepted.is_empty() {
        after["excepted"] = excepted.len().into();
    }
    other.after = Some(after);
    if dry_run || (workloads.is_empty() && excepted.is_empty()) {
        plan.refused = planned::refused(&restarts, &run, &left).await;
        return Ok((json_answer(StatusCode::OK, &plan), None));
    }
    match workloads.first().filter(|first| first.mark.is_none()) {
        Some(first) => refused_by_the_first(&restarts, &run, first).await?,
        None => session.may_with("patch", Resource::Deployments).await?,
    }
    let run = api.restarts.begin(Run::new(run, namespace, &session.attempt, workloads.len(), api.clock.now()))?;
    let mut response = json_answer(StatusCode::ACCEPTED, &Begun::of(&run, plan));
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v1/namespaces/{namespace}/restarts/{}", run.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    let running = running(Arc::clone(api), run, restarts, (left, pace), session.attempt.clone());
    Ok((response, Some(running.boxed())))
}

/// Restarts with the rights of whoever asks.
fn restarts_of(session: &Session<'_>) -> Result<Restarts, Problem> {
    let nothing = "what there is comes from files, and nothing runs there that could be restarted";
    session.api.backend.restarts(&session.token)?.ok_or_else(|| Problem::new(409, nothing))
}

/// Runs it until it ends, and records how.
async fn running(api: Arc<Api>, run: Arc<Run>, restarts: Restarts, (left, pace): (Left, Pace), attempt: Attempt) {
    let ending = run.ending(&api, attempt);
    let tell = |step| run.tell(step, api.clock.now());
    let (kinds, clock) = (&api.inventory.owner_kinds, &api.clock);
    let runner = Runner { restarts: &restarts, run: &run.id, kinds, pace, clock, cancel: &run.cancel, tell: &tell };
    ending.with(runner.restart(left).await);
}

/// Stops one.
pub(super) async fn cancel(request: Request) -> Response {
    let (namespace, wanted) = (request.part("namespace").unwrap_or_default(), request.part("run"));
    let other = Other::of("Restart", &namespace, wanted.as_deref());
    let attempt = Attempt::on(Deed::RestartCancel, other, (&namespace, None), false, request.peer);
    carried_through(&Arc::clone(&request.api), async move {
        let session = Session::begin(&request.api, &request.headers, attempt).await?;
        let cancelled = async {
            session.may("list").await?;
            let run = named(&request, &namespace)?;
            if run.user != session.caller.user {
                session.may_with("patch", Resource::Deployments).await?;
            }
            if run.is_over() {
                return Err(Problem::new(409, format!("restart {} is over; there is nothing to stop", run.id)));
            }
            run.cancel.cancel();
            Ok(json_answer(StatusCode::ACCEPTED, &Restart::of(&run)))
        };
        session.done(cancelled.await)
    })
    .await
}
