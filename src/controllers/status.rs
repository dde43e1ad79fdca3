//! The status of our resources: what each policy and suspension does at present.
//!
//! Guarantees: nothing is written that stands there already; what is written names the generation that it is about.
//! Limits: at most [`WRITES_PER_SECOND`] writes; a change is told of after [`QUIET`], or after [`PATIENCE`] where changes do not
//! end, and no sooner than [`PAUSE`] after the last survey.
//! Cost: a survey looks at every workload in small pieces, on a thread that admission does not need, and rests between them so
//! that it takes a fifth of a core at most.

mod condition;
mod policy;
mod survey;
mod suspension;
mod traffic;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{debug, warn};

use crate::decision::facts::Owner;
use crate::decision::policy::Mode;
use crate::kernel::clock::Clock;
use crate::kubernetes::client::status::Writer;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rule_kind::{RuleKind, RuleName};
use crate::kubernetes::inventory::rules::Rule;
use crate::kubernetes::inventory::standings::Standing;
use crate::kubernetes::resources::status::{PolicyStatus, Status, SuspensionStatus};
use condition::{Saying, ours, settled};
use survey::{Matched, Survey};
pub use suspension::Telling;

/// How many statuses are written in a second.
pub const WRITES_PER_SECOND: u32 = 5;
/// How many are written before everything is looked at again: those that say something new come first.
const WRITES_PER_SURVEY: usize = 50;
/// For so long nothing has to change before a change is acted on.
pub const QUIET: Duration = Duration::from_secs(1);
/// A change is acted on after so long, even where changes go on.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Surveys keep at least this distance.
pub const PAUSE: Duration = Duration::from_secs(3);
/// How often it is looked whether anything has changed.
const TICK: Duration = Duration::from_millis(500);
/// A piece of a survey should take so long, and is followed by a rest of four times that.
const PIECE: Duration = Duration::from_millis(10);

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A status is to be written.
    Write {
        /// The kind of the object.
        kind: RuleKind,
        /// Its namespace and name.
        name: RuleName,
        /// The object of this UID, and no later one of its name.
        uid: Option<String>,
        /// What its status is to be.
        status: Status,
    },
}

/// What is to be done now, and when there will be something to do though nothing happens.
#[derive(Debug, Default)]
pub struct Plan {
    /// The most urgent first.
    pub actions: Vec<Action>,
    /// The next start or end of a suspension, or end of an override.
    pub changes_at: Option<Timestamp>,
}

/// Plans for the inventory as it is at this instant; nothing, while it does not know enough.
pub fn plan(inventory: &Inventory, now: Timestamp) -> Plan {
    let Some(mut survey) = Survey::begin(inventory, now) else { return Plan::default() };
    Survey::workloads(inventory).iter().for_each(|workload| survey.look_at(inventory, workload));
    let (policies, suspended) = planned(survey, inventory);
    let mut writes = policies.writes;
    writes.extend(suspension::planned(inventory, now, Some(&suspended)));
    Plan { actions: urgent_first(writes), changes_at: policies.changes_at }
}

/// What a survey comes to for the policies.
struct Surveyed {
    writes: Vec<(News, Action)>,
    changes_at: Option<Timestamp>,
}

