//! Conditions: what is said of an object, settled with what stands on it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// What a condition is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Saying {
    /// Its type.
    pub(super) of: &'static str,
    pub(super) status: Truth,
    /// One word for why.
    pub(super) reason: &'static str,
    /// A sentence, without a full stop.
    pub(super) message: String,
}

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    /// It cannot be told.
    Unknown,
}

impl Truth {
    fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(truth: bool) -> Self {
        if truth { Self::True } else { Self::False }
    }
}

impl Saying {
    pub(super) fn new(
        of: &'static str,
        status: impl Into<Truth>,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { of, status: status.into(), reason, message: message.into() }
    }
}

/// The conditions as they are to stand: one whose status does not change keeps the time of its last transition.
pub(super) fn settled(
    sayings: Vec<Saying>,
    standing: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let settled = |Saying { of, status, reason, message }: Saying| {
        let before = standing.iter().find(|one| one.type_ == of && one.status == status.as_str());
        Condition {
            type_: of.to_owned(),
            status: status.as_str().to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: generation,
            last_transition_time: before.map_or(Time(whole_seconds(now)), |before| before.last_transition_time.clone()),
        }
    };
    sayings.into_iter().map(settled).collect()
}

/// Those conditions that stand and are ours to write, in our order; others on the object are somebody else's.
pub(super) fn ours(standing: &[Condition], wanted: &[Condition]) -> Vec<Condition> {
    wanted.iter().filter_map(|one| standing.iter().find(|other| other.type_ == one.type_)).cloned().collect()
}

fn whole_seconds(instant: Timestamp) -> Timestamp {
    instant.checked_sub(SignedDuration::from_nanos(instant.subsec_nanosecond().into())).unwrap_or(instant)
}
