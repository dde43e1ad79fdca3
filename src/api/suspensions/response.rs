//! Suspensions in API responses.

use std::sync::Arc;

use axum::http::header::ETAG;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::Serialize;

use super::suspension_world;
use crate::api::ApiState;
use crate::api::limits::NAMED_WORKLOADS;
use crate::api::problem::ApiProblem;
use crate::api::request::json_response;
use crate::features::suspension::effect::{SubjectEffect, SuspensionEffect};
use crate::features::suspension::targets::SuspensionTargets;
use crate::features::suspension::traffic::ServiceSuspension;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicySpec;
use crate::kubernetes::resources::suspension_fields::SuspensionPeriod;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// One suspension.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Suspension")]
pub(in crate::api) struct SuspensionResponse {
    /// Kind of the object.
    #[schemars(extend("enum" = ["SuspensionPolicy", "ClusterSuspensionPolicy"]))]
    kind: &'static str,
    /// Namespace; absent for a cluster suspension.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// Name of the object.
    name: String,
    /// UID of the object; absent in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    /// Number of times that the spec was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<i64>,
    /// Id of the entries about this suspension in the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_id: Option<String>,
    /// State at present.
    #[schemars(extend("enum" = ["Scheduled", "InForce", "Over", "Invalid"]))]
    state: &'static str,
    /// End, with the installation's maximum counted in.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Time>,
    /// Spec of the object, always with startsAt.
    #[serde(flatten)]
    spec: ClusterSuspensionPolicySpec,
}

/// One page of a list of suspensions.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Listed")]
pub(in crate::api) struct SuspensionListResponse {
    /// Suspensions, sorted by namespace and name.
    pub(super) items: Vec<SuspensionResponse>,
    /// Value of the parameter `continue` for the next page; absent in the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) r#continue: Option<String>,
}

/// One suspension, with its targets and warnings.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SuspensionInFull")]
pub(in crate::api) struct SuspensionDetails {
    #[serde(flatten)]
    suspension: SuspensionResponse,
    /// Workloads to which a suspension of injection applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<MatchedWorkloads>,
    /// Services to which a suspension of traffic applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    routing: Option<Vec<SuspendedService>>,
    /// Warnings about consequences that users may not expect, a sentence each.
    warnings: Vec<String>,
}

/// Workloads to which a suspension applies.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Matched")]
pub(in crate::api) struct MatchedWorkloads {
    /// Number of these workloads.
    workloads: usize,
    /// Number of further workloads that may match: their pod templates are not read.
    unknown: usize,
    /// First of these workloads.
    first: Vec<MatchedWorkload>,
}

/// Workload to which a suspension applies.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::api) struct MatchedWorkload {
    /// Namespace of the workload.
    namespace: String,
    /// Kind of the workload.
    kind: String,
    /// Name of the workload.
    name: String,
}

/// Service to which a suspension applies, and the effect on its traffic.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SuspendedService {
    /// Namespace of the service.
    namespace: String,
    /// Name of the service.
    name: String,
    /// Callers that are not reached, and other consequences, a sentence each.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_reached: Option<Vec<String>>,
    /// Obstacle that prevents the suspension, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    obstacle: Option<String>,
    /// Obstacle in one word.
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
        return ApiProblem::new(500, "the targets cannot be determined; see the log of the server").into_response();
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
    let world = suspension_world(api);
    let SuspensionEffect { period, subject, warnings } = SuspensionEffect::new(&world, object);
    let (matched, routing) = match subject {
        SubjectEffect::Injection(targets) => (Some(MatchedWorkloads::from(&targets)), None),
        SubjectEffect::Traffic(services) => (None, Some(services.into_iter().map(Into::into).collect())),
    };
    SuspensionDetails {
        suspension: SuspensionResponse::from_object(object, period, world.now),
        matched,
        routing,
        warnings: warnings.iter().map(ToString::to_string).collect(),
    }
}

impl From<&SuspensionTargets> for MatchedWorkloads {
    fn from(SuspensionTargets { workloads, unknown, overlapping: _ }: &SuspensionTargets) -> Self {
        let named = workloads.iter().take(NAMED_WORKLOADS).map(|one| MatchedWorkload {
            namespace: one.namespace.to_string(),
            kind: one.kind.to_string(),
            name: one.name.to_string(),
        });
        Self { workloads: workloads.len(), unknown: *unknown, first: named.collect() }
    }
}