fn planned(mut survey: Survey, inventory: &Inventory) -> (Surveyed, HashMap<RuleName, Matched>) {
    // In this order, so that no generation is told of a rule that is older.
    let standings = inventory.standings.all();
    let rules = inventory.rules.all();
    for period in standings.values().filter_map(|standing| standing.period) {
        survey.changes_at(Some(period.starts_at));
        survey.changes_at(period.ends_at);
    }
    let injectors = inventory.injectors.get();
    let before_us = injectors.as_ref().map(|injectors| injectors.before_us()).unwrap_or_default();
    let policies = survey.of_policies();
    let unknown = Standing::default();
    let write = |(kind, name, rule): &(RuleKind, RuleName, Rule)| {
        let standing = standings.get(&(*kind, name.clone())).unwrap_or(&unknown);
        let of_policy = || {
            let (policy, known) = policies.get(&(&*name.0, &*name.1))?;
            // One that has changed since the survey began is met by the next.
            let is_surveyed = matches!(rule, Rule::Policy(current) if current == *policy);
            is_surveyed.then(|| {
                let sayings = policy::sayings(&survey, policy, known, &before_us);
                let is_audited = policy.mode == Mode::Audit;
                let counts = Counts {
                    matched_workloads: Some(known.matched.workloads),
                    would_change: is_audited.then_some(known.would_change),
                    drifting_pods: inventory.drifting.of(*kind, name).filter(|_| !is_audited),
                };
                policy_status(standing, sayings, counts, survey.now)
            })
        };
        let status = match (kind, rule) {
            (RuleKind::ClusterInjectionPolicy | RuleKind::InjectionPolicy, Rule::Invalid(why)) => {
                policy_status(standing, policy::invalid(why), Counts::default(), survey.now)
            }
            (RuleKind::ClusterInjectionPolicy | RuleKind::InjectionPolicy, _) => of_policy()?,
            (RuleKind::ClusterSuspensionPolicy | RuleKind::SuspensionPolicy, _) => return None,
        };
        write(*kind, name, standing, status)
    };
    let writes = rules.iter().filter_map(write).collect();
    let suspended = survey.suspended();
    (Surveyed { writes, changes_at: survey.changes_at }, suspended)
}

/// What is to be written so that this status stands, if it does not.
fn write(kind: RuleKind, name: &RuleName, standing: &Standing, status: Status) -> Option<(News, Action)> {
    let news = news(standing.status.as_ref(), &status)?;
    Some((news, Action::Write { kind, name: name.clone(), uid: standing.uid.clone(), status }))
}

fn urgent_first(mut writes: Vec<(News, Action)>) -> Vec<Action> {
    writes.sort_by_key(|(news, _)| *news);
    writes.into_iter().map(|(_, action)| action).collect()
}

/// What is new about a status, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    /// Another generation, or a condition with another status or reason.
    Condition,
    /// A number or a sentence.
    Detail,
}

/// What is new, if anything is.
fn news(standing: Option<&Status>, wanted: &Status) -> Option<News> {
    let (Some(standing), conditions) = (standing, conditions_of(wanted)) else { return Some(News::Condition) };
    let mut trimmed = standing.clone();
    let stands = match &mut trimmed {
        Status::Policy(PolicyStatus { conditions, .. }) | Status::Suspension(SuspensionStatus { conditions, .. }) => {
            conditions
        }
    };
    *stands = ours(stands, conditions);
    let short = |conditions: &[Condition]| -> Vec<_> {
        let parts = |one: &Condition| (one.status.clone(), one.reason.clone(), one.observed_generation);
        conditions.iter().map(parts).collect()
    };
    match (trimmed == *wanted, short(conditions_of(&trimmed)) == short(conditions)) {
        (true, _) => None,
        (false, true) => Some(News::Detail),
        (false, false) => Some(News::Condition),
    }
}

fn conditions_of(status: &Status) -> &[Condition] {
    match status {
        Status::Policy(PolicyStatus { conditions, .. }) | Status::Suspension(SuspensionStatus { conditions, .. }) => {
            conditions
        }
    }
}

/// What is counted for a policy.
#[derive(Debug, Default)]
struct Counts {
    matched_workloads: Option<usize>,
    would_change: Option<usize>,
    drifting_pods: Option<usize>,
}

