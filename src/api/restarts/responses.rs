//! Responses about restarts.

use crate::api::restarts::step::{NumberedStep, failure_reason};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::plan::RestartPlanResponse;
use super::registry::{TrackedProgress, TrackedRestart};
use crate::api::ApiState;
use crate::api::audit::has_other_replicas;
use crate::api::endpoint::HeaderSpec;
use crate::features::restart::report::{RestartEnd, RestartReport, WorkloadReason};

pub(super) const LOCATION: HeaderSpec =
    HeaderSpec { name: "Location", description: "Where it is told how far it has come." };

/// A restart, and how far it has come.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Restart")]
pub(super) struct RestartResponse {
    /// Its name, by which it can be gone on with.
    run: String,
    /// Its namespace.
    namespace: String,
    /// Who began it, and with whose rights it runs.
    user: String,
    /// What ties it to its entries of the audit log.
    audit_id: String,
    /// How it stands.
    state: RestartState,
    /// Why it has not done everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// When it began.
    began_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    /// How many workloads there are.
    of: usize,
    /// How many of them are over, for better or worse.
    over: usize,
    /// What is waited for.
    waiting: Vec<WorkloadReason>,
    /// What came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<RestartReport>,
    /// Whether something is left that can be gone on with or given up, here or by `outrigger restart`.
    can_resume: bool,
}

/// How a restart stands.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RestartState")]
enum RestartState {
    /// It is under way.
    Running,
    /// Nothing is left to do.
    Completed,
    /// A workload did not come up, or a budget held the rest for too long.
    Halted,
    /// Somebody stopped it, or the process ended.
    Interrupted,
    /// It could not go on.
    Stopped,
}

/// A restart with its steps.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RestartInFull")]
pub(super) struct RestartDetailResponse {
    #[serde(flatten)]
    restart: RestartResponse,
    /// The last 500 steps, in order.
    steps: Vec<NumberedStep>,
}

/// A restart that has begun, and what it is about.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RestartBegun")]
pub(super) struct RestartStartedResponse {
    #[serde(flatten)]
    restart: RestartResponse,
    /// What is to be done.
    plan: RestartPlanResponse,
}

/// Those that this replica runs, or has run.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Restarts")]
pub(super) struct RestartListResponse {
    /// The newest first.
    items: Vec<RestartResponse>,
    /// Whether other replicas may know of more.
    partial: bool,
}

impl RestartResponse {
    pub(super) fn new(run: &TrackedRestart) -> Self {
        run.inspect(|progress| Self::from_progress(run, progress))
    }

    fn from_progress(run: &TrackedRestart, progress: &TrackedProgress) -> Self {
        let (ended_at, report) = progress.ended.clone().unzip();
        Self {
            run: run.id.clone(),
            namespace: run.namespace.clone(),
            user: crate::kernel::text::sanitize(&run.user),
            audit_id: run.audit_id.clone(),
            state: RestartState::from_report(report.as_ref()),
            why: report.as_ref().and_then(failure_reason),
            began_at: run.began,
            ended_at,
            of: progress.of,
            over: progress.over,
            waiting: progress.waiting_reasons(),
            can_resume: !progress.forgotten && report.as_ref().is_some_and(RestartReport::can_resume),
            report,
        }
    }
}

impl RestartState {
    fn from_report(report: Option<&RestartReport>) -> Self {
        match report.map(|report| &report.end) {
            None => Self::Running,
            Some(RestartEnd::Completed) => Self::Completed,
            Some(RestartEnd::Halted) => Self::Halted,
            Some(RestartEnd::Interrupted) => Self::Interrupted,
            Some(RestartEnd::Stopped(_)) => Self::Stopped,
        }
    }
}

impl RestartDetailResponse {
    pub(super) fn new(run: &TrackedRestart) -> Self {
        run.inspect(|progress| Self {
            restart: RestartResponse::from_progress(run, progress),
            steps: progress.steps.iter().cloned().collect(),
        })
    }
}

impl RestartStartedResponse {
    pub(super) fn new(run: &TrackedRestart, plan: RestartPlanResponse) -> Self {
        Self { restart: RestartResponse::new(run), plan }
    }
}

impl RestartListResponse {
    pub(super) fn new(api: &ApiState, namespace: &str) -> Self {
        let items = api.restarts.of_namespace(namespace).iter().map(|run| RestartResponse::new(run)).collect();
        Self { items, partial: has_other_replicas(api) }
    }
}
