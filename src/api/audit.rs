//! `/api/v1/audit`, of the cluster or of a namespace: what was decided and done, the newest first; and live.
//!
//! The entries are those of the audit log. Each replica knows its own alone, of the time since it started.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Api;
use super::endpoint::{Answer, Endpoint, Operation, schema_of_inline};
use super::listener::Listener;
use super::problem::Problem;
use super::reading::Asked;
use super::request::json_answer;
use super::session::Session;
use crate::audit::recent::News;
use crate::backend::Backend;
use crate::cluster::access::Resource;

/// How many are answered where nothing else is asked for.
const USUAL: usize = 100;
/// And at most.
const MOST: usize = 1000;
/// How often it is looked for new ones.
const TICK: Duration = Duration::from_millis(250);
/// So many are told of at a time; how many more there were is told instead.
const MOST_AT_ONCE: usize = 100;

/// What can be asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only decisions, or only acts.
    kind: Option<Kind>,
    /// Of decisions the action, such as `Disable`; of acts what was done, such as `Extend`.
    action: Option<String>,
    /// Of decisions: the workload, such as `Deployment/web`.
    workload: Option<String>,
    /// At most so many, 100 where it is left out.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
    /// Server-sent events: first a snapshot, then each new entry.
    watch: Option<bool>,
}

/// What an entry tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
enum Kind {
    /// What was decided for a pod.
    Decision,
    /// What somebody did, or the clock.
    Act,
}

/// What was decided and done.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Audit")]
pub(super) struct Told {
    /// Lines of the audit log, the newest first.
    items: Vec<Value>,
    /// Whether other replicas know of more.
    partial: bool,
}

/// What is served of the record.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let of = |id, path: &str| {
        let answer = Answer { may_stream: true, ..Answer::json::<Told>(200, "The newest first, or each as it comes.") };
        Endpoint::get(
            path.to_owned(),
            list,
            Operation {
                id,
                summary: "Tells what was decided and done, by the record of this replica since it started.",
                query: Some(schema_of_inline::<Wanted>),
                answers: vec![answer],
                ..Operation::default()
            },
        )
    };
    vec![of("listAudit", "/api/v1/audit"), of("listNamespaceAudit", "/api/v1/namespaces/{namespace}/audit")]
}

/// Lists the newest, or tells of each that comes.
pub(super) async fn list(asked: Asked) -> Response {
    let namespace = asked.part("namespace");
    let find = |session: &Session<'_>| {
        let wanted: Wanted = asked.query()?;
        let limit = wanted.limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            return Err(Problem::new(400, format!("limit is {limit}, which is not between 1 and {MOST}")));
        }
        if wanted.watch == Some(true) {
            let api = Arc::clone(&asked.api);
            let listener = Listener::new(api, session.token.clone(), Resource::Decisions, namespace.clone())?;
            return Ok(events(listener, wanted));
        }
        let (told, _) = wanted.told(&asked.api, namespace.as_deref());
        Ok(json_answer(StatusCode::OK, &told))
    };
    asked.found(("list", Resource::Decisions), namespace.as_deref(), find).await
}

impl Wanted {
    /// The newest, and how many there have been.
    fn told(&self, api: &Api, namespace: Option<&str>) -> (Told, u64) {
        let News { lines, count, .. } = api.audit.recent().since(0, usize::MAX);
        let entries = lines.iter().rev().filter_map(|line| self.entry(line, namespace));
        let items = entries.take(self.limit.unwrap_or(USUAL)).collect();
        (Told { items, partial: is_partial(api) }, count)
    }

    /// The entry of a line, if it is wanted.
    fn entry(&self, line: &[u8], namespace: Option<&str>) -> Option<Value> {
        let entry: Value = serde_json::from_slice(line).ok()?;
        let (decided, done) = (entry["action"].as_str(), entry["act"].as_str());
        let own = entry["namespace"].as_str().or(entry["object"]["namespace"].as_str());
        let is_of_workload = |wanted: &str| {
            let of = |key: &str| entry["workload"][key].as_str().unwrap_or_default();
            format!("{}/{}", of("kind"), of("name")).eq_ignore_ascii_case(wanted)
        };
        let is_wanted = namespace.is_none_or(|wanted| own == Some(wanted))
            && self.kind.is_none_or(|kind| if kind == Kind::Act { done.is_some() } else { decided.is_some() })
            && self.action.as_deref().is_none_or(|action| decided == Some(action) || done == Some(action))
            && self.workload.as_deref().is_none_or(is_of_workload);
        is_wanted.then_some(entry)
    }
}

/// Whether there are other replicas, of which each knows its own entries.
pub(super) fn is_partial(api: &Api) -> bool {
    matches!(api.backend, Backend::Cluster(_))
}

/// One that listens.
struct Listening {
    listener: Listener,
    wanted: Wanted,
    ticks: Interval,
    waiting: VecDeque<Event>,
    /// How many lines have been seen.
    seen: u64,
    is_over: bool,
}

fn events(listener: Listener, wanted: Wanted) -> Response {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (told, seen) = wanted.told(&listener.api, listener.namespace.as_deref());
    let mut listening = Listening { listener, wanted, ticks, waiting: VecDeque::new(), seen, is_over: false };
    listening.say("snapshot", &json!(told));
    let events = stream::unfold(listening, async |mut listening: Listening| {
        let event = listening.next().await?;
        Some((Ok::<_, Infallible>(event), listening))
    });
    Sse::new(Box::pin(events)).keep_alive(KeepAlive::default()).into_response()
}

impl Listening {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.is_over {
                return None;
            }
            self.ticks.tick().await;
            match self.listener.authorize().await {
                Ok(()) => self.look(),
                Err(why) => {
                    self.is_over = true;
                    self.say("closed", &json!({"detail": why.to_string()}));
                }
            }
        }
    }

    fn look(&mut self) {
        let News { lines, missed, count } = self.listener.api.audit.recent().since(self.seen, MOST_AT_ONCE);
        self.seen = count;
        if missed > 0 {
            self.say("missed", &json!({"count": missed}));
        }
        let namespace = self.listener.namespace.clone();
        for line in lines {
            if let Some(entry) = self.wanted.entry(&line, namespace.as_deref()) {
                self.say("entry", &entry);
            }
        }
    }

    fn say(&mut self, event: &str, data: &Value) {
        self.waiting.push_back(Event::default().event(event).id(self.seen.to_string()).data(data.to_string()));
    }
}
