//! What happens to suspensions, by the clock or by somebody, seen by whoever looks again and again.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::audit::act::{Act, Deed, Object, Outcome};
use crate::kubernetes::resources::suspending::Period;
use crate::kubernetes::resources::suspension_object::{State, SuspensionObject};

/// Something that has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// There is a new one, which has not begun.
    Created,
    /// It has another spec.
    Changed,
    /// It holds from now on.
    Began,
    /// It is over.
    Ended,
    /// It is gone; whether it held until then is told.
    Deleted(bool),
}

/// What was last seen.
#[derive(Debug, Default)]
pub struct Turns {
    seen: Option<HashMap<String, Seen>>,
}

type Seen = (Arc<SuspensionObject>, Option<State>);

impl Turns {
    /// What has happened since the last look, the first of which sees nothing happen.
    pub fn look(
        &mut self,
        suspensions: &[(Arc<SuspensionObject>, Option<Period>)],
        now: Timestamp,
    ) -> Vec<(Turn, Arc<SuspensionObject>)> {
        let mut found: HashMap<String, Seen> = HashMap::new();
        let mut turns = Vec::new();
        for (object, period) in suspensions {
            let uid = identity(object);
            let state = period.map(|period| period.state(now));
            if let Some(seen) = &self.seen {
                let before = seen.get(&uid);
                turns.extend(turn(before, object, state).map(|turn| (turn, Arc::clone(object))));
            }
            found.insert(uid, (Arc::clone(object), state));
        }
        let seen = self.seen.replace(found).unwrap_or_default();
        let still = self.seen.iter().flatten();
        let still: std::collections::HashSet<&String> = still.map(|(uid, _)| uid).collect();
        let gone = seen.into_iter().filter(|(uid, _)| !still.contains(uid));
        turns.extend(gone.map(|(_, (object, state))| (Turn::Deleted(state == Some(State::InForce)), object)));
        turns
    }
}

/// What tells it from every other; one that was written into a file by hand has a name alone.
fn identity(object: &SuspensionObject) -> String {
    object.uid.clone().unwrap_or_else(|| object.named())
}

fn turn(before: Option<&Seen>, object: &SuspensionObject, state: Option<State>) -> Option<Turn> {
    match (before, state) {
        (None, Some(State::InForce)) => Some(Turn::Began),
        (None, Some(State::Over)) => Some(Turn::Ended),
        (None, Some(State::Scheduled) | None) => Some(Turn::Created),
        (Some((_, before)), now) if *before != now => match now {
            Some(State::InForce) => Some(Turn::Began),
            Some(State::Over) => Some(Turn::Ended),
            Some(State::Scheduled) | None => Some(Turn::Changed),
        },
        (Some((before, _)), _) => (before.spec != object.spec).then_some(Turn::Changed),
    }
}

/// How long something lasts, in one word that is true for a while: whole days, hours, tens of minutes, minutes.
pub fn left(period: &Period, now: Timestamp) -> Option<String> {
    // A second that has begun counts, so that the word holds from the instant at which it is first said.
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

/// What the audit log says when a suspension begins or ends.
pub fn entry(suspension: &SuspensionObject, act: Deed, now: Timestamp, why: Option<String>) -> Act {
    let SuspensionObject { namespace, name, uid, spec, .. } = suspension;
    let period = suspension.period(jiff::SignedDuration::MAX).ok();
    Act {
        time: now,
        id: suspension.audit_id().unwrap_or_default(),
        act,
        outcome: Outcome::Allowed,
        actor: None,
        object: Some(Object {
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

    fn lasting(seconds: i64) -> Period {
        Period { starts_at: at(0), ends_at: Some(at(seconds)), is_shortened: false }
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
        let word = |seconds: i64| left(&lasting(seconds), at(0)).unwrap_or_default();
        let told = [0, 59, 60, 599, 600, 3599, 3600, 86_399, 86_400, 30 * 86_400].map(word);
        assert_eq!(told, ["", "<1m", "1m", "9m", "10m", "50m", "1h", "23h", "1d", "30d"]);
        assert_eq!(left(&lasting(7200), at(-86_400)), Some("2h".to_owned()), "before it begins all of it is left");
        let month = (0..30 * 86_400).map(|second| left(&lasting(30 * 86_400), at(second)).unwrap());
        let mut words: Vec<String> = month.collect();
        words.dedup();
        assert!(words.len() < 80, "{} words", words.len());
    }

    #[test]
    fn what_begins_and_ends_by_the_clock_is_seen_and_so_is_what_goes() {
        let (mut turns, held) = (Turns::default(), [(object(), Some(lasting(60)))]);
        let mut look = |now| turns.look(&held, now).into_iter().map(|(turn, _)| turn).collect::<Vec<_>>();
        assert_eq!(look(at(-5)), [], "the first look sees what is, and not that it happened");
        assert_eq!(look(at(-1)), []);
        assert_eq!(look(at(0)), [Turn::Began]);
        assert_eq!(look(at(59)), []);
        assert_eq!(look(at(60)), [Turn::Ended]);
        assert_eq!(look(at(30)), [Turn::Began], "a clock that was set back");
        let by_hand = [(Arc::new(SuspensionObject { uid: None, ..SuspensionObject::clone(&held[0].0) }), held[0].1)];
        let mut of_file = Turns::default();
        assert!(of_file.look(&by_hand, at(-1)).is_empty());
        let began: Vec<_> = of_file.look(&by_hand, at(0)).into_iter().map(|(turn, _)| turn).collect();
        assert_eq!(began, [Turn::Began], "one that has no uid, since somebody wrote it into a file");
        let gone = turns.look(&[], at(31));
        assert_eq!(gone.iter().map(|(turn, _)| *turn).collect::<Vec<_>>(), [Turn::Deleted(true)]);
    }
}
