//! Writes the statuses of suspensions, and reports when they begin and end.
//!
//! Guarantee: a begin and an end are reported at least once, by an event and in the audit log. The stored status is the last
//! report, so a later leader, even after the end, reports what the previous one could not.
//! Cost: a scan of the suspensions twice a second; workloads are not scanned for it.

use crate::controllers::status::period::describe_period;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::events::EventType;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::warn;

use super::condition::{ConditionStatus, PlannedCondition, merge_conditions};
use super::policy::describe_matches;
use super::survey::MatchTally;
use super::{
    PAUSE, SharedMatches, StatusUrgency, StatusWrite, TICK, conditions_of, plan_write, sort_by_urgency, traffic,
    write_all,
};
use crate::audit::AuditLog;
use crate::audit::act_entry::ActKind;
use crate::features::suspension::transitions::{SuspensionTransition, TransitionTracker, audit_entry, remaining_time};
use crate::kernel::clock::Clock;
use crate::kernel::count::to_i64;
use crate::kubernetes::client::events::EventPublisher;
use crate::kubernetes::client::status::StatusWriter;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind};
use crate::kubernetes::inventory::rule_records::RuleRecord;
use crate::kubernetes::inventory::rules::ParsedRule;
use crate::kubernetes::resources::status::{RuleStatus, SuspensionStatus};
use crate::kubernetes::resources::suspension_fields::SuspensionPeriod;
use crate::kubernetes::resources::suspension_object::SuspensionPhase;

/// Reports the begin and the end of a suspension.
#[derive(Clone)]
pub struct TransitionReporter {
    pub events: EventPublisher,
    pub audit: AuditLog,
}

/// Plans the status writes of all suspensions; `matched` are the counts of the last survey, if there was one.
pub(super) fn plan_statuses(
    inventory: &Inventory,
    now: Timestamp,
    matched: Option<&HashMap<NamespacedName, MatchTally>>,
) -> Vec<(StatusUrgency, StatusWrite)> {
    let plan = |(kind, name, record): (RuleKind, NamespacedName, RuleRecord)| {
        // A rule of a newer generation is handled when it arrives.
        let rule = inventory.rules.get(kind, &name)?;
        let counted = matched.map(|matched| matched.get(&name).cloned().unwrap_or_default());
        let status = status(inventory, &record, &rule, counted.as_ref(), now);
        plan_write(kind, &name, &record, status)
    };
    inventory.rule_records.suspension_records().into_iter().filter_map(plan).collect()
}

fn status(
    inventory: &Inventory,
    record: &RuleRecord,
    rule: &ParsedRule,
    counted: Option<&MatchTally>,
    now: Timestamp,
) -> RuleStatus {
    let stored_count = match &record.status {
        Some(RuleStatus::Suspension(status)) => status.matched_workloads,
        Some(RuleStatus::Policy(_)) | None => None,
    };
    let mut status = SuspensionStatus { observed_generation: record.generation, ..SuspensionStatus::default() };
    let conditions = match (rule, record.period, &record.suspension) {
        (ParsedRule::Invalid(why), ..) => invalid_conditions(why),
        (ParsedRule::Suspension(_), Some(period), _) => {
            // The targets of a suspension that is over are no longer counted.
            let is_over = period.phase(now) == SuspensionPhase::Over;
            let counted = counted.filter(|_| !is_over);
            status.matched_workloads = counted.map_or(stored_count, |matched| Some(to_i64(matched.workloads)));
            injection_conditions(&period, counted, stored_count, now)
        }
        (ParsedRule::Traffic(_), Some(period), Some(suspension)) => {
            traffic::traffic_conditions(inventory, suspension, &period, now, &mut status)
        }
        (ParsedRule::Suspension(_) | ParsedRule::Traffic(_) | ParsedRule::Policy(_), ..) => {
            invalid_conditions("the times of the suspension cannot be read")
        }
    };
    if !matches!(rule, ParsedRule::Invalid(_))
        && let Some(period) = record.period
    {
        status.starts_at = Some(Time(period.starts_at)).filter(|_| period.starts_at != Timestamp::MIN);
        status.ends_at = period.ends_at.map(Time);
        status.left = remaining_time(&period, now);
    }
    let existing = record.status.as_ref().map(conditions_of).unwrap_or_default();
    status.conditions = merge_conditions(conditions, existing, record.generation, now);
    RuleStatus::Suspension(status)
}

/// Builds the conditions of an invalid suspension; `why` names it, and the error.
fn invalid_conditions(why: &str) -> Vec<PlannedCondition> {
    let nothing = "the suspension cannot be read, and suspends nothing";
    vec![
        PlannedCondition::new("Ready", false, "Invalid", why),
        PlannedCondition::new("Active", false, "Invalid", nothing),
        PlannedCondition::new("Expired", ConditionStatus::Unknown, "Invalid", nothing),
        PlannedCondition::new("Failed", true, "Invalid", nothing),
    ]
}

