//! Detects changes of suspensions, by the clock or by people, from repeated observations.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::audit::act_entry::{ActEntry, ActKind, ActOutcome, AuditObject};
use crate::kubernetes::resources::suspension_fields::SuspensionPeriod;
use crate::kubernetes::resources::suspension_object::{SuspensionObject, SuspensionPhase};

/// Change of a suspension between two observations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuspensionTransition {
    /// The suspension is new, and has not begun.
    Created,
    /// The spec is different.
    Changed,
    /// The suspension is in force from now on.
    Began,
    /// The suspension is over.
    Ended,
    /// The suspension is gone; true if it was in force until then.
    Deleted(bool),
}

/// Compares the suspensions with those of the previous observation.
#[derive(Debug, Default)]
pub struct TransitionTracker {
    previous: Option<HashMap<String, ObservedSuspension>>,
}

type ObservedSuspension = (Arc<SuspensionObject>, Option<SuspensionPhase>);

impl TransitionTracker {
    /// Returns the transitions since the previous observation; the first observation returns none.
    pub fn observe(
        &mut self,
        suspensions: &[(Arc<SuspensionObject>, Option<SuspensionPeriod>)],
        now: Timestamp,
    ) -> Vec<(SuspensionTransition, Arc<SuspensionObject>)> {
        let mut current: HashMap<String, ObservedSuspension> = HashMap::new();
        let mut transitions = Vec::new();
        for (object, period) in suspensions {
            let uid = identity_key(object);
            let state = period.map(|period| period.phase(now));
            if let Some(previous) = &self.previous {
                let before = previous.get(&uid);
                transitions.extend(
                    transition_between(before, object, state).map(|transition| (transition, Arc::clone(object))),
                );
            }
            current.insert(uid, (Arc::clone(object), state));
        }
        let previous = self.previous.replace(current).unwrap_or_default();
        let present = self.previous.iter().flatten();
        let present: std::collections::HashSet<&String> = present.map(|(uid, _)| uid).collect();
        let gone = previous.into_iter().filter(|(uid, _)| !present.contains(uid));
        transitions.extend(gone.map(|(_, (object, state))| {
            (SuspensionTransition::Deleted(state == Some(SuspensionPhase::InForce)), object)
        }));
        transitions
    }
}

/// Returns the UID, or the full name of an object that was written into a file by hand and has no UID.
fn identity_key(object: &SuspensionObject) -> String {
    object.uid.clone().unwrap_or_else(|| object.describe())
}

fn transition_between(
    before: Option<&ObservedSuspension>,
    object: &SuspensionObject,
    state: Option<SuspensionPhase>,
) -> Option<SuspensionTransition> {
    match (before, state) {
        (None, Some(SuspensionPhase::InForce)) => Some(SuspensionTransition::Began),
        (None, Some(SuspensionPhase::Over)) => Some(SuspensionTransition::Ended),
        (None, Some(SuspensionPhase::Scheduled) | None) => Some(SuspensionTransition::Created),
        (Some((_, before)), now) if *before != now => match now {
            Some(SuspensionPhase::InForce) => Some(SuspensionTransition::Began),
            Some(SuspensionPhase::Over) => Some(SuspensionTransition::Ended),
            Some(SuspensionPhase::Scheduled) | None => Some(SuspensionTransition::Changed),
        },
        (Some((before, _)), _) => (before.spec != object.spec).then_some(SuspensionTransition::Changed),
    }
}

/// Returns the remaining time in one word that stays true for a while: whole days, hours, tens of minutes, minutes.
pub fn remaining_time(period: &SuspensionPeriod, now: Timestamp) -> Option<String> {
    // A second that has begun counts, so that the word is true from the instant at which it is first shown.
    let seconds = (period.ends_at?.duration_since(now.max(period.starts_at)).as_millis() + 999) / 1000;
    let minutes = seconds / 60;
    Some(match (seconds, minutes) {
        (..=0, _) => return None,
        (_, 0) => "<1m".to_owned(),
        (_, 1..10) => format!("{minutes}m"),
        (_, 10..60) => format!("{}m", minutes / 10 * 10),
        (_, 60..1440) => format!("{}h", minutes / 60),
        _ => format!("{}d", minutes / 1440),
    })
}

