//! Restarts as answers tell of them.

use crate::api::restarts::step::{Stepped, why};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::planned::Planned;
use super::runs::{self, Run};
use crate::api::Api;
use crate::api::audit::is_partial;
use crate::api::endpoint::Header;
use crate::features::restart::telling::{End, Report, Told};

pub(super) const LOCATION: Header = Header { name: "Location", description: "Where it is told how far it has come." };

/// A restart, and how far it has come.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Restart {
    /// Its name, by which it can be gone on with.
    run: String,
    /// Its namespace.
    namespace: String,
    /// Who began it, and with whose rights it runs.
    user: String,
    /// What ties it to its entries of the audit log.
    audit_id: String,
    /// How it stands.
    state: State,
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
    waiting: Vec<Told>,
    /// What came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<Report>,
    /// Whether something is left that can be gone on with or given up, here or by `outrigger restart`.
    can_resume: bool,
}

/// How a restart stands.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RestartState")]
enum State {
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
pub(super) struct RestartInFull {
    #[serde(flatten)]
    restart: Restart,
    /// The last 500 steps, in order.
    steps: Vec<Stepped>,
}

/// A restart that has begun, and what it is about.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RestartBegun")]
pub(super) struct Begun {
    #[serde(flatten)]
    restart: Restart,
    /// What is to be done.
    plan: Planned,
}

/// Those that this replica runs, or has run.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Restarts")]
pub(super) struct Listed {
    /// The newest first.
    items: Vec<Restart>,
    /// Whether other replicas may know of more.
    partial: bool,
}

impl Restart {
    pub(super) fn of(run: &Run) -> Self {
        run.seen(|state| Self::as_seen(run, state))
    }

    fn as_seen(run: &Run, state: &runs::State) -> Self {
        let (ended_at, report) = state.ended.clone().unzip();
        Self {
            run: run.id.clone(),
            namespace: run.namespace.clone(),
            user: crate::kernel::text::sanitized(&run.user),
            audit_id: run.audit_id.clone(),
            state: State::of(report.as_ref()),
            why: report.as_ref().and_then(why),
            began_at: run.began,
            ended_at,
            of: state.of,
            over: state.over,
            waiting: state.waits_for(),
            can_resume: !state.forgotten && report.as_ref().is_some_and(Report::can_resume),
            report,
        }
    }
}

impl State {
    fn of(report: Option<&Report>) -> Self {
        match report.map(|report| &report.end) {
            None => Self::Running,
            Some(End::Completed) => Self::Completed,
            Some(End::Halted) => Self::Halted,
            Some(End::Interrupted) => Self::Interrupted,
            Some(End::Stopped(_)) => Self::Stopped,
        }
    }
}

impl RestartInFull {
    pub(super) fn of(run: &Run) -> Self {
        run.seen(|state| Self { restart: Restart::as_seen(run, state), steps: state.steps.iter().cloned().collect() })
    }
}

impl Begun {
    pub(super) fn of(run: &Run, plan: Planned) -> Self {
        Self { restart: Restart::of(run), plan }
    }
}

impl Listed {
    pub(super) fn of(api: &Api, namespace: &str) -> Self {
        let items = api.restarts.of_namespace(namespace).iter().map(|run| Restart::of(run)).collect();
        Self { items, partial: is_partial(api) }
    }
}
