//! What is said of suspensions, and of their begin and end when those come.
//!
//! Guarantee: a begin and an end are told at least once, by an event and in the audit log: what was last told is the status
//! that stands, so that a leader that comes later, also after the end, tells what the one before it could not.
//! Cost: a look at the suspensions twice a second; no workload is looked at for it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::events::EventType;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::warn;

use super::condition::{Saying, Truth, settled};
use super::policy::about;
use super::survey::Matched;
use super::{Action, Known, News, PAUSE, TICK, conditions_of, number, traffic, urgent_first, write, written};
use crate::audit::Log;
use crate::audit::act::Deed;
use crate::features::suspension::turns::{Turn, Turns, entry, left};
use crate::kernel::clock::Clock;
use crate::kubernetes::client::events::Events;
use crate::kubernetes::client::status::Writer;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rule_kind::{RuleKind, RuleName};
use crate::kubernetes::inventory::rules::Rule;
use crate::kubernetes::inventory::standings::Standing;
use crate::kubernetes::resources::status::{Status, SuspensionStatus};
use crate::kubernetes::resources::suspending::Period;
use crate::kubernetes::resources::suspension_object::State;

/// Whom it is told when a suspension begins and ends.
#[derive(Clone)]
pub struct Telling {
    /// Events on the suspension.
    pub events: Events,
    /// Entries in the audit log.
    pub audit: Log,
}

/// What is to be written for suspensions; `matched` is what the last survey has counted, if there was one.
pub(super) fn planned(
    inventory: &Inventory,
    now: Timestamp,
    matched: Option<&HashMap<RuleName, Matched>>,
) -> Vec<(News, Action)> {
    let of = |(kind, name, standing): (RuleKind, RuleName, Standing)| {
        // A rule of another generation is met when it has come.
        let rule = inventory.rules.get(kind, &name)?;
        let counted = matched.map(|matched| matched.get(&name).cloned().unwrap_or_default());
        let status = status(inventory, &standing, &rule, counted.as_ref(), now);
        write(kind, &name, &standing, status)
    };
    inventory.standings.of_suspensions().into_iter().filter_map(of).collect()
}

fn status(
    inventory: &Inventory,
    standing: &Standing,
    rule: &Rule,
    counted: Option<&Matched>,
    now: Timestamp,
) -> Status {
    let stood = match &standing.status {
        Some(Status::Suspension(status)) => status.matched_workloads,
        Some(Status::Policy(_)) | None => None,
    };
    let mut status = SuspensionStatus { observed_generation: standing.generation, ..SuspensionStatus::default() };
    let sayings = match (rule, standing.period, &standing.suspension) {
        (Rule::Invalid(why), ..) => invalid(why),
        (Rule::Suspension(_), Some(period), _) => {
            // What it was about while it held is no longer counted.
            let is_over = period.state(now) == State::Over;
            let counted = counted.filter(|_| !is_over);
            status.matched_workloads = counted.map_or(stood, |matched| Some(number(matched.workloads)));
            sayings(&period, counted, stood, now)
        }
        (Rule::Traffic(_), Some(period), Some(suspension)) => {
            traffic::sayings(inventory, suspension, &period, now, &mut status)
        }
        (Rule::Suspension(_) | Rule::Traffic(_) | Rule::Policy(_), ..) => invalid("its times cannot be read"),
    };
    if !matches!(rule, Rule::Invalid(_))
        && let Some(period) = standing.period
    {
        status.starts_at = Some(Time(period.starts_at)).filter(|_| period.starts_at != Timestamp::MIN);
        status.ends_at = period.ends_at.map(Time);
        status.left = left(&period, now);
    }
    let stands = standing.status.as_ref().map(conditions_of).unwrap_or_default();
    status.conditions = settled(sayings, stands, standing.generation, now);
    Status::Suspension(status)
}

/// What is said of one that cannot be read; the sentence names it, and what is wrong.
fn invalid(why: &str) -> Vec<Saying> {
    let nothing = "the suspension cannot be read, and suspends nothing";
    vec![
        Saying::new("Ready", false, "Invalid", why),
        Saying::new("Active", false, "Invalid", nothing),
        Saying::new("Expired", Truth::Unknown, "Invalid", nothing),
        Saying::new("Failed", true, "Invalid", nothing),
    ]
}

