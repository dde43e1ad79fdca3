//! Verdict on a finished command, from the writes, the forecasts and the restart.

use super::apply::OverrideOutcome;
use super::plan::SubjectPlan;

/// How a command ended. The order is that of severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OverrideVerdict {
    /// Everything is written, and new pods get what was requested.
    Done,
    /// The user declined.
    Declined,
    /// Everything is written, but new pods do not get what was requested.
    Hindered,
    /// A restart did not finish, or pods still differ after it.
    RestartIncomplete,
    /// A write or a restart failed, or workloads were left, since their pods could not be compared.
    Failed,
}

impl OverrideVerdict {
    /// Judges the writes. The worst one counts.
    pub fn of_writes<'p>(writes: impl Iterator<Item = (&'p SubjectPlan, OverrideOutcome)>) -> Self {
        let verdict = |(plan, outcome): (&SubjectPlan, OverrideOutcome)| match outcome {
            OverrideOutcome::Failed => Self::Failed,
            OverrideOutcome::Written | OverrideOutcome::Unchanged if plan.own_forecast.hindrance.is_some() => {
                Self::Hindered
            }
            OverrideOutcome::Written | OverrideOutcome::Unchanged => Self::Done,
        };
        writes.map(verdict).max().unwrap_or(Self::Done)
    }
}
