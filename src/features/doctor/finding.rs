//! Findings of the doctor, and their report.

use serde::Serialize;

/// All findings, in the order of the checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct DoctorReport(pub Vec<Finding>);

/// Result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Subject of the check, in one word.
    pub check: &'static str,
    pub state: FindingState,
    /// Result, in one sentence.
    pub found: String,
    /// Advice on what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum FindingState {
    /// All is well.
    Good,
    /// The result may be intended.
    Warning,
    /// The result keeps rules from their effect.
    Problem,
}

impl DoctorReport {
    /// Returns the worst state of a finding.
    pub fn worst(&self) -> FindingState {
        self.0.iter().map(|finding| finding.state).max().unwrap_or(FindingState::Good)
    }
}

impl Finding {
    /// Creates a finding that all is well.
    pub fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: FindingState::Good, found: found.into(), advice: None }
    }

    /// Creates a finding that may be intended.
    pub fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: FindingState::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    /// Creates a finding that keeps rules from their effect.
    pub fn problem(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: FindingState::Problem, found: found.into(), advice: Some(advice.into()) }
    }
}
