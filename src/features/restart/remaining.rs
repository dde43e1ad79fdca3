//! Remaining work of an unfinished restart, found by the marks on its workloads.

use std::collections::BTreeMap;

use serde::Serialize;

use super::plan::{RestartRefusal, check_all_exist};
use super::workload::{NamespacedWorkload, WorkloadSnapshot};
use crate::kernel::text::CleanText;

/// Unfinished restart of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnfinishedRestart {
    pub run: String,
    /// Number of workloads in the run when it began.
    pub of: usize,
    /// Number of workloads that are not done.
    pub left: usize,
}

/// Workloads that a run still has to handle.
#[derive(Debug, Default)]
pub struct RemainingWork {
    /// Workloads to restart.
    pub workloads: Vec<WorkloadSnapshot>,
    /// Workloads that only lose their mark.
    pub excepted: Vec<WorkloadSnapshot>,
}

impl From<Vec<WorkloadSnapshot>> for RemainingWork {
    /// Makes the work of a new restart, without exceptions.
    fn from(workloads: Vec<WorkloadSnapshot>) -> Self {
        Self { workloads, excepted: Vec::new() }
    }
}

impl RemainingWork {
    /// Returns the number of workloads in the run when it began.
    pub fn total(&self) -> usize {
        let Self { workloads, excepted } = self;
        let marks = workloads.iter().chain(excepted).filter_map(|one| one.mark.as_ref());
        marks.map(|mark| mark.of).max().unwrap_or_default().max(workloads.len())
    }

    /// Returns whether no workload bears a mark yet.
    pub fn is_new(&self) -> bool {
        self.workloads.iter().chain(&self.excepted).all(|one| one.mark.is_none())
    }

    /// Selects the workloads that bear the mark of `run`. Those in `except` only lose it.
    ///
    /// # Errors
    ///
    /// If a workload in `except` does not exist.
    pub fn for_run(
        all: Vec<WorkloadSnapshot>,
        run: &str,
        except: &[NamespacedWorkload],
    ) -> Result<Self, RestartRefusal> {
        check_all_exist(&all, except)?;
        let (excepted, workloads) =
            remaining_workloads(all, run).into_iter().partition(|one| except.contains(&one.name));
        Ok(Self { workloads, excepted })
    }
}

/// Lists the restarts whose marks the workloads bear.
pub fn unfinished_restarts(all: &[WorkloadSnapshot]) -> Vec<UnfinishedRestart> {
    let mut restarts: BTreeMap<&str, UnfinishedRestart> = BTreeMap::new();
    for mark in all.iter().filter_map(|one| one.mark.as_ref()) {
        let new = || UnfinishedRestart { run: mark.run.clone(), of: mark.of, left: 0 };
        restarts.entry(&mark.run).or_insert_with(new).left += 1;
    }
    restarts.into_values().collect()
}

/// Finds the unfinished restart with this identifier, or the only one if `run` is `None`.
///
/// # Errors
///
/// If there is none, or several and none is named.
pub fn find_unfinished_run(
    all: &[WorkloadSnapshot],
    namespace: &str,
    run: Option<&str>,
) -> Result<String, RestartRefusal> {
    let (restarts, namespace) = (unfinished_restarts(all), CleanText(namespace));
    let choices: Vec<_> = restarts.iter().map(|one| format!("{} ({} of {} left)", one.run, one.left, one.of)).collect();
    let choices = choices.join(", ");
    let no = |sentence| Err(RestartRefusal::UnknownRun(sentence));
    match (restarts.as_slice(), run) {
        ([], _) => no(format!("no restart in namespace {namespace} is unfinished")),
        ([one], None) => Ok(one.run.clone()),
        (_, None) => no(format!("several restarts in namespace {namespace} are unfinished: name one of {choices}")),
        (_, Some(run)) if restarts.iter().any(|one| one.run == run) => Ok(run.to_owned()),
        (_, Some(run)) => no(format!(
            "no restart {} in namespace {namespace} is unfinished; unfinished are: {choices}",
            CleanText(run)
        )),
    }
}

/// Returns the workloads that bear the mark of `run`, in the order of a plan.
pub fn remaining_workloads(all: Vec<WorkloadSnapshot>, run: &str) -> Vec<WorkloadSnapshot> {
    let mut remaining: Vec<WorkloadSnapshot> =
        all.into_iter().filter(|one| one.mark.as_ref().is_some_and(|mark| mark.run == run)).collect();
    remaining.sort_by(|one, other| one.name.cmp(&other.name));
    remaining
}
