//! `/api/v1/audit`, of the cluster or of a namespace: what was decided and done, the newest first; and live.
//!
//! The entries are those of the audit log. Each replica knows its own alone, of the time since it started.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Api;
use super::endpoint::{Answer, Endpoint, Operation, schema_of_inline};
use super::listener::{Feed, Listener, Telling};
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
            return Ok(listener.hear(Entries { wanted, seen: None }));
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

/// What has been told.
struct Entries {
    wanted: Wanted,
    /// How many lines have been seen; none before the snapshot.
    seen: Option<u64>,
}

impl Feed for Entries {
    fn look(&mut self, listener: &Listener, telling: &mut Telling) {
        let namespace = listener.namespace.as_deref();
        let Some(seen) = self.seen else {
            let (told, count) = self.wanted.told(&listener.api, namespace);
            self.seen = Some(count);
            return telling.say("snapshot", count, &told);
        };
        let News { lines, missed, count } = listener.api.audit.recent().since(seen, MOST_AT_ONCE);
        self.seen = Some(count);
        if missed > 0 {
            telling.say("missed", count, &json!({"count": missed}));
        }
        for entry in lines.iter().filter_map(|line| self.wanted.entry(line, namespace)) {
            telling.say("entry", count, &entry);
        }
    }
}
