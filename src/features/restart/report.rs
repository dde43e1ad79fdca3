//! Steps and final report of a restart.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::workload::NamespacedWorkload;
use crate::kernel::api_error::ApiError;

/// Step of a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "step", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[schemars(rename = "RestartStep")]
pub enum RestartStep {
    /// A wave begins: these workloads replace their pods.
    Wave {
        /// Workloads of the wave.
        workloads: Vec<NamespacedWorkload>,
        /// Number of workloads that are done, successfully or not.
        over: usize,
        /// Number of workloads in all.
        of: usize,
    },
    /// The restart waits for a workload.
    Waiting {
        /// Workload that replaces its pods.
        workload: NamespacedWorkload,
        /// Thing that the workload waits for.
        what: String,
    },
    /// All pods of a workload are new and ready.
    Restarted {
        /// Restarted workload.
        workload: NamespacedWorkload,
    },
    /// A workload does not belong to this restart any more.
    Passed {
        /// Workload, and the reason.
        workload: WorkloadReason,
    },
    /// A workload could not be written.
    Refused {
        /// Workload, and the reason.
        workload: WorkloadReason,
    },
    /// A workload does not come up.
    NotUp {
        /// Workload, and the reason.
        workload: WorkloadReason,
    },
    /// PodDisruptionBudgets, or other restarts under them, hold all remaining workloads.
    Held {
        /// Workloads, and the reasons.
        workloads: Vec<WorkloadReason>,
        /// Number of workloads that are not listed.
        more: usize,
    },
    /// The API server does not answer, and is asked again.
    Away {
        /// Error of the last request.
        why: String,
    },
    /// The API server answers again.
    Back,
}

/// Workload, and the reason why it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "WorkloadAndWhy")]
pub struct WorkloadReason {
    /// Workload.
    #[serde(flatten)]
    pub workload: NamespacedWorkload,
    /// Reason, in a sentence.
    pub why: String,
}

/// End of a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RestartEnd")]
pub enum RestartEnd {
    /// Nothing is left to do.
    Completed,
    /// A workload did not come up, or a budget held the rest for too long.
    Halted,
    /// A user stopped the restart.
    Interrupted,
    /// The restart could not continue, with the reason.
    Stopped(String),
}

/// Result of a restart. A workload that is not restarted, passed or refused still bears the mark of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RestartReport")]
pub struct RestartReport {
    /// Identifier of the run.
    pub run: String,
    /// End of the restart.
    pub end: RestartEnd,
    /// Workloads whose pods are all new and ready.
    pub restarted: Vec<NamespacedWorkload>,
    /// Workloads that do not belong to this restart any more.
    pub passed: Vec<WorkloadReason>,
    /// Workloads that could not be written.
    pub refused: Vec<WorkloadReason>,
    /// Workloads that did not come up.
    pub not_up: Vec<WorkloadReason>,
    /// Workloads that PodDisruptionBudgets, or other restarts under them, held for too long.
    pub held: Vec<WorkloadReason>,
    /// Workloads that still replace their pods, and are not waited for any more.
    pub rolling: Vec<NamespacedWorkload>,
    /// Workloads that have not begun.
    pub pending: Vec<NamespacedWorkload>,
}

impl RestartReport {
    /// Makes the report of a run in which nothing has happened.
    pub fn new(run: &str) -> Self {
        Self {
            run: run.to_owned(),
            end: RestartEnd::Completed,
            restarted: Vec::new(),
            passed: Vec::new(),
            refused: Vec::new(),
            not_up: Vec::new(),
            held: Vec::new(),
            rolling: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// Returns whether something is left to resume.
    pub fn can_resume(&self) -> bool {
        !self.remaining_namespaces().is_empty()
    }

    /// Returns the namespaces with remaining work. The restart is resumed or forgotten in each of them separately.
    pub fn remaining_namespaces(&self) -> BTreeSet<&str> {
        let Self { not_up, rolling, pending, .. } = self;
        let names = not_up.iter().map(|one| &one.workload).chain(rolling).chain(pending);
        names.map(|name| name.namespace.as_str()).collect()
    }

    /// Judges the report. `is_named`: the user named the workloads, so a passed one counts as not done.
    pub fn verdict(&self, is_named: bool) -> RestartVerdict {
        match self.end {
            RestartEnd::Stopped(_) => RestartVerdict::Failed,
            _ if !self.refused.is_empty() => RestartVerdict::Failed,
            RestartEnd::Completed if is_named && !self.passed.is_empty() => RestartVerdict::Incomplete,
            RestartEnd::Completed => RestartVerdict::Done,
            RestartEnd::Halted | RestartEnd::Interrupted => RestartVerdict::Incomplete,
        }
    }

    /// Explains in a sentence why not everything was done. Returns `None` if it was.
    pub fn failure_reason(&self) -> Option<String> {
        let Self { end, not_up, held, refused, .. } = self;
        let first = |all: &[WorkloadReason], what: &str| {
            all.first().map(|WorkloadReason { workload, why }| format!("{workload} {what}: {why}"))
        };
        match end {
            RestartEnd::Stopped(why) => Some(why.clone()),
            RestartEnd::Interrupted => {
                Some("the restart was stopped; roll-outs that have begun go on by themselves".to_owned())
            }
            RestartEnd::Halted => {
                let why = first(not_up, "did not come up").or_else(|| first(held, "is held"));
                Some(why.unwrap_or_else(|| "the restart was halted".to_owned()))
            }
            RestartEnd::Completed => first(refused, "could not be restarted"),
        }
    }
}

/// Judgement of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartVerdict {
    /// Everything is restarted.
    Done,
    /// A workload did not come up, was held or passed over, or somebody stopped the restart.
    Incomplete,
    /// Something could not be done.
    Failed,
}

/// Describes an error, with the ClusterRole that grants a missing right.
pub fn describe_api_error(why: &ApiError) -> String {
    let hint = if matches!(why, ApiError::Forbidden(_)) { "; the ClusterRole outrigger-restart grants it" } else { "" };
    format!("{why}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_no_where_one_that_is_named_is_passed_over() {
        let name =
            NamespacedWorkload { namespace: "shop".to_owned(), kind: "Deployment".to_owned(), name: "web".to_owned() };
        let passed = vec![WorkloadReason { workload: name, why: "restart 3f2a9c01 has it".to_owned() }];
        let report = RestartReport { passed: passed.clone(), ..RestartReport::new("77aa00ff") };
        let verdicts = [false, true].map(|named| report.verdict(named));
        assert_eq!(verdicts, [RestartVerdict::Done, RestartVerdict::Incomplete]);
        let refused = RestartReport { refused: passed, ..report };
        assert_eq!(refused.verdict(true), RestartVerdict::Failed);
    }
}
