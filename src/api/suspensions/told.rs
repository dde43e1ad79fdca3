//! Suspensions as answers tell of them.

use std::sync::Arc;

use axum::http::header::ETAG;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::Api;
use crate::api::problem::Problem;
use crate::api::request::json_answer;
use crate::features::suspension::traffic::{OfService, routing_for};
use crate::features::suspension::whom::whom;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicySpec;
use crate::kubernetes::resources::suspending::Period;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// How many workloads are named.
const MOST_NAMED: usize = 20;

/// One suspension.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Suspension {
    /// The kind of its object.
    #[schemars(extend("enum" = ["SuspensionPolicy", "ClusterSuspensionPolicy"]))]
    kind: &'static str,
    /// The namespace that it is of, if it is not of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// Its name.
    name: String,
    /// The uid of its object, which a dry run has none of.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    /// How often what is asked for has been written.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<i64>,
    /// What ties it to the entries of the audit log about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_id: Option<String>,
    /// How it stands by the clock.
    #[schemars(extend("enum" = ["Scheduled", "InForce", "Over", "Invalid"]))]
    state: &'static str,
    /// When it ends, with the installation's maximum counted in.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Time>,
    /// What is asked for; startsAt is told also where it was left out.
    #[serde(flatten)]
    spec: ClusterSuspensionPolicySpec,
}

/// Some suspensions.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::api) struct Listed {
    /// By name.
    pub(super) items: Vec<Suspension>,
    /// What asks for the rest of a longer list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) r#continue: Option<String>,
}

/// One suspension, whom it is about, and what is to be known of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::api) struct SuspensionInFull {
    #[serde(flatten)]
    suspension: Suspension,
    /// Of injection: the workloads that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<Matched>,
    /// Of traffic: each service.
    #[serde(skip_serializing_if = "Option::is_none")]
    routing: Option<Vec<SuspendedService>>,
    /// What is to be known of it.
    warnings: Vec<String>,
}

/// The workloads that a suspension is about.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::api) struct Matched {
    /// How many there are.
    workloads: usize,
    /// Of how many more it cannot be told, since their templates are not read.
    unknown: usize,
    /// The first of them.
    first: Vec<MatchedWorkload>,
}

/// A workload that a suspension is about.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::api) struct MatchedWorkload {
    /// Its namespace.
    namespace: String,
    /// Its kind.
    kind: String,
    /// Its name.
    name: String,
}

/// A service that a suspension is about, and what becomes of its traffic.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SuspendedService {
    /// Its namespace.
    namespace: String,
    /// Its name.
    name: String,
    /// Whom it does not reach, a sentence each.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_reached: Option<Vec<String>>,
    /// What stands in the way, if anything does.
    #[serde(skip_serializing_if = "Option::is_none")]
    obstacle: Option<String>,
    /// The same in a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl Suspension {
    /// How it stands now.
    pub(in crate::api) fn told(object: &SuspensionObject, period: Option<Period>, now: Timestamp) -> Self {
        let mut spec = object.spec.clone();
        if let Some(period) = period {
            spec.starts_at = Some(period.starts_at).filter(|start| *start != Timestamp::MIN).map(Time);
        }
        Self {
            kind: object.kind(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            uid: object.uid.clone(),
            generation: object.generation,
            audit_id: object.audit_id(),
            state: period.map_or("Invalid", |period| period.state(now).as_str()),
            ends_at: period.and_then(|period| period.ends_at).map(Time),
            spec,
        }
    }
}

impl From<OfService> for SuspendedService {
    fn from(OfService { namespace, service: name, routing }: OfService) -> Self {
        match routing {
            Ok(routing) => {
                Self { namespace, name, not_reached: Some(routing.not_reached), obstacle: None, reason: None }
            }
            Err(why) => Self {
                namespace,
                name,
                not_reached: None,
                obstacle: Some(why.sentence().to_owned()),
                reason: Some(why.reason()),
            },
        }
    }
}

/// One suspension in full, with its tag.
pub(super) async fn answer_with(api: &Arc<Api>, object: &SuspensionObject, status: StatusCode) -> Response {
    let (told_of, within) = (object.clone(), Arc::clone(api));
    let Ok(in_full) = api.computed(move || in_full(&within, &told_of)).await else {
        return Problem::new(500, "whom it is about cannot be told; the log of the server says why").into_response();
    };
    let mut response = json_answer(status, &in_full);
    if let (Some(_), Ok(tag)) = (&object.uid, HeaderValue::from_str(&etag(object))) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// What names this state of it.
pub(super) fn etag(object: &SuspensionObject) -> String {
    format!("\"{}-{}\"", object.uid.as_deref().unwrap_or_default(), object.generation.unwrap_or_default())
}

fn in_full(api: &Api, object: &SuspensionObject) -> SuspensionInFull {
    let (now, period) = (api.clock.now(), object.period(api.terms.longest_suspension).ok());
    let mut warnings: Vec<String> = Vec::new();
    if period.is_some_and(|period| period.is_shortened) {
        warnings.push("the installation's maximum ends it earlier than was asked for".to_owned());
    }
    let (matched, routing) = match object.suspends_traffic() {
        true => (None, Some(routing_for(&api.inventory, object, now).into_iter().map(Into::into).collect())),
        false => (Some(matched(api, object, now, &mut warnings)), None),
    };
    SuspensionInFull { suspension: Suspension::told(object, period, now), matched, routing, warnings }
}

fn matched(api: &Api, object: &SuspensionObject, now: Timestamp, warnings: &mut Vec<String>) -> Matched {
    let whom = whom(&api.inventory, object, &api.terms, now);
    let synced = api.inventory.synced();
    if let Some((cache, _)) = synced.iter().find(|(_, is_synced)| !is_synced) {
        warnings.push(format!("whom it matches is not known yet, since {cache} are still being read"));
    } else if whom.workloads.is_empty() && whom.unknown == 0 {
        warnings.push("it matches no workload at present; it holds for those that come".to_owned());
    }
    if !whom.also.is_empty() {
        let others = whom.also.join(", ");
        warnings.push(format!("some are suspended by {others} too, and are as long as any of them holds"));
    }
    let named = whom.workloads.iter().take(MOST_NAMED).map(|one| MatchedWorkload {
        namespace: one.namespace.to_string(),
        kind: one.kind.to_string(),
        name: one.name.to_string(),
    });
    Matched { workloads: whom.workloads.len(), unknown: whom.unknown, first: named.collect() }
}
