//! Creates a suspension; a repeated request creates it only once.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::response::respond_with;
use super::{DryRunQuery, suspension_world};
use crate::api::extract::ApiRequest;
use crate::api::problem::ApiProblem;
use crate::api::request::{acquire_change_turn, parse_body, read_body, run_to_completion};
use crate::api::session::{ApiSession, AuditedAttempt};
use crate::audit::act_entry::ActKind;
use crate::features::suspension::apply::CreationOutcome;
use crate::features::suspension::request::NewSuspension;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicySpec;
use crate::kubernetes::resources::label_selector::LabelSelector;
use crate::kubernetes::resources::matching::{NamespacePatterns, WorkloadMatch};
use crate::kubernetes::resources::suspension_fields::{SuspensionService, SuspensionSubject};
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Header by which repeated requests create only one suspension.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Body of a new suspension: the fields of its object's spec, and a name.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewSuspensionBody {
    #[serde(default, deserialize_with = "name_text")]
    name: Option<String>,
    suspend: SuspensionSubject,
    #[serde(default)]
    namespaces: NamespacePatterns,
    #[serde(default)]
    namespace_selector: LabelSelector,
    #[serde(default)]
    workloads: Vec<WorkloadMatch>,
    #[serde(default)]
    pod_selector: LabelSelector,
    #[serde(default)]
    services: Vec<SuspensionService>,
    reason: String,
    ticket: Option<String>,
    starts_at: Option<Time>,
    expires_at: Option<Time>,
    #[serde(rename = "for")]
    lasts: Option<String>,
    #[serde(default)]
    indefinite: bool,
    http_status: Option<u16>,
}

fn name_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some).map_err(|_| D::Error::custom("name is not a string"))
}

impl NewSuspensionBody {
    fn into_name_and_spec(self) -> (Option<String>, ClusterSuspensionPolicySpec) {
        let Self {
            name,
            suspend,
            namespaces,
            namespace_selector,
            workloads,
            pod_selector,
            services,
            reason,
            ticket,
            starts_at,
            expires_at,
            lasts,
            indefinite,
            http_status,
        } = self;
        let spec = ClusterSuspensionPolicySpec {
            suspend,
            namespaces,
            namespace_selector,
            workloads,
            pod_selector,
            services,
            reason,
            ticket,
            starts_at,
            expires_at,
            lasts,
            indefinite,
            http_status,
        };
        (name, spec)
    }
}

pub(super) async fn create(request: ApiRequest, body: Body) -> Response {
    let query: Result<DryRunQuery, ApiProblem> = request.parse_query();
    let dry_run = query.as_ref().is_ok_and(|query| query.dry_run);
    let attempt =
        AuditedAttempt::on_suspension(ActKind::Create, request.path_part("namespace"), None, dry_run, request.peer);
    run_to_completion(&Arc::clone(&request.api), async move {
        let ApiRequest { api, headers, .. } = &request;
        let mut session = ApiSession::begin(api, headers, attempt).await?;
        let response = async {
            query?;
            session.authorize("create").await?;
            let body = read_body(body).await?;
            // A slow sender must not make others wait, so the body is read before the turn is taken.
            let _turn = acquire_change_turn(api).await?;
            let new = parse_body(headers, &body)?;
            create_from_body(&mut session, headers, new).await
        }
        .await;
        session.record_outcome(response)
    })
    .await
}

async fn create_from_body(
    session: &mut ApiSession<'_>,
    headers: &HeaderMap,
    body: NewSuspensionBody,
) -> Result<Response, ApiProblem> {
    let (name, spec) = body.into_name_and_spec();
    let (api, dry_run) = (session.api, session.attempt.dry_run);
    let name = name.or_else(|| name_from_key(session, headers));
    let request = NewSuspension::new(session.attempt.scope.namespace.clone(), name, spec, session.attempt.id.clone());
    session.attempt.scope.name = Some(request.name.clone());
    let plan = suspension_world(api).prepare_creation(request)?;
    session.attempt.suspension_mut().after = Some(plan.draft.clone());
    let store = api.backend.suspension_store(&session.token)?;
    match plan.apply(&store, dry_run).await? {
        CreationOutcome::Created(object) => {
            session.attempt.suspension_mut().after = Some(object.clone());
            let status = if dry_run { StatusCode::OK } else { StatusCode::CREATED };
            let mut response = respond_with(api, &object, status).await;
            if !dry_run && let Ok(location) = HeaderValue::from_str(&suspension_path(&object)) {
                response.headers_mut().insert(LOCATION, location);
            }
            Ok(response)
        }
        CreationOutcome::Existed(object) => {
            session.attempt.suspension_mut().after = Some(object.clone());
            session.attempt.suspension_mut().note = Some("the suspension existed already; nothing was written");
            Ok(respond_with(api, &object, StatusCode::OK).await)
        }
    }
}

/// Returns the name that a caller and an idempotency key always make.
fn name_from_key(session: &ApiSession<'_>, headers: &HeaderMap) -> Option<String> {
    let key = headers.get(IDEMPOTENCY_KEY)?;
    let namespace = session.attempt.scope.namespace.as_deref().unwrap_or_default();
    let parts = [session.caller.user.as_bytes(), namespace.as_bytes(), key.as_bytes()].join(&0);
    let hash = digest(&SHA256, &parts);
    let hex: String = hash.as_ref()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("suspension-{hex}"))
}

fn suspension_path(object: &SuspensionObject) -> String {
    let SuspensionObject { namespace, name, .. } = object;
    match namespace {
        Some(namespace) => format!("/api/v1/namespaces/{namespace}/suspensions/{name}"),
        None => format!("/api/v1/suspensions/{name}"),
    }
}
