//! Changes of a suspension before they are written: a new one, a later end, an end now.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use thiserror::Error;

use super::request::{ChangeRequest, NewSuspension, SuspensionExtension};
use super::traffic::{RefusalSeverity, TrafficObstacle};
use crate::kubernetes::inventory::rules::RuleLimits;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicySpec;
use crate::kubernetes::resources::suspension_fields::SuspensionPeriod;
use crate::kubernetes::resources::suspension_object::{SuspensionObject, SuspensionPhase, is_valid_name};

/// Reason for refusing a change; the sentence says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SuspensionRefusal {
    /// The request breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// The request is valid, but contradicts the present state of the suspension.
    #[error("{0}")]
    Conflict(String),
    /// The suspension was changed since it was read.
    #[error("{0}")]
    Changed(String),
    /// The traffic cannot be suspended.
    #[error("{}", .0.iter().map(TrafficObstacle::sentence).collect::<Vec<_>>().join("; "))]
    Obstructed(Vec<TrafficObstacle>),
}

/// Write that carries out a change of a stored suspension.
#[derive(Debug, Clone, PartialEq)]
pub enum SuspensionChange {
    /// The spec is replaced. A suspension that ends now is written, so that it stays on the record.
    Write(Box<SuspensionObject>),
    /// The object is deleted: the suspension had not begun, so there is nothing to keep.
    Delete,
}

impl SuspensionRefusal {
    /// Returns how the refusal stops the request; of several obstacles, the first one decides.
    pub fn severity(&self) -> RefusalSeverity {
        match self {
            Self::Invalid(_) => RefusalSeverity::Invalid,
            Self::Conflict(_) | Self::Changed(_) => RefusalSeverity::Conflict,
            Self::Obstructed(obstacles) => {
                obstacles.first().map_or(RefusalSeverity::Conflict, TrafficObstacle::severity)
            }
        }
    }

    /// Refuses to change a suspension that was changed since it was read.
    pub fn changed_since(read: &SuspensionObject) -> Self {
        Self::Changed(format!("{} was changed since you read it; read it again", read.describe()))
    }

    /// Refuses to create a suspension under the name of another one.
    pub(super) fn name_taken(existing: &SuspensionObject) -> Self {
        let differs = format!("{} exists already, and differs from this request", existing.describe());
        Self::Conflict(format!("{differs}; choose another name, or extend or end that one"))
    }
}

/// Drafts a new suspension, which begins now unless its spec has a start.
///
/// # Errors
///
/// Refuses a spec that the API server would refuse too, and one that would be over before it begins.
pub fn draft_suspension(
    request: NewSuspension,
    now: Timestamp,
    terms: &RuleLimits,
) -> Result<SuspensionObject, SuspensionRefusal> {
    let NewSuspension { namespace, name, mut spec, audit_id } = request;
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
    if !is_valid_name(object.namespace.as_deref(), &object.name) {
        let clean = crate::kernel::text::CleanText(&object.name);
        return invalid(format!(
            "name is \"{clean}\", which is not a name of a-z, 0-9, - and ., at most 253 characters long"
        ));
    }
    if object.namespace.is_some() {
        let ClusterSuspensionPolicySpec { namespaces, namespace_selector, indefinite, .. } = &object.spec;
        let cluster_only = [
            (!namespaces.is_empty(), "namespaces"),
            (!namespace_selector.is_empty(), "namespaceSelector"),
            (*indefinite, "indefinite"),
        ];
        if let Some((_, field)) = cluster_only.into_iter().find(|(given, _)| *given) {
            return invalid(format!("{field} is only for a cluster suspension"));
        }
    }
    let maximum = terms.longest_suspension;
    object.compile(maximum).map_err(|broken| SuspensionRefusal::Invalid(broken.error.to_string()))?;
    let SuspensionPeriod { starts_at, ends_at, .. } = period(&object, terms)?;
    match ends_at {
        Some(end) if end <= now => {
            invalid(format!("the suspension would have ended at {end}, which is past; give a later end"))
        }
        Some(end) if end <= starts_at => {
            invalid(format!("the suspension would end at {end}, before it begins at {starts_at}"))
        }
        _ => Ok(object),
    }
}

