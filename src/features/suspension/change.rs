//! A suspension before it is written: a new one, one with a later end, one that ends now.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use thiserror::Error;

use crate::kubernetes::inventory::rules::Terms;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicySpec;
use crate::kubernetes::resources::suspending::Period;
use crate::kubernetes::resources::suspension_object::{State, SuspensionObject, can_be};

/// Why a change makes no sense; the sentence says what would.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// What was asked for breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// What was asked for is fine, and contradicts how the suspension stands.
    #[error("{0}")]
    Conflict(String),
}

/// Until when a suspension is to last instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// So much longer than at present.
    By(SignedDuration),
    /// Until this instant.
    Until(Timestamp),
}

/// What is to be done to a suspension in order to end it.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// It is written with an end of now: it stays on the record.
    Write(Box<SuspensionObject>),
    /// It is deleted: it had not begun, and there is nothing to keep.
    Delete,
}

/// A new suspension, which begins now unless it says otherwise.
///
/// # Errors
///
/// When it breaks a rule that the API server would refuse it for, or would be over before it begins.
pub fn drafted(
    namespace: Option<String>,
    name: String,
    mut spec: ClusterSuspensionPolicySpec,
    audit_id: String,
    now: Timestamp,
    terms: &Terms,
) -> Result<SuspensionObject, Refusal> {
    let whole = |time: Option<Time>| time.map(|Time(time)| Time(whole_seconds(time)));
    spec.starts_at = whole(spec.starts_at).or(Some(Time(whole_seconds(now))));
    spec.expires_at = whole(spec.expires_at);
    let object = SuspensionObject {
        namespace,
        name,
        uid: None,
        generation: None,
        created_at: None,
        is_being_deleted: false,
        finalizers: Vec::new(),
        written_audit_id: Some(audit_id),
        spec,
    };
    if !can_be(object.namespace.as_deref(), &object.name) {
        let clean = crate::kernel::text::Clean(&object.name);
        return invalid(format!(
            "name is \"{clean}\", which is not a name of a-z, 0-9, - and ., at most 253 characters long"
        ));
    }
    if object.namespace.is_some() {
        let ClusterSuspensionPolicySpec { namespaces, namespace_selector, indefinite, .. } = &object.spec;
        let foreign = [
            (!namespaces.is_empty(), "namespaces"),
            (!namespace_selector.is_empty(), "namespaceSelector"),
            (*indefinite, "indefinite"),
        ];
        if let Some((_, field)) = foreign.into_iter().find(|(given, _)| *given) {
            return invalid(format!("{field} is only for a suspension of the cluster"));
        }
    }
    let maximum = terms.longest_suspension;
    object.compiled(maximum).map_err(|broken| Refusal::Invalid(broken.flaw.to_string()))?;
    let Period { starts_at, ends_at, .. } = period(&object, terms)?;
    match ends_at {
        Some(end) if end <= now => {
            invalid(format!("it would have ended at {end}, which is past; say when it ends anew"))
        }
        Some(end) if end <= starts_at => invalid(format!("it would end at {end}, before it begins at {starts_at}")),
        _ => Ok(object),
    }
}

/// The same suspension with a later end.
///
/// # Errors
///
/// When it is over, has no end, or would not end later.
pub fn extended(
    suspension: &SuspensionObject,
    extension: Extension,
    now: Timestamp,
    terms: &Terms,
) -> Result<SuspensionObject, Refusal> {
    let Period { starts_at, ends_at, .. } = changeable(suspension, now, terms)?;
    let Some(present) = ends_at else {
        return conflict(format!("{} has no end that could be later", suspension.named()));
    };
    let end = match extension {
        Extension::By(longer) => present.checked_add(longer).unwrap_or(Timestamp::MAX),
        Extension::Until(end) => end,
    };
    let end = whole_seconds(end);
    if end <= present {
        return invalid(format!("{} lasts until {present}; {end} is no later", suspension.named()));
    }
    let changed = with_period(suspension, starts_at, end);
    let reaches = period(&changed, terms)?.ends_at;
    if reaches.is_some_and(|reached| reached <= present) {
        let sentence = "lasts as long as the installation allows already; create a new one when it ends";
        return conflict(format!("{} {sentence}", suspension.named()));
    }
    Ok(changed)
}

/// What ends a suspension now.
///
/// # Errors
///
/// When it is over already.
pub fn ended(suspension: &SuspensionObject, now: Timestamp, terms: &Terms) -> Result<Ending, Refusal> {
    // One that cannot be read has no period, and whoever wants to be rid of it is not to be kept from that.
    if suspension.period(terms.longest_suspension).is_err() {
        return Ok(Ending::Delete);
    }
    let Period { starts_at, .. } = changeable(suspension, now, terms)?;
    let end = whole_seconds(now);
    if starts_at >= end {
        return Ok(Ending::Delete);
    }
    let mut changed = with_period(suspension, starts_at, end);
    changed.spec.indefinite = false;
    Ok(Ending::Write(Box::new(changed)))
}

/// Whether two drafts ask for the same, so that the second is the first once more.
pub fn asks_for_the_same(standing: &SuspensionObject, draft: &SuspensionObject, starts_were_given: bool) -> bool {
    let mut asked = draft.spec.clone();
    if !starts_were_given {
        asked.starts_at = standing.spec.starts_at.clone();
    }
    standing.namespace == draft.namespace && standing.name == draft.name && standing.spec == asked
}

