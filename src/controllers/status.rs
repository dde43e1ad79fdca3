//! Status controller: writes into each policy and suspension what the rule does at present.
//!
//! Guarantees: a status is written only where it differs from the stored one, and names the generation that it describes.
//! Limits: at most [`WRITES_PER_SECOND`] writes. A change is acted on after [`QUIET`], or after [`PATIENCE`] where changes
//! continue, and no sooner than [`PAUSE`] after the last survey.
//! Cost: a survey visits every workload in small pieces, on a thread that admission does not need. The rests between them limit it
//! to a fifth of a core.

mod condition;
mod period;
mod policy;
mod policy_plan;
mod survey;
mod suspension;
mod traffic;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{debug, warn};

use crate::decision::facts::Owner;
use crate::kernel::clock::Clock;
use crate::kubernetes::client::status::StatusWriter;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind};
use crate::kubernetes::inventory::rule_records::RuleRecord;
use crate::kubernetes::resources::status::{PolicyStatus, RuleStatus, SuspensionStatus};
use condition::own_conditions;
use policy_plan::{SurveyPlan, plan_policies};
use survey::{MatchTally, WorkloadSurvey};
pub use suspension::TransitionReporter;

/// Number of statuses that are written in a second, at most.
pub const WRITES_PER_SECOND: u32 = 5;
/// Number of statuses that are written after one survey; the most urgent come first.
const WRITES_PER_SURVEY: usize = 50;
/// Time without changes that must pass before a change is acted on.
pub const QUIET: Duration = Duration::from_secs(1);
/// Time after which a change is acted on even while changes continue.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two surveys, at least.
pub const PAUSE: Duration = Duration::from_secs(3);
/// Time between two checks for changes.
const TICK: Duration = Duration::from_millis(500);
/// Time that a piece of a survey should take. A rest of four times that follows.
const PIECE: Duration = Duration::from_millis(10);

/// Write of one status.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusWrite {
    pub kind: RuleKind,
    pub name: NamespacedName,
    /// UID of the object, so that no later object of the same name is written.
    pub uid: Option<String>,
    pub status: RuleStatus,
}

/// Writes for one instant, and the next instant at which they change by themselves.
#[derive(Debug, Default)]
pub struct StatusPlan {
    /// Writes, the most urgent first.
    pub writes: Vec<StatusWrite>,
    /// Next start or end of a suspension, or end of an override.
    pub changes_at: Option<Timestamp>,
}

/// Plans the statuses for this inventory at this instant. The plan is empty while the rules are not known.
pub fn plan(inventory: &Inventory, now: Timestamp) -> StatusPlan {
    let Some(mut survey) = WorkloadSurvey::begin(inventory, now) else { return StatusPlan::default() };
    WorkloadSurvey::workloads(inventory).iter().for_each(|workload| survey.visit(inventory, workload));
    let SurveyPlan { mut writes, changes_at, suspended } = plan_policies(survey, inventory);
    writes.extend(suspension::plan_statuses(inventory, now, Some(&suspended)));
    StatusPlan { writes: sort_by_urgency(writes), changes_at }
}

/// Plans the write of this status, unless the stored one is equal.
fn plan_write(
    kind: RuleKind,
    name: &NamespacedName,
    record: &RuleRecord,
    status: RuleStatus,
) -> Option<(StatusUrgency, StatusWrite)> {
    let urgency = urgency_of(record.status.as_ref(), &status)?;
    Some((urgency, StatusWrite { kind, name: name.clone(), uid: record.uid.clone(), status }))
}

fn sort_by_urgency(mut writes: Vec<(StatusUrgency, StatusWrite)>) -> Vec<StatusWrite> {
    writes.sort_by_key(|(urgency, _)| *urgency);
    writes.into_iter().map(|(_, write)| write).collect()
}

/// Urgency of a write, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum StatusUrgency {
    /// The generation, or the status or reason of a condition, is new.
    Condition,
    /// Only a number or a sentence is new.
    Detail,
}

/// Compares the planned status with the stored one. `None` where they are equal.
fn urgency_of(stored: Option<&RuleStatus>, planned: &RuleStatus) -> Option<StatusUrgency> {
    let (Some(stored), conditions) = (stored, conditions_of(planned)) else { return Some(StatusUrgency::Condition) };
    let mut trimmed = stored.clone();
    let stored_conditions = match &mut trimmed {
        RuleStatus::Policy(PolicyStatus { conditions, .. })
        | RuleStatus::Suspension(SuspensionStatus { conditions, .. }) => conditions,
    };
    *stored_conditions = own_conditions(stored_conditions, conditions);
    let short = |conditions: &[Condition]| -> Vec<_> {
        let parts = |one: &Condition| (one.status.clone(), one.reason.clone(), one.observed_generation);
        conditions.iter().map(parts).collect()
    };
    match (trimmed == *planned, short(conditions_of(&trimmed)) == short(conditions)) {
        (true, _) => None,
        (false, true) => Some(StatusUrgency::Detail),
        (false, false) => Some(StatusUrgency::Condition),
    }
}