/// Plans the write that carries out a requested change.
///
/// # Errors
///
/// Refuses a suspension that is over, and an extension of one that would not end later.
pub fn plan_change(
    suspension: &SuspensionObject,
    request: ChangeRequest,
    now: Timestamp,
    terms: &RuleLimits,
) -> Result<SuspensionChange, SuspensionRefusal> {
    match request {
        ChangeRequest::Extend(extension) => extend_suspension(suspension, extension, now, terms)
            .map(|extended| SuspensionChange::Write(Box::new(extended))),
        ChangeRequest::End => end_suspension(suspension, now, terms),
    }
}

/// Returns the suspension with a later end.
///
/// # Errors
///
/// Refuses a suspension that is over, has no end, or would not end later.
fn extend_suspension(
    suspension: &SuspensionObject,
    extension: SuspensionExtension,
    now: Timestamp,
    terms: &RuleLimits,
) -> Result<SuspensionObject, SuspensionRefusal> {
    let SuspensionPeriod { starts_at, ends_at, .. } = changeable_period(suspension, now, terms)?;
    let Some(present) = ends_at else {
        return conflict(format!("{} has no end, so it cannot be extended", suspension.describe()));
    };
    let end = match extension {
        SuspensionExtension::By(longer) => present.checked_add(longer).unwrap_or(Timestamp::MAX),
        SuspensionExtension::Until(end) => end,
    };
    let end = whole_seconds(end);
    if end <= present {
        return invalid(format!("{} lasts until {present}; {end} is not later", suspension.describe()));
    }
    let changed = with_period(suspension, starts_at, end);
    let reaches = period(&changed, terms)?.ends_at;
    if reaches.is_some_and(|reached| reached <= present) {
        let sentence = "already lasts as long as the installation allows; create a new one when it ends";
        return conflict(format!("{} {sentence}", suspension.describe()));
    }
    Ok(changed)
}

/// Plans the end of a suspension, now.
///
/// # Errors
///
/// Refuses a suspension that is over already.
fn end_suspension(
    suspension: &SuspensionObject,
    now: Timestamp,
    terms: &RuleLimits,
) -> Result<SuspensionChange, SuspensionRefusal> {
    // An invalid suspension has no period, but its user must be able to get rid of it.
    if suspension.period(terms.longest_suspension).is_err() {
        return Ok(SuspensionChange::Delete);
    }
    let SuspensionPeriod { starts_at, .. } = changeable_period(suspension, now, terms)?;
    let end = whole_seconds(now);
    if starts_at >= end {
        return Ok(SuspensionChange::Delete);
    }
    let mut changed = with_period(suspension, starts_at, end);
    changed.spec.indefinite = false;
    Ok(SuspensionChange::Write(Box::new(changed)))
}

/// Compares a draft with a stored suspension: true if the draft is the same request, repeated.
pub(super) fn is_same_request(stored: &SuspensionObject, draft: &SuspensionObject, starts_were_given: bool) -> bool {
    let mut requested = draft.spec.clone();
    if !starts_were_given {
        requested.starts_at = stored.spec.starts_at.clone();
    }
    stored.namespace == draft.namespace && stored.name == draft.name && stored.spec == requested
}

fn changeable_period(
    suspension: &SuspensionObject,
    now: Timestamp,
    terms: &RuleLimits,
) -> Result<SuspensionPeriod, SuspensionRefusal> {
    let period = period(suspension, terms)?;
    if suspension.is_being_deleted {
        return conflict(format!("{} is being deleted", suspension.describe()));
    }
    match (period.phase(now), period.ends_at) {
        (SuspensionPhase::Over, Some(end)) => {
            conflict(format!("{} ended at {end}; create a new one", suspension.describe()))
        }
        _ => Ok(period),
    }
}

/// Rounds down to the second, as times are written in objects.
fn whole_seconds(instant: Timestamp) -> Timestamp {
    let seconds = instant.as_nanosecond().div_euclid(1_000_000_000);
    i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or(instant)
}

/// Replaces the end and pins the start, so that the period no longer depends on when the object was created.
fn with_period(suspension: &SuspensionObject, starts_at: Timestamp, end: Timestamp) -> SuspensionObject {
    let mut changed = suspension.clone();
    if starts_at != Timestamp::MIN {
        changed.spec.starts_at = Some(Time(starts_at));
    }
    changed.spec.expires_at = Some(Time(end));
    changed.spec.lasts = None;
    changed
}

