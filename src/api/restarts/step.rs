//! Step of a restart, as the API sends it.

use crate::features::restart::report::RestartEnd;
use crate::features::restart::report::RestartReport;
use crate::features::restart::report::RestartStep;
use crate::features::restart::report::WorkloadReason;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// Something that has happened.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "RestartStepped")]
pub(crate) struct NumberedStep {
    /// Which step it is.
    pub(super) number: u64,
    /// When.
    pub(super) at: Timestamp,
    #[serde(flatten)]
    pub(super) step: RestartStep,
}

/// Explains in a sentence why not everything was done. Returns `None` if it was.
pub(crate) fn failure_reason(report: &RestartReport) -> Option<String> {
    match (&report.end, report.not_up.first(), report.held.first(), report.refused.first()) {
        (RestartEnd::Stopped(why), ..) => Some(why.clone()),
        (RestartEnd::Interrupted, ..) => Some("it was stopped; what has begun rolls out by itself".to_owned()),
        (RestartEnd::Halted, Some(WorkloadReason { workload, why }), ..) => {
            Some(format!("{workload} did not come up: {why}"))
        }
        (RestartEnd::Halted, None, Some(WorkloadReason { workload, why }), _) => {
            Some(format!("{workload} is held: {why}"))
        }
        (RestartEnd::Halted, None, None, _) => Some("it was halted".to_owned()),
        (RestartEnd::Completed, .., Some(WorkloadReason { workload, why })) => {
            Some(format!("{workload} could not be restarted: {why}"))
        }
        (RestartEnd::Completed, .., None) => None,
    }
}
