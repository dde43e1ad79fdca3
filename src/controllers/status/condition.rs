//! Conditions of our resources, merged with the conditions that are stored already.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlannedCondition {
    pub(super) type_: &'static str,
    pub(super) status: ConditionStatus,
    /// Reason, in one word.
    pub(super) reason: &'static str,
    /// Sentence without a full stop.
    pub(super) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConditionStatus {
    True,
    False,
    Unknown,
}

impl ConditionStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(truth: bool) -> Self {
        if truth { Self::True } else { Self::False }
    }
}

impl PlannedCondition {
    pub(super) fn new(
        type_: &'static str,
        status: impl Into<ConditionStatus>,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { type_, status: status.into(), reason, message: message.into() }
    }
}

/// Merges planned conditions with the stored ones. A condition whose status does not change keeps its transition time.
pub(super) fn merge_conditions(
    planned: Vec<PlannedCondition>,
    stored: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let merge = |PlannedCondition { type_, status, reason, message }: PlannedCondition| {
        let before = stored.iter().find(|one| one.type_ == type_ && one.status == status.as_str());
        Condition {
            type_: type_.to_owned(),
            status: status.as_str().to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: generation,
            last_transition_time: before
                .map_or(Time(truncate_to_seconds(now)), |before| before.last_transition_time.clone()),
        }
    };
    planned.into_iter().map(merge).collect()
}

/// Selects the stored conditions that are ours, in our order. Others on the object belong to somebody else.
pub(super) fn own_conditions(stored: &[Condition], planned: &[Condition]) -> Vec<Condition> {
    planned.iter().filter_map(|one| stored.iter().find(|other| other.type_ == one.type_)).cloned().collect()
}

fn truncate_to_seconds(instant: Timestamp) -> Timestamp {
    instant.checked_sub(SignedDuration::from_nanos(instant.subsec_nanosecond().into())).unwrap_or(instant)
}
