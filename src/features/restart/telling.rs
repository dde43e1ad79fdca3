//! What a restart tells while it runs, and in the end.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::workload::Name;

/// Something that has just happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "step", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[schemars(rename = "RestartStep")]
pub enum Step {
    /// These workloads are told to replace their pods.
    Wave {
        /// They.
        workloads: Vec<Name>,
        /// How many are over, for better or worse.
        over: usize,
        /// How many there are.
        of: usize,
    },
    /// A workload is waited for.
    Waiting {
        /// It.
        workload: Name,
        /// For what.
        what: String,
    },
    /// All pods of a workload are new and ready.
    Restarted {
        /// It.
        workload: Name,
    },
    /// A workload is none of this restart's any more.
    Passed {
        /// It, and why.
        workload: Told,
    },
    /// A workload could not be told to replace its pods.
    Refused {
        /// It, and why.
        workload: Told,
    },
    /// A workload does not come up.
    NotUp {
        /// It, and why.
        workload: Told,
    },
    /// Budgets hold all that are still to go, or other restarts that take pods down under them.
    Held {
        /// They, and why.
        workloads: Vec<Told>,
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
pub struct Told {
    /// It.
    #[serde(flatten)]
    pub workload: Name,
    /// A sentence.
    pub why: String,
}

/// How a restart ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RestartEnd")]
pub enum End {
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
pub struct Report {
    /// Its run.
    pub run: String,
    /// How it ended.
    pub end: End,
    /// All pods of these are new and ready.
    pub restarted: Vec<Name>,
    /// These are none of its own any more.
    pub passed: Vec<Told>,
    /// These could not be told to replace their pods.
    pub refused: Vec<Told>,
    /// These did not come up.
    pub not_up: Vec<Told>,
    /// Budgets held these for too long, or other restarts under them.
    pub held: Vec<Told>,
    /// These replace their pods by themselves, and nobody waits for them any more.
    pub rolling: Vec<Name>,
    /// The turn of these has not come.
    pub pending: Vec<Name>,
}

impl Report {
    /// A report of a run of which nothing is done yet.
    pub fn of(run: &str) -> Self {
        Self {
            run: run.to_owned(),
            end: End::Completed,
            restarted: Vec::new(),
            passed: Vec::new(),
            refused: Vec::new(),
            not_up: Vec::new(),
            held: Vec::new(),
            rolling: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// Whether something is left that can be gone on with.
    pub fn can_resume(&self) -> bool {
        !self.left_in().is_empty()
    }

    /// The namespaces of what is left, in each of which it is gone on with, or given up, by itself.
    pub fn left_in(&self) -> BTreeSet<&str> {
        let Self { not_up, rolling, pending, .. } = self;
        let names = not_up.iter().map(|one| &one.workload).chain(rolling).chain(pending);
        names.map(|name| name.namespace.as_str()).collect()
    }
}