fn conditions_of(status: &RuleStatus) -> &[Condition] {
    match status {
        RuleStatus::Policy(PolicyStatus { conditions, .. })
        | RuleStatus::Suspension(SuspensionStatus { conditions, .. }) => conditions,
    }
}

/// Keeps all statuses up to date for as long as it is polled. Only the leader runs it.
pub async fn run(inventory: Arc<Inventory>, clock: Clock, writer: StatusWriter, reporter: TransitionReporter) {
    let matches = SharedMatches::default();
    let policies = run_policies(&inventory, &clock, &writer, &matches);
    let suspensions = suspension::run(&inventory, &clock, &writer, &matches, &reporter);
    futures::join!(policies, suspensions);
}

/// Number of surveys so far, and what the last one counted for suspensions.
type SharedMatches = Mutex<(u64, Option<Arc<HashMap<NamespacedName, MatchTally>>>)>;

async fn run_policies(inventory: &Arc<Inventory>, clock: &Clock, writer: &StatusWriter, matches: &SharedMatches) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut schedule = SurveySchedule::default();
    loop {
        ticks.tick().await;
        let changes = inventory.change_count() + inventory.drift_counts.change_count();
        if !inventory.is_synced() || !schedule.is_due(changes, clock.now()) {
            continue;
        }
        let Some(plan) = run_survey(inventory, clock.now()).await else { continue };
        let SurveyPlan { writes, changes_at, suspended } = plan;
        {
            let mut matches = matches.lock();
            *matches = (matches.0 + 1, Some(Arc::new(suspended)));
        }
        let is_done = write_all(inventory, writer, sort_by_urgency(writes)).await;
        schedule = SurveySchedule { surveyed: is_done.then_some(changes), changes_at, ..SurveySchedule::default() };
        sleep(PAUSE).await;
    }
}

/// Schedule of the next survey.
#[derive(Debug, Default)]
struct SurveySchedule {
    /// Change count at the last survey.
    surveyed: Option<u64>,
    /// Change count as last seen, the time of that change, and the time of the first change since the survey.
    seen: Option<(u64, Instant, Instant)>,
    changes_at: Option<Timestamp>,
}

impl SurveySchedule {
    fn is_due(&mut self, changes: u64, now: Timestamp) -> bool {
        if self.changes_at.is_some_and(|instant| instant <= now) {
            return true;
        }
        if self.surveyed == Some(changes) {
            return false;
        }
        let at = Instant::now();
        match &mut self.seen {
            None => self.seen = Some((changes, at, at)),
            Some((seen, last, _)) if *seen != changes => (*seen, *last) = (changes, at),
            Some(_) => {}
        }
        let (_, last, first) = self.seen.unwrap_or((changes, at, at));
        at - last >= QUIET || at - first >= PATIENCE
    }
}

/// Runs a survey piece by piece, with rests, and plans the writes.
async fn run_survey(inventory: &Arc<Inventory>, now: Timestamp) -> Option<SurveyPlan> {
    let begin = Arc::clone(inventory);
    let begun =
        spawn_blocking(move || Some((WorkloadSurvey::begin(&begin, now)?, WorkloadSurvey::workloads(&begin)))).await;
    let (mut survey, workloads) = begun.ok()??;
    let mut rest = &workloads[..];
    let mut size = 16;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        let (owned, piece, began) = (Arc::clone(inventory), piece.to_vec(), Instant::now());
        survey = spawn_blocking(move || survey_piece(survey, &owned, &piece)).await.ok()?;
        let took = began.elapsed();
        size = if took < PIECE { size * 2 } else { (size / 2).max(1) };
        sleep(took * 4).await;
    }
    let ends = Arc::clone(inventory);
    spawn_blocking(move || plan_policies(survey, &ends)).await.ok()
}

fn survey_piece(mut survey: WorkloadSurvey, inventory: &Inventory, workloads: &[Arc<Owner>]) -> WorkloadSurvey {
    workloads.iter().for_each(|workload| survey.visit(inventory, workload));
    survey
}

/// Writes the statuses, and returns whether nothing remains to be written.
async fn write_all(inventory: &Inventory, writer: &StatusWriter, writes: Vec<StatusWrite>) -> bool {
    let is_done = writes.len() <= WRITES_PER_SURVEY;
    let mut failed = None;
    let mut ticks = interval(Duration::from_secs(1) / WRITES_PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for StatusWrite { kind, name, uid, status } in writes.into_iter().take(WRITES_PER_SURVEY) {
        ticks.tick().await;
        match writer.write(kind, &name, uid.as_deref(), &status).await {
            Ok(()) => {
                debug!(kind = kind.as_str(), namespace = %name.0, name = %name.1, "wrote a status");
                inventory.rule_records.record_status(kind, &name, uid.as_deref(), status);
            }
            // One failure is logged for all of them, because their cause is most likely the same.
            Err(why) => failed = failed.or(Some((kind, name, why))),
        }
    }
    if let Some((kind, (namespace, name), why)) = &failed {
        warn!(kind = kind.as_str(), %namespace, %name, "cannot write every status: {why}");
    }
    is_done && failed.is_none()
}