fn policy_status(standing: &Standing, sayings: Vec<Saying>, counts: Counts, now: Timestamp) -> Status {
    let Counts { matched_workloads, would_change, drifting_pods } = counts;
    let stands = standing.status.as_ref().map(conditions_of).unwrap_or_default();
    Status::Policy(PolicyStatus {
        observed_generation: standing.generation,
        conditions: settled(sayings, stands, standing.generation, now),
        matched_workloads: matched_workloads.map(number),
        would_change: would_change.map(number),
        drifting_pods: drifting_pods.map(number),
    })
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Keeps every status as it should be, as long as it is polled: by the leader.
pub async fn keep(inventory: Arc<Inventory>, clock: Clock, writer: Writer, telling: Telling) {
    let matched = Known::default();
    let of_policies = keep_policies(&inventory, &clock, &writer, &matched);
    let of_suspensions = suspension::keep(&inventory, &clock, &writer, &matched, &telling);
    futures::join!(of_policies, of_suspensions);
}

/// What the last survey has counted for suspensions, and how many surveys there were.
type Known = Mutex<(u64, Option<Arc<HashMap<RuleName, Matched>>>)>;

async fn keep_policies(inventory: &Arc<Inventory>, clock: &Clock, writer: &Writer, known: &Known) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting = Waiting::default();
    loop {
        ticks.tick().await;
        let is_ready = inventory.synced().iter().all(|(_, synced)| *synced);
        let changes = inventory.changes() + inventory.drifting.changes();
        if !is_ready || !waiting.is_due(changes, clock.now()) {
            continue;
        }
        let Some((surveyed, suspended)) = surveyed(inventory, clock.now()).await else { continue };
        {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            *known = (known.0 + 1, Some(Arc::new(suspended)));
        }
        let is_done = written(inventory, writer, urgent_first(surveyed.writes)).await;
        waiting = Waiting { looked: is_done.then_some(changes), changes_at: surveyed.changes_at, ..Waiting::default() };
        sleep(PAUSE).await;
    }
}

/// When to look again.
#[derive(Debug, Default)]
struct Waiting {
    /// How many changes there had been when everything was last looked at.
    looked: Option<u64>,
    /// The changes as they were last seen, when that was, and when they began.
    seen: Option<(u64, Instant, Instant)>,
    changes_at: Option<Timestamp>,
}

impl Waiting {
    fn is_due(&mut self, changes: u64, now: Timestamp) -> bool {
        if self.changes_at.is_some_and(|instant| instant <= now) {
            return true;
        }
        if self.looked == Some(changes) {
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

/// Plans piece by piece, with rests.
async fn surveyed(inventory: &Arc<Inventory>, now: Timestamp) -> Option<(Surveyed, HashMap<RuleName, Matched>)> {
    let begin = Arc::clone(inventory);
    let begun = spawn_blocking(move || Some((Survey::begin(&begin, now)?, Survey::workloads(&begin)))).await;
    let (mut survey, workloads) = begun.ok()??;
    let mut rest = &workloads[..];
    let mut size = 16;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        let (looking, piece, began) = (Arc::clone(inventory), piece.to_vec(), Instant::now());
        survey = spawn_blocking(move || looked(survey, &looking, &piece)).await.ok()?;
        let took = began.elapsed();
        size = if took < PIECE { size * 2 } else { (size / 2).max(1) };
        sleep(took * 4).await;
    }
    let ends = Arc::clone(inventory);
    spawn_blocking(move || planned(survey, &ends)).await.ok()
}

fn looked(mut survey: Survey, inventory: &Inventory, workloads: &[Arc<Owner>]) -> Survey {
    workloads.iter().for_each(|workload| survey.look_at(inventory, workload));
    survey
}

/// Writes, and says whether nothing is left to be written.
async fn written(inventory: &Inventory, writer: &Writer, actions: Vec<Action>) -> bool {
    let is_done = actions.len() <= WRITES_PER_SURVEY;
    let mut failed = None;
    let mut ticks = interval(Duration::from_secs(1) / WRITES_PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for Action::Write { kind, name, uid, status } in actions.into_iter().take(WRITES_PER_SURVEY) {
        ticks.tick().await;
        match writer.write(kind, &name, uid.as_deref(), &status).await {
            Ok(()) => {
                debug!(kind = kind.as_str(), namespace = %name.0, name = %name.1, "wrote a status");
                inventory.standings.written(kind, &name, uid.as_deref(), status);
            }
            // One for all: most probably none can be written.
            Err(why) => failed = failed.or(Some((kind, name, why))),
        }
    }
    if let Some((kind, (namespace, name), why)) = &failed {
        warn!(kind = kind.as_str(), %namespace, %name, "cannot write every status: {why}");
    }
    is_done && failed.is_none()
}
