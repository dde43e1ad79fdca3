//! Step of a restart, as the API sends it.

use crate::features::restart::report::RestartStep;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// Numbered step of a restart.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "RestartStepped")]
pub(crate) struct NumberedStep {
    /// Number of the step, from 1.
    pub(super) number: u64,
    /// Time of the step.
    pub(super) at: Timestamp,
    #[serde(flatten)]
    pub(super) step: RestartStep,
}