/// What is said of one of injection at this instant; what an expired one is about is no longer counted.
fn sayings(period: &Period, matched: Option<&Matched>, stood: Option<i64>, now: Timestamp) -> Vec<Saying> {
    let told = told(period, "new pods get no sidecar", now);
    let state = period.state(now);
    let is_over = state == State::Over;
    let ready = match (matched, stood) {
        _ if is_over => told.clone(),
        (Some(matched), _) => about(matched),
        (None, Some(stood)) => {
            about(&Matched { workloads: usize::try_from(stood).unwrap_or_default(), ..Matched::default() })
        }
        (None, None) => "it is not counted yet whom it matches".to_owned(),
    };
    vec![
        Saying::new("Ready", true, "Understood", ready),
        Saying::new("Active", state == State::InForce, state.as_str(), told.clone()),
        Saying::new("Expired", is_over, state.as_str(), told),
        Saying::new("Failed", false, "Understood", "it is put into force by every decision, without further steps"),
    ]
}

/// What it does from when until when, as a sentence of this instant.
pub(super) fn told(period: &Period, does: &str, now: Timestamp) -> String {
    let Period { starts_at, ends_at, is_shortened } = period;
    let until = match ends_at {
        Some(end) if *is_shortened => format!("until {end}, which the installation's maximum has brought forward"),
        Some(end) => format!("until {end}"),
        None => "until somebody ends it".to_owned(),
    };
    let since = if *starts_at == Timestamp::MIN { String::new() } else { format!("from {starts_at} ") };
    match ends_at.filter(|end| *end <= now) {
        Some(end) if *is_shortened => {
            format!("it ended at {end}, which the installation's maximum had brought forward")
        }
        Some(end) => format!("it ended at {end}"),
        None => format!("{does} {since}{until}"),
    }
}

/// Keeps the statuses of suspensions, and tells when they begin and end.
pub(super) async fn keep(inventory: &Arc<Inventory>, clock: &Clock, writer: &Writer, known: &Known, telling: &Telling) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut seen, mut turns, mut told) = (None, Turns::default(), HashMap::new());
    loop {
        ticks.tick().await;
        if !inventory.synced().iter().all(|(_, synced)| *synced) {
            continue;
        }
        let now = clock.now();
        let all = inventory.standings.suspensions();
        // Where one that held is taken away there is no status left to tell it by.
        for (turn, suspension) in turns.look(&all, now) {
            if let Turn::Deleted(true) = turn {
                telling.audit.record(&entry(
                    &suspension,
                    Deed::Over,
                    now,
                    Some("it was deleted while it held".to_owned()),
                ));
            }
        }
        let (surveys, matched) = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let words: Vec<_> = all.iter().map(|(_, period)| period.map(|one| (one.state(now), left(&one, now)))).collect();
        let look = Some((inventory.standings.changes(), inventory.routing.changes(), surveys, words));
        if look == seen {
            continue;
        }
        let writes = planned(inventory, now, matched.as_deref());
        let actions = urgent_first(writes);
        for Action::Write { kind, name, status, .. } in &actions {
            telling.tell(inventory, *kind, name, status, now, &mut told).await;
        }
        if written(inventory, writer, actions).await {
            (seen, told) = (look, HashMap::new());
        } else {
            sleep(PAUSE).await;
        }
    }
}

impl Telling {
    /// Tells what has begun or ended, where this status says so and neither the one that stands does nor what was told
    /// already: a status that cannot be written is tried again and again.
    async fn tell(
        &self,
        inventory: &Inventory,
        kind: RuleKind,
        name: &RuleName,
        status: &Status,
        now: Timestamp,
        told: &mut HashMap<Option<String>, String>,
    ) {
        let Some(standing) = inventory.standings.get(kind, name) else { return };
        let Some(suspension) = &standing.suspension else { return };
        let reason = |status: &Status| {
            let active = conditions_of(status).iter().find(|condition| condition.type_ == "Active").cloned();
            active.map(|active| (active.reason, active.message))
        };
        let before = standing.status.as_ref().and_then(reason).map(|(reason, _)| reason);
        let Some((after, message)) = reason(status) else { return };
        if before.as_deref() == Some(&after)
            || told.insert(standing.uid.clone(), after.clone()).as_ref() == Some(&after)
        {
            return;
        }
        let (deed, event) = match (&*after, before.as_deref()) {
            ("InForce", _) => (Some(Deed::Begin), "Begun"),
            ("Over", _) => (Some(Deed::Over), "Ended"),
            ("Scheduled" | "Applying" | "Ending" | "Invalid", _) => return,
            _ => (None, "Failed"),
        };
        let was_missed =
            deed == Some(Deed::Over) && !matches!(before.as_deref(), Some("InForce" | "Ending" | "Overdue"));
        let note = match was_missed {
            true => format!("{message}, while nobody was there to tell of it"),
            false => message,
        };
        let type_ = if deed.is_some() { EventType::Normal } else { EventType::Warning };
        if let Err(why) = self.events.tell(suspension, type_, event, &note).await {
            warn!(suspension = suspension.named(), "cannot publish an event: {why}");
        }
        if let Some(deed) = deed {
            self.audit.record(&entry(suspension, deed, now, Some(note)));
        }
    }
}