fn changeable(suspension: &SuspensionObject, now: Timestamp, terms: &Terms) -> Result<Period, Refusal> {
    let period = period(suspension, terms)?;
    if suspension.is_being_deleted {
        return conflict(format!("{} is being deleted", suspension.named()));
    }
    match (period.state(now), period.ends_at) {
        (State::Over, Some(end)) => conflict(format!("{} is over since {end}; create a new one", suspension.named())),
        _ => Ok(period),
    }
}

/// As times are written; the second that has begun is the one that is meant.
fn whole_seconds(instant: Timestamp) -> Timestamp {
    let seconds = instant.as_nanosecond().div_euclid(1_000_000_000);
    i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or(instant)
}

/// With its start pinned, so that nothing of it hangs on when the object was created.
fn with_period(suspension: &SuspensionObject, starts_at: Timestamp, end: Timestamp) -> SuspensionObject {
    let mut changed = suspension.clone();
    if starts_at != Timestamp::MIN {
        changed.spec.starts_at = Some(Time(starts_at));
    }
    changed.spec.expires_at = Some(Time(end));
    changed.spec.lasts = None;
    changed
}

fn period(suspension: &SuspensionObject, terms: &Terms) -> Result<Period, Refusal> {
    suspension.period(terms.longest_suspension).map_err(|broken| Refusal::Invalid(broken.to_string()))
}

fn invalid<T>(sentence: String) -> Result<T, Refusal> {
    Err(Refusal::Invalid(sentence))
}

fn conflict<T>(sentence: String) -> Result<T, Refusal> {
    Err(Refusal::Conflict(sentence))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: &str = "2026-11-24T12:00:00Z";

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    fn draft(fields: serde_json::Value) -> Result<SuspensionObject, String> {
        let mut spec = json!({"suspend": "Injection", "reason": "loop"});
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let spec = serde_json::from_value(spec).unwrap();
        drafted(Some("shop".to_owned()), "debug".to_owned(), spec, "id".to_owned(), now(), &Terms::default())
            .map_err(|refusal| refusal.to_string())
    }

    fn end(object: &SuspensionObject) -> String {
        object.spec.expires_at.as_ref().unwrap().0.to_string()
    }

    #[test]
    fn a_draft_begins_now_and_is_refused_where_it_would_be_over_already() {
        let object = draft(json!({"for": "2h30m"})).unwrap();
        assert_eq!(object.spec.starts_at, Some(Time(now())));
        assert_eq!(object.to_json()["spec"]["startsAt"], NOW);
        for (fields, part) in [
            (
                json!({"expiresAt": "2026-11-24T11:00:00Z"}),
                "spec.expiresAt is 2026-11-24T11:00:00Z, which is not after",
            ),
            (json!({"startsAt": "2026-11-24T08:00:00Z", "for": "1h"}), "it would have ended at 2026-11-24T09:00:00Z"),
            (json!({}), "one of them says when it ends"),
            (json!({"for": "1h", "indefinite": true}), "indefinite is only for a suspension of the cluster"),
            (json!({"for": "1h", "namespaces": {"include": ["*"]}}), "namespaces is only for a suspension"),
        ] {
            assert!(draft(fields.clone()).unwrap_err().contains(part), "{fields}: {:?}", draft(fields.clone()));
        }
    }

    #[test]
    fn an_end_in_the_second_of_the_start_deletes_since_times_are_written_in_seconds() {
        let object = draft(json!({"for": "2h"})).unwrap();
        let soon = now() + SignedDuration::from_millis(900);
        assert_eq!(ended(&object, soon, &Terms::default()), Ok(Ending::Delete));
        let spec = serde_json::from_value(json!({"suspend": "Injection", "reason": "x", "for": "1h"})).unwrap();
        let name = || "debug".to_owned();
        let object = drafted(None, name(), spec, name(), soon, &Terms::default());
        assert!(object.is_err(), "one of the cluster says where");
        let object = draft(json!({"expiresAt": "2026-11-24T12:30:00.7Z"})).unwrap();
        assert_eq!(end(&object), "2026-11-24T12:30:00Z");
    }

    #[test]
    fn an_extension_counts_from_the_present_end_and_never_shortens() {
        let object = draft(json!({"for": "2h"})).unwrap();
        let extended = |extension| extended(&object, extension, now(), &Terms::default());
        let hour = SignedDuration::from_hours(1);
        assert_eq!(end(&extended(Extension::By(hour)).unwrap()), "2026-11-24T15:00:00Z");
        assert_eq!(extended(Extension::By(hour)).unwrap().spec.lasts, None);
        let sooner = Extension::Until("2026-11-24T13:00:00Z".parse().unwrap());
        assert!(matches!(extended(sooner), Err(Refusal::Invalid(_))));
        let month = draft(json!({"for": "720h"})).unwrap();
        let longer = super::extended(&month, Extension::By(hour), now(), &Terms::default());
        assert!(matches!(longer, Err(Refusal::Conflict(_))), "{longer:?}");
    }

    #[test]
    fn an_end_stays_on_the_record_unless_nothing_had_begun() {
        let object = draft(json!({"for": "2h"})).unwrap();
        let later = now() + SignedDuration::from_mins(5);
        let Ok(Ending::Write(ended)) = ended(&object, later, &Terms::default()) else { panic!("it is written") };
        assert_eq!(end(&ended), "2026-11-24T12:05:00Z");
        let again = super::ended(&ended, later, &Terms::default());
        assert!(matches!(again, Err(Refusal::Conflict(_))), "{again:?}");
        let scheduled = draft(json!({"startsAt": "2026-11-25T08:00:00Z", "for": "1h"})).unwrap();
        assert_eq!(super::ended(&scheduled, later, &Terms::default()), Ok(Ending::Delete));
    }
}
