//! `/api/v1/audit`, of the cluster or of a namespace: what was decided and done, the newest first; and live.
//!
//! The entries are those of the audit log. Each replica knows its own alone, of the time since it started.

use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Api;
use super::endpoint::{Endpoint, schema_of_inline};
use super::listener::{Feed, Listener, Telling};
use super::problem::Problem;
use super::reading::Asked;
use super::request::answer;
use crate::audit::recent::{About, Line, News};
use crate::features::backend::Backend;
use crate::kubernetes::client::access::Resource;

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
    #[schemars(with = "Vec<Value>")]
    items: Vec<Line>,
    /// Whether other replicas know of more.
    partial: bool,
}

/// What is served of the record.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let of = |id, path| {
        let summary = "Tells what was decided and done, by the record of this replica since it started.";
        Endpoint::reading::<Told, _>(id, path, summary, list).with_query(schema_of_inline::<Wanted>).with_stream()
    };
    vec![of("listAudit", "/api/v1/audit"), of("listNamespaceAudit", "/api/v1/namespaces/{namespace}/audit")]
}

/// Lists the newest, or tells of each that comes.
pub(super) async fn list(asked: Asked) -> Response {
    let namespace = asked.part("namespace");
    answer(async {
        let session = asked.session(Resource::Decisions, namespace.as_deref()).await?;
        let found = async {
            session.may("list").await?;
            let wanted = Wanted::checked(&asked)?;
            if wanted.watch == Some(true) {
                let listener = Listener::new(&session, Resource::Decisions, namespace.clone())?;
                return Ok(listener.hear(Entries { wanted, seen: None }));
            }
            let of = namespace.clone();
            asked.told(&session, move |api| Ok(wanted.told(api, of.as_deref()).0)).await
        };
        session.done(found.await)
    })
    .await
}

impl Wanted {
    fn checked(asked: &Asked) -> Result<Self, Problem> {
        let wanted: Self = asked.query()?;
        match wanted.limit {
            Some(limit) if !(1..=MOST).contains(&limit) => {
                Err(Problem::new(400, format!("limit is {limit}, which is not between 1 and {MOST}")))
            }
            _ => Ok(wanted),
        }
    }

    /// The newest, and how many there have been.
    fn told(&self, api: &Api, namespace: Option<&str>) -> (Told, u64) {
        let News { lines, count, .. } = api.audit.recent().since(0, usize::MAX);
        let met = lines.into_iter().rev().filter(|line| self.is_met_by(line.about(), namespace));
        let items = met.take(self.limit.unwrap_or(USUAL)).collect();
        (Told { items, partial: is_partial(api) }, count)
    }

    fn is_met_by(&self, about: &About, namespace: Option<&str>) -> bool {
        let (decided, done) = (about.action.as_deref(), about.act.as_deref());
        let is_of_workload = |wanted: &str| {
            let of = about.workload.as_ref().zip(wanted.split_once('/'));
            of.is_some_and(|(own, (kind, name))| {
                own.kind.eq_ignore_ascii_case(kind) && own.name.eq_ignore_ascii_case(name)
            })
        };
        namespace.is_none_or(|wanted| about.namespace() == Some(wanted))
            && self.kind.is_none_or(|kind| if kind == Kind::Act { done.is_some() } else { decided.is_some() })
            && self.action.as_deref().is_none_or(|action| decided == Some(action) || done == Some(action))
            && self.workload.as_deref().is_none_or(is_of_workload)
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
        for line in lines.iter().filter(|line| self.wanted.is_met_by(line.about(), namespace)) {
            telling.say("entry", count, line);
        }
    }
}