fn period(suspension: &SuspensionObject, terms: &RuleLimits) -> Result<SuspensionPeriod, SuspensionRefusal> {
    suspension.period(terms.longest_suspension).map_err(|broken| SuspensionRefusal::Invalid(broken.to_string()))
}

fn invalid<T>(sentence: String) -> Result<T, SuspensionRefusal> {
    Err(SuspensionRefusal::Invalid(sentence))
}

fn conflict<T>(sentence: String) -> Result<T, SuspensionRefusal> {
    Err(SuspensionRefusal::Conflict(sentence))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
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
        draft_in(Some("shop"), spec, now()).map_err(|refusal| refusal.to_string())
    }

    fn draft_in(
        namespace: Option<&str>,
        spec: ClusterSuspensionPolicySpec,
        now: Timestamp,
    ) -> Result<SuspensionObject, SuspensionRefusal> {
        let name = Some("debug".to_owned());
        let request = NewSuspension::new(namespace.map(str::to_owned), name, spec, "id".to_owned());
        draft_suspension(request, now, &RuleLimits::default())
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
            (
                json!({"startsAt": "2026-11-24T08:00:00Z", "for": "1h"}),
                "the suspension would have ended at 2026-11-24T09:00:00Z",
            ),
            (json!({}), "one of them says when it ends"),
            (json!({"for": "1h", "indefinite": true}), "indefinite is only for a cluster suspension"),
            (json!({"for": "1h", "namespaces": {"include": ["*"]}}), "namespaces is only for a cluster suspension"),
        ] {
            assert!(draft(fields.clone()).unwrap_err().contains(part), "{fields}: {:?}", draft(fields.clone()));
        }
    }

    #[test]
    fn an_end_in_the_second_of_the_start_deletes_since_times_are_written_in_seconds() {
        let object = draft(json!({"for": "2h"})).unwrap();
        let soon = now() + SignedDuration::from_millis(900);
        assert_eq!(end_suspension(&object, soon, &RuleLimits::default()), Ok(SuspensionChange::Delete));
        let spec = serde_json::from_value(json!({"suspend": "Injection", "reason": "x", "for": "1h"})).unwrap();
        let object = draft_in(None, spec, soon);
        assert!(object.is_err(), "one of the cluster says where");
        let object = draft(json!({"expiresAt": "2026-11-24T12:30:00.7Z"})).unwrap();
        assert_eq!(end(&object), "2026-11-24T12:30:00Z");
    }

    #[test]
    fn an_extension_counts_from_the_present_end_and_never_shortens() {
        let object = draft(json!({"for": "2h"})).unwrap();
        let extended = |extension| extend_suspension(&object, extension, now(), &RuleLimits::default());
        let hour = SignedDuration::from_hours(1);
        assert_eq!(end(&extended(SuspensionExtension::By(hour)).unwrap()), "2026-11-24T15:00:00Z");
        assert_eq!(extended(SuspensionExtension::By(hour)).unwrap().spec.lasts, None);
        let sooner = SuspensionExtension::Until("2026-11-24T13:00:00Z".parse().unwrap());
        assert!(matches!(extended(sooner), Err(SuspensionRefusal::Invalid(_))));
        let month = draft(json!({"for": "720h"})).unwrap();
        let longer = super::extend_suspension(&month, SuspensionExtension::By(hour), now(), &RuleLimits::default());
        assert!(matches!(longer, Err(SuspensionRefusal::Conflict(_))), "{longer:?}");
    }

    #[test]
    fn an_end_stays_on_the_record_unless_nothing_had_begun() {
        let object = draft(json!({"for": "2h"})).unwrap();
        let later = now() + SignedDuration::from_mins(5);
        let Ok(SuspensionChange::Write(ended)) = end_suspension(&object, later, &RuleLimits::default()) else {
            panic!("it is written")
        };
        assert_eq!(end(&ended), "2026-11-24T12:05:00Z");
        let again = super::end_suspension(&ended, later, &RuleLimits::default());
        assert!(matches!(again, Err(SuspensionRefusal::Conflict(_))), "{again:?}");
        let scheduled = draft(json!({"startsAt": "2026-11-25T08:00:00Z", "for": "1h"})).unwrap();
        assert_eq!(super::end_suspension(&scheduled, later, &RuleLimits::default()), Ok(SuspensionChange::Delete));
    }
}
