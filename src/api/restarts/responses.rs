//! Responses about restarts.

use crate::api::restarts::step::NumberedStep;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::registry::{TrackedProgress, TrackedRestart};
use crate::api::ApiState;
use crate::api::audit::has_other_replicas;
use crate::api::endpoint::HeaderSpec;
use crate::features::restart::prepare::RestartPlanOutput;
use crate::features::restart::report::{RestartEnd, RestartReport, WorkloadReason};

pub(super) const LOCATION: HeaderSpec =
    HeaderSpec { name: "Location", description: "Path of the restart and its progress." };

/// Restart, with its progress.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Restart")]
pub(super) struct RestartResponse {
    /// Identifier of the run, by which the restart can be resumed.
    run: String,
    /// Namespace of the restart.
    namespace: String,
    /// User who began the restart, and whose rights it uses.
    user: String,
    /// Identifier of its entries in the audit log.
    audit_id: String,
    /// State of the restart.
    state: RestartState,
    /// Reason why not everything was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Time of the beginning.
    began_at: Timestamp,
    /// Time of the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    /// Number of workloads.
    of: usize,
    /// Number of workloads that are done, successfully or not.
    over: usize,
    /// Workloads that the restart waits for.
    waiting: Vec<WorkloadReason>,
    /// Result of the restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<RestartReport>,
    /// True if unfinished workloads are left, to resume or to give up, here or by `outrigger restart`.
    can_resume: bool,
}

/// State of a restart.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RestartState")]
enum RestartState {
    /// The restart is in progress.
    Running,
    /// Nothing is left to do.
    Completed,
    /// A workload did not come up, or a budget held the rest for too long.
    Halted,
    /// A user stopped the restart, or the process ended.
    Interrupted,
    /// The restart could not continue.
    Stopped,
}

/// Restart with its steps.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RestartInFull")]
pub(super) struct RestartDetailResponse {
    #[serde(flatten)]
    restart: RestartResponse,
    /// The last 500 steps, in order.
    steps: Vec<NumberedStep>,
}

/// Restart that has begun, with its plan.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RestartBegun")]
pub(super) struct RestartStartedResponse {
    #[serde(flatten)]
    restart: RestartResponse,
    /// Plan of the restart.
    plan: RestartPlanOutput,
}

/// Restarts that this replica runs, or has run.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Restarts")]
pub(super) struct RestartListResponse {
    /// Restarts, the newest first.
    items: Vec<RestartResponse>,
    /// True if other replicas may know more restarts.
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
            why: report.as_ref().and_then(RestartReport::failure_reason),
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
    pub(super) fn new(run: &TrackedRestart, plan: RestartPlanOutput) -> Self {
        Self { restart: RestartResponse::new(run), plan }
    }
}

impl RestartListResponse {
    pub(super) fn new(api: &ApiState, namespace: &str) -> Self {
        let items = api.restarts.of_namespace(namespace).iter().map(|run| RestartResponse::new(run)).collect();
        Self { items, partial: has_other_replicas(api) }
    }
}
