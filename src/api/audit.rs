//! `/api/v1/audit`, for the cluster or a namespace: audit entries of decisions and acts, newest first, or as a live stream.
//!
//! Each replica knows only its own entries since it started.

use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ApiState;
use super::endpoint::{ApiEndpoint, inline_schema};
use super::extract::ApiRequest;
use super::limits::{AUDIT_PAGE, EVENTS_PER_POLL};
use super::listener::{EventFeed, EventListener, EventQueue};
use super::problem::ApiProblem;
use super::request::respond;
use crate::audit::recent::{AuditLine, LineSubject, NewLines};
use crate::features::backend::Backend;
use crate::kubernetes::client::access::ProtectedResource;

/// Filters of the audit log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    /// Kind of the entries: only decisions, or only acts.
    kind: Option<AuditEntryKind>,
    /// Action of a decision, such as `Disable`, or kind of an act, such as `Extend`.
    action: Option<String>,
    /// Workload of a decision, such as `Deployment/web`.
    workload: Option<String>,
    /// Largest number of entries; 100 if absent.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
    /// Stream server-sent events: first a snapshot, then each new entry.
    watch: Option<bool>,
}

/// Kind of an audit entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "Kind")]
enum AuditEntryKind {
    /// Decision for a pod.
    Decision,
    /// Act of a user, or of the clock.
    Act,
}

/// Entries of the audit log.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Audit")]
pub(super) struct AuditResponse {
    /// Entries of the audit log, newest first.
    #[schemars(with = "Vec<Value>")]
    items: Vec<AuditLine>,
    /// True if other replicas may have more entries.
    partial: bool,
}

pub(super) fn endpoints() -> Vec<ApiEndpoint> {
    let endpoint = |id, path| {
        let summary = "Lists decisions and acts, as this replica recorded them since its start.";
        ApiEndpoint::cached_get::<AuditResponse, _>(id, path, summary, list)
            .with_query(inline_schema::<AuditQuery>)
            .with_stream()
    };
    vec![endpoint("listAudit", "/api/v1/audit"), endpoint("listNamespaceAudit", "/api/v1/namespaces/{namespace}/audit")]
}

/// Lists the newest entries, or streams new ones.
pub(super) async fn list(request: ApiRequest) -> Response {
    let namespace = request.path_part("namespace");
    respond(async {
        let session = request.begin_read(ProtectedResource::Decisions, namespace.as_deref()).await?;
        let result = async {
            session.authorize("list").await?;
            let query = AuditQuery::from_request(&request)?;
            if query.watch == Some(true) {
                let listener = EventListener::new(&session, ProtectedResource::Decisions, namespace.clone())?;
                return Ok(listener.stream(AuditFeed { query, seen: None }));
            }
            let scope = namespace.clone();
            request.compute_answer(&session, move |api| Ok(query.newest_entries(api, scope.as_deref()).0)).await
        };
        session.record_outcome(result.await)
    })
    .await
}

impl AuditQuery {
    fn from_request(request: &ApiRequest) -> Result<Self, ApiProblem> {
        let query: Self = request.parse_query()?;
        match query.limit {
            Some(limit) if !(1..=AUDIT_PAGE.max).contains(&limit) => {
                Err(ApiProblem::new(400, format!("limit is {limit}, which is not between 1 and {}", AUDIT_PAGE.max)))
            }
            _ => Ok(query),
        }
    }

    /// Returns the newest entries, and the number of all lines so far.
    fn newest_entries(&self, api: &ApiState, namespace: Option<&str>) -> (AuditResponse, u64) {
        let NewLines { lines, count, .. } = api.audit.recent().lines_since(0, usize::MAX);
        let matching = lines.into_iter().rev().filter(|line| self.matches(line.subject(), namespace));
        let items = matching.take(self.limit.unwrap_or(AUDIT_PAGE.default)).collect();
        (AuditResponse { items, partial: has_other_replicas(api) }, count)
    }

    fn matches(&self, about: &LineSubject, namespace: Option<&str>) -> bool {
        let (decided, done) = (about.action.as_deref(), about.act.as_deref());
        let is_of_workload = |requested: &str| {
            let of = about.workload.as_ref().zip(requested.split_once('/'));
            of.is_some_and(|(own, (kind, name))| {
                own.kind.eq_ignore_ascii_case(kind) && own.name.eq_ignore_ascii_case(name)
            })
        };
        namespace.is_none_or(|requested| about.namespace() == Some(requested))
            && self.kind.is_none_or(|kind| if kind == AuditEntryKind::Act { done.is_some() } else { decided.is_some() })
            && self.action.as_deref().is_none_or(|action| decided == Some(action) || done == Some(action))
            && self.workload.as_deref().is_none_or(is_of_workload)
    }
}

/// Whether other replicas may exist, each with entries of its own.
pub(super) fn has_other_replicas(api: &ApiState) -> bool {
    matches!(api.backend, Backend::Cluster(_))
}

struct AuditFeed {
    query: AuditQuery,
    /// Lines that were seen; none before the snapshot.
    seen: Option<u64>,
}

impl EventFeed for AuditFeed {
    fn push_news(&mut self, listener: &EventListener, queue: &mut EventQueue) {
        let namespace = listener.namespace.as_deref();
        let Some(seen) = self.seen else {
            let (snapshot, count) = self.query.newest_entries(&listener.api, namespace);
            self.seen = Some(count);
            return queue.push("snapshot", count, &snapshot);
        };
        let NewLines { lines, missed, count } = listener.api.audit.recent().lines_since(seen, EVENTS_PER_POLL);
        self.seen = Some(count);
        if missed > 0 {
            queue.push("missed", count, &json!({"count": missed}));
        }
        for line in lines.iter().filter(|line| self.query.matches(line.subject(), namespace)) {
            queue.push("entry", count, line);
        }
    }
}
