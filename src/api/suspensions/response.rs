//! Suspensions in API responses.

use std::sync::Arc;

use axum::http::header::ETAG;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::ApiState;
use crate::api::limits::NAMED_WORKLOADS;
use crate::api::problem::ApiProblem;
use crate::api::request::json_response;
use crate::features::suspension::targets::find_targets;
use crate::features::suspension::traffic::{ServiceSuspension, plan_routing};
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicySpec;
use crate::kubernetes::resources::suspension_fields::SuspensionPeriod;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// One suspension.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Suspension")]
pub(in crate::api) struct SuspensionResponse {
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
#[schemars(rename = "Listed")]
pub(in crate::api) struct SuspensionListResponse {
    /// By name.
    pub(super) items: Vec<SuspensionResponse>,
    /// What asks for the rest of a longer list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) r#continue: Option<String>,
}

/// One suspension, whom it is about, and what is to be known of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SuspensionInFull")]
pub(in crate::api) struct SuspensionDetails {
    #[serde(flatten)]
    suspension: SuspensionResponse,
    /// Of injection: the workloads that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<MatchedWorkloads>,
    /// Of traffic: each service.
    #[serde(skip_serializing_if = "Option::is_none")]
    routing: Option<Vec<SuspendedService>>,
    /// What is to be known of it.
    warnings: Vec<String>,
}

/// The workloads that a suspension is about.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Matched")]
pub(in crate::api) struct MatchedWorkloads {
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

impl SuspensionResponse {
    /// Describes a suspension as of now.
    pub(in crate::api) fn from_object(
        object: &SuspensionObject,
        period: Option<SuspensionPeriod>,
        now: Timestamp,
    ) -> Self {
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
            state: period.map_or("Invalid", |period| period.phase(now).as_str()),
            ends_at: period.and_then(|period| period.ends_at).map(Time),
            spec,
        }
    }
}

impl From<ServiceSuspension> for SuspendedService {
    fn from(ServiceSuspension { namespace, service: name, routing }: ServiceSuspension) -> Self {
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

/// Responds with a suspension in full, and its ETag.
pub(super) async fn respond_with(api: &Arc<ApiState>, object: &SuspensionObject, status: StatusCode) -> Response {
    let (shared_object, shared_api) = (object.clone(), Arc::clone(api));
    let Ok(details) = api.compute(move || suspension_details(&shared_api, &shared_object)).await else {
        return ApiProblem::new(500, "whom it is about cannot be told; the log of the server says why").into_response();
    };
    let mut response = json_response(status, &details);
    if let (Some(_), Ok(tag)) = (&object.uid, HeaderValue::from_str(&etag(object))) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// Returns the ETag of this state: UID and generation.
pub(super) fn etag(object: &SuspensionObject) -> String {
    format!("\"{}-{}\"", object.uid.as_deref().unwrap_or_default(), object.generation.unwrap_or_default())
}

fn suspension_details(api: &ApiState, object: &SuspensionObject) -> SuspensionDetails {
    let (now, period) = (api.clock.now(), object.period(api.terms.longest_suspension).ok());
    let mut warnings: Vec<String> = Vec::new();
    if period.is_some_and(|period| period.is_shortened) {
        warnings.push("the installation's maximum ends it earlier than was asked for".to_owned());
    }
    let (matched, routing) = match object.suspends_traffic() {
        true => (None, Some(plan_routing(&api.inventory, object, now).into_iter().map(Into::into).collect())),
        false => (Some(matched_workloads(api, object, now, &mut warnings)), None),
    };
    SuspensionDetails { suspension: SuspensionResponse::from_object(object, period, now), matched, routing, warnings }
}

fn matched_workloads(
    api: &ApiState,
    object: &SuspensionObject,
    now: Timestamp,
    warnings: &mut Vec<String>,
) -> MatchedWorkloads {
    let targets = find_targets(&api.inventory, object, &api.terms, now);
    let synced = api.inventory.cache_states();
    if let Some((cache, _)) = synced.iter().find(|(_, is_synced)| !is_synced) {
        warnings.push(format!("whom it matches is not known yet, since {cache} are still being read"));
    } else if targets.workloads.is_empty() && targets.unknown == 0 {
        warnings.push("it matches no workload at present; it holds for those that come".to_owned());
    }
    if !targets.overlapping.is_empty() {
        let others = targets.overlapping.join(", ");
        warnings.push(format!("some are suspended by {others} too, and are as long as any of them holds"));
    }
    let named = targets.workloads.iter().take(NAMED_WORKLOADS).map(|one| MatchedWorkload {
        namespace: one.namespace.to_string(),
        kind: one.kind.to_string(),
        name: one.name.to_string(),
    });
    MatchedWorkloads { workloads: targets.workloads.len(), unknown: targets.unknown, first: named.collect() }
}
