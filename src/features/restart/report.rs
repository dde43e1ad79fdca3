//! Steps and final report of a restart.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::workload::NamespacedWorkload;

/// Something that has just happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "step", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[schemars(rename = "RestartStep")]
pub enum RestartStep {
    /// These workloads are told to replace their pods.
    Wave {
        /// They.
        workloads: Vec<NamespacedWorkload>,
        /// How many are over, for better or worse.
        over: usize,
        /// How many there are.
        of: usize,
    },
    /// A workload is waited for.
    Waiting {
        /// It.
        workload: NamespacedWorkload,
        /// For what.
        what: String,
    },
    /// All pods of a workload are new and ready.
    Restarted {
        /// It.
        workload: NamespacedWorkload,
    },
    /// A workload is none of this restart's any more.
    Passed {
        /// It, and why.
        workload: WorkloadReason,
    },
    /// A workload could not be told to replace its pods.
    Refused {
        /// It, and why.
        workload: WorkloadReason,
    },
    /// A workload does not come up.
    NotUp {
        /// It, and why.
        workload: WorkloadReason,
    },
    /// Budgets hold all that are still to go, or other restarts that take pods down under them.
    Held {
        /// They, and why.
        workloads: Vec<WorkloadReason>,
        /// How many more there are.
        more: usize,
    },
    /// The API server does not answer, and is asked again.
    Away {
        /// What it is asked says.
        why: String,
    },
    /// It answers again.
    Back,
}

/// A workload, and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "WorkloadAndWhy")]
pub struct WorkloadReason {
    /// It.
    #[serde(flatten)]
    pub workload: NamespacedWorkload,
    /// A sentence.
    pub why: String,
}

/// How a restart ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RestartEnd")]
pub enum RestartEnd {
    /// Nothing is left to do.
    Completed,
    /// A workload did not come up, or a budget held the rest for too long.
    Halted,
    /// Somebody stopped it.
    Interrupted,
    /// It could not go on, and why.
    Stopped(String),
}

/// What came of a restart. Whatever is not restarted, passed or refused carries the mark of the run still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RestartReport")]
pub struct RestartReport {
    /// Its run.
    pub run: String,
    /// How it ended.
    pub end: RestartEnd,
    /// All pods of these are new and ready.
    pub restarted: Vec<NamespacedWorkload>,
    /// These are none of its own any more.
    pub passed: Vec<WorkloadReason>,
    /// These could not be told to replace their pods.
    pub refused: Vec<WorkloadReason>,
    /// These did not come up.
    pub not_up: Vec<WorkloadReason>,
    /// Budgets held these for too long, or other restarts under them.
    pub held: Vec<WorkloadReason>,
    /// These replace their pods by themselves, and nobody waits for them any more.
    pub rolling: Vec<NamespacedWorkload>,
    /// The turn of these has not come.
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
}