/// Builds the audit entry of a suspension that begins or ends.
pub fn audit_entry(suspension: &SuspensionObject, act: ActKind, now: Timestamp, why: Option<String>) -> ActEntry {
    let SuspensionObject { namespace, name, uid, spec, .. } = suspension;
    let period = suspension.period(jiff::SignedDuration::MAX).ok();
    ActEntry {
        time: now,
        id: suspension.audit_id().unwrap_or_default(),
        act,
        outcome: ActOutcome::Allowed,
        actor: None,
        object: Some(AuditObject {
            kind: suspension.kind().to_owned(),
            namespace: namespace.clone(),
            name: Some(name.clone()),
            uid: uid.clone(),
        }),
        before: None,
        after: None,
        reason: Some(spec.reason.clone()),
        ticket: spec.ticket.clone(),
        until: period.and_then(|period| period.ends_at),
        why,
        dry_run: false,
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const START: &str = "2026-11-24T12:00:00Z";

    fn at(seconds: i64) -> Timestamp {
        START.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
    }

    fn lasting(seconds: i64) -> SuspensionPeriod {
        SuspensionPeriod { starts_at: at(0), ends_at: Some(at(seconds)), is_shortened: false }
    }

    fn object() -> Arc<SuspensionObject> {
        let spec = serde_json::from_value(serde_json::json!({"suspend": "Injection", "reason": "x", "for": "1h"}));
        Arc::new(SuspensionObject {
            namespace: Some("shop".to_owned()),
            name: "debug".to_owned(),
            uid: Some("uid".to_owned()),
            generation: None,
            created_at: None,
            is_being_deleted: false,
            finalizers: Vec::new(),
            written_audit_id: None,
            spec: spec.unwrap(),
        })
    }

    #[test]
    fn time_left_is_told_in_words_that_rarely_change() {
        let word = |seconds: i64| remaining_time(&lasting(seconds), at(0)).unwrap_or_default();
        let words = [0, 59, 60, 599, 600, 3599, 3600, 86_399, 86_400, 30 * 86_400].map(word);
        assert_eq!(words, ["", "<1m", "1m", "9m", "10m", "50m", "1h", "23h", "1d", "30d"]);
        assert_eq!(
            remaining_time(&lasting(7200), at(-86_400)),
            Some("2h".to_owned()),
            "before it begins all of it is left"
        );
        let month = (0..30 * 86_400).map(|second| remaining_time(&lasting(30 * 86_400), at(second)).unwrap());
        let mut words: Vec<String> = month.collect();
        words.dedup();
        assert!(words.len() < 80, "{} words", words.len());
    }

    #[test]
    fn what_begins_and_ends_by_the_clock_is_seen_and_so_is_what_goes() {
        let (mut tracker, suspensions) = (TransitionTracker::default(), [(object(), Some(lasting(60)))]);
        let mut observe =
            |now| tracker.observe(&suspensions, now).into_iter().map(|(transition, _)| transition).collect::<Vec<_>>();
        assert_eq!(observe(at(-5)), [], "the first look sees what is, and not that it happened");
        assert_eq!(observe(at(-1)), []);
        assert_eq!(observe(at(0)), [SuspensionTransition::Began]);
        assert_eq!(observe(at(59)), []);
        assert_eq!(observe(at(60)), [SuspensionTransition::Ended]);
        assert_eq!(observe(at(30)), [SuspensionTransition::Began], "a clock that was set back");
        let by_hand = [(
            Arc::new(SuspensionObject { uid: None, ..SuspensionObject::clone(&suspensions[0].0) }),
            suspensions[0].1,
        )];
        let mut of_file = TransitionTracker::default();
        assert!(of_file.observe(&by_hand, at(-1)).is_empty());
        let began: Vec<_> = of_file.observe(&by_hand, at(0)).into_iter().map(|(transition, _)| transition).collect();
        assert_eq!(began, [SuspensionTransition::Began], "one that has no uid, since somebody wrote it into a file");
        let gone = tracker.observe(&[], at(31));
        assert_eq!(
            gone.iter().map(|(transition, _)| *transition).collect::<Vec<_>>(),
            [SuspensionTransition::Deleted(true)]
        );
    }
}
