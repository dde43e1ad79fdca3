//! What a restart that is not over has still to do, by the marks that it left.

use std::collections::BTreeMap;

use serde::Serialize;
use thiserror::Error;

use super::plan::{Unplanned, check_there};
use super::workload::{Name, Workload};
use crate::kernel::text::Clean;

/// A restart that is not over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unfinished {
    /// Its run.
    pub run: String,
    /// How many workloads it began with.
    pub of: usize,
    /// How many it has not done yet.
    pub left: usize,
}

/// That a restart is not there, or which one is meant cannot be told, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NotUnfinished(String);

/// What a restart has still to do.
#[derive(Debug, Default)]
pub struct Left {
    /// These.
    pub workloads: Vec<Workload>,
    /// It goes on without these: they lose its mark, and nothing else becomes of them.
    pub excepted: Vec<Workload>,
}

impl From<Vec<Workload>> for Left {
    /// All of a restart that excepts nobody.
    fn from(workloads: Vec<Workload>) -> Self {
        Self { workloads, excepted: Vec::new() }
    }
}

impl Left {
    /// What a run has not done yet, but for the excepted.
    ///
    /// # Errors
    ///
    /// Where one of those is not there.
    pub fn of(all: Vec<Workload>, run: &str, except: &[Name]) -> Result<Self, Unplanned> {
        check_there(&all, except)?;
        let (excepted, workloads) = left_of(all, run).into_iter().partition(|one| except.contains(&one.name));
        Ok(Self { workloads, excepted })
    }
}

/// The restarts that some workloads bear the marks of.
pub fn unfinished(all: &[Workload]) -> Vec<Unfinished> {
    let mut found: BTreeMap<&str, Unfinished> = BTreeMap::new();
    for mark in all.iter().filter_map(|one| one.mark.as_ref()) {
        let new = || Unfinished { run: mark.run.clone(), of: mark.of, left: 0 };
        found.entry(&mark.run).or_insert_with(new).left += 1;
    }
    found.into_values().collect()
}

/// The restart of this name that is not over, or the only one if none is named.
///
/// # Errors
///
/// Where there is none, or it would have to be named.
pub fn unfinished_run(all: &[Workload], namespace: &str, run: Option<&str>) -> Result<String, NotUnfinished> {
    let (found, namespace) = (unfinished(all), Clean(namespace));
    let these: Vec<_> = found.iter().map(|one| format!("{} ({} of {} left)", one.run, one.left, one.of)).collect();
    let these = these.join(", ");
    let no = |sentence| Err(NotUnfinished(sentence));
    match (found.as_slice(), run) {
        ([], _) => no(format!("no restart in namespace {namespace} is unfinished")),
        ([one], None) => Ok(one.run.clone()),
        (_, None) => no(format!("several restarts in namespace {namespace} are unfinished; say which: {these}")),
        (_, Some(run)) if found.iter().any(|one| one.run == run) => Ok(run.to_owned()),
        (_, Some(run)) => {
            no(format!("no restart {} in namespace {namespace} is unfinished; these are: {these}", Clean(run)))
        }
    }
}

/// The workloads that a restart has not done yet, in their order.
pub fn left_of(all: Vec<Workload>, run: &str) -> Vec<Workload> {
    let mut left: Vec<Workload> =
        all.into_iter().filter(|one| one.mark.as_ref().is_some_and(|mark| mark.run == run)).collect();
    left.sort_by(|one, other| one.name.cmp(&other.name));
    left
}
