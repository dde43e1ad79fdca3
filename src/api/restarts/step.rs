//! One step of a restart, as the API sends it.

use crate::features::restart::telling::End;
use crate::features::restart::telling::Report;
use crate::features::restart::telling::Step;
use crate::features::restart::telling::Told;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// Something that has happened.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "RestartStepped")]
pub(crate) struct Stepped {
    /// Which step it is.
    pub(super) number: u64,
    /// When.
    pub(super) at: Timestamp,
    #[serde(flatten)]
    pub(super) step: Step,
}

/// Why not everything was done, in one sentence.
pub(crate) fn why(report: &Report) -> Option<String> {
    match (&report.end, report.not_up.first(), report.held.first(), report.refused.first()) {
        (End::Stopped(why), ..) => Some(why.clone()),
        (End::Interrupted, ..) => Some("it was stopped; what has begun rolls out by itself".to_owned()),
        (End::Halted, Some(Told { workload, why }), ..) => Some(format!("{workload} did not come up: {why}")),
        (End::Halted, None, Some(Told { workload, why }), _) => Some(format!("{workload} is held: {why}")),
        (End::Halted, None, None, _) => Some("it was halted".to_owned()),
        (End::Completed, .., Some(Told { workload, why })) => Some(format!("{workload} could not be restarted: {why}")),
        (End::Completed, .., None) => None,
    }
}