/// Builds the conditions of a suspension of injection at this instant; `stored_count` is the count of the stored status.
fn injection_conditions(
    period: &SuspensionPeriod,
    matched: Option<&MatchTally>,
    stored_count: Option<i64>,
    now: Timestamp,
) -> Vec<PlannedCondition> {
    let sentence = describe_period(period, "new pods get no sidecar", now);
    let state = period.phase(now);
    let is_over = state == SuspensionPhase::Over;
    let ready = match (matched, stored_count) {
        _ if is_over => sentence.clone(),
        (Some(matched), _) => describe_matches(matched),
        (None, Some(stored_count)) => describe_matches(&MatchTally {
            workloads: usize::try_from(stored_count).unwrap_or_default(),
            ..MatchTally::default()
        }),
        (None, None) => "matching workloads are not counted yet".to_owned(),
    };
    vec![
        PlannedCondition::new("Ready", true, "Understood", ready),
        PlannedCondition::new("Active", state == SuspensionPhase::InForce, state.as_str(), sentence.clone()),
        PlannedCondition::new("Expired", is_over, state.as_str(), sentence),
        PlannedCondition::new(
            "Failed",
            false,
            "Understood",
            "every decision applies the suspension, without further steps",
        ),
    ]
}

/// Keeps the statuses of suspensions up to date, and reports when they begin and end; runs until dropped.
pub(super) async fn run(
    inventory: &Arc<Inventory>,
    clock: &Clock,
    writer: &StatusWriter,
    known: &SharedMatches,
    reporter: &TransitionReporter,
) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut seen, mut transitions, mut reported) = (None, TransitionTracker::default(), HashMap::new());
    loop {
        ticks.tick().await;
        if !inventory.is_synced() {
            continue;
        }
        let now = clock.now();
        let all = inventory.rule_records.suspensions();
        // A deleted suspension has no status left, so the end of one that was in force is reported here.
        for (transition, suspension) in transitions.observe(&all, now) {
            if let SuspensionTransition::Deleted(true) = transition {
                reporter.audit.record(&audit_entry(
                    &suspension,
                    ActKind::Over,
                    now,
                    Some("the suspension was deleted while it was in force".to_owned()),
                ));
            }
        }
        let (surveys, matched) = known.lock().clone();
        let words: Vec<_> =
            all.iter().map(|(_, period)| period.map(|one| (one.phase(now), remaining_time(&one, now)))).collect();
        let observed = Some((inventory.rule_records.change_count(), inventory.routing.change_count(), surveys, words));
        if observed == seen {
            continue;
        }
        let writes = sort_by_urgency(plan_statuses(inventory, now, matched.as_deref()));
        for StatusWrite { kind, name, status, .. } in &writes {
            reporter.report_transition(inventory, *kind, name, status, now, &mut reported).await;
        }
        if write_all(inventory, writer, writes).await {
            (seen, reported) = (observed, HashMap::new());
        } else {
            sleep(PAUSE).await;
        }
    }
}

impl TransitionReporter {
    /// Reports a begin or an end if the new status shows it, but the stored status and the reports since do not. Writing a status
    /// may be retried many times, and must not be reported again.
    async fn report_transition(
        &self,
        inventory: &Inventory,
        kind: RuleKind,
        name: &NamespacedName,
        status: &RuleStatus,
        now: Timestamp,
        reported: &mut HashMap<Option<String>, String>,
    ) {
        let Some(record) = inventory.rule_records.get(kind, name) else { return };
        let Some(suspension) = &record.suspension else { return };
        let reason = |status: &RuleStatus| {
            let active = conditions_of(status).iter().find(|condition| condition.type_ == "Active").cloned();
            active.map(|active| (active.reason, active.message))
        };
        let before = record.status.as_ref().and_then(reason).map(|(reason, _)| reason);
        let Some((after, message)) = reason(status) else { return };
        if before.as_deref() == Some(&after)
            || reported.insert(record.uid.clone(), after.clone()).as_ref() == Some(&after)
        {
            return;
        }
        let (act, event) = match (&*after, before.as_deref()) {
            ("InForce", _) => (Some(ActKind::Begin), "Begun"),
            ("Over", _) => (Some(ActKind::Over), "Ended"),
            ("Scheduled" | "Applying" | "Ending" | "Invalid", _) => return,
            _ => (None, "Failed"),
        };
        let was_missed =
            act == Some(ActKind::Over) && !matches!(before.as_deref(), Some("InForce" | "Ending" | "Overdue"));
        let note = match was_missed {
            true => format!("{message}; no replica was there to report it in time"),
            false => message,
        };
        let type_ = if act.is_some() { EventType::Normal } else { EventType::Warning };
        if let Err(why) = self.events.publish_suspension(suspension, type_, event, &note).await {
            warn!(suspension = suspension.describe(), "cannot publish an event: {why}");
        }
        if let Some(act) = act {
            self.audit.record(&audit_entry(suspension, act, now, Some(note)));
        }
    }
}
