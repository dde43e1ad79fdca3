//! Preparation of a restart: from the request and the contents of the namespace to the work, or a refusal.
//!
//! The marks on the workloads tell the remaining work of an unfinished restart.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::plan::{RestartPlan, RestartRefusal, RestartTargets, check_all_exist, plan_restart};
use super::report::{RestartReport, RestartVerdict, WorkloadReason};
use super::request::{RestartIntent, RestartRequest};
use super::workload::{NamespacedWorkload, WorkloadSnapshot};
use super::world::RestartWorld;
use crate::kernel::text::CleanText;

/// Work that a request asks for, and everything that it leaves alone.
#[derive(Debug)]
pub struct PreparedRestart {
    /// Identifier of the run.
    pub run: String,
    /// Workloads to write. Those of a restart to forget only lose their mark.
    pub work: RemainingWork,
    /// Workloads passed over, with the reason.
    pub skipped: Vec<WorkloadReason>,
    /// Workloads left alone because the request says so.
    pub excepted: Vec<NamespacedWorkload>,
    /// Names of pods without a controller, which are never touched.
    pub bare_pods: Vec<String>,
    /// Kinds of workloads that could not be read, a sentence each.
    pub left_out: Vec<String>,
    is_named: bool,
}

/// Prepares a request. A new restart gets the identifier `new_run`.
///
/// # Errors
///
/// If a named workload or restart does not exist, or another restart holds some of the workloads.
pub fn prepare_restart(
    world: RestartWorld,
    request: &RestartRequest,
    new_run: String,
) -> Result<PreparedRestart, RestartRefusal> {
    match request.intent() {
        RestartIntent::Start(targets) => prepare_start(world, targets, request.except(), new_run),
        RestartIntent::Resume(run) => {
            let RestartWorld { namespace, workloads, left_out, .. } = world;
            let run = find_unfinished_run(&workloads, &namespace, run.as_deref())?;
            Ok(PreparedRestart::rest(RemainingWork::for_run(workloads, &run, request.except())?, run, left_out))
        }
        RestartIntent::Forget(run) => {
            let RestartWorld { namespace, workloads, left_out, .. } = world;
            let run = find_unfinished_run(&workloads, &namespace, run.as_deref())?;
            let excepted = remaining_workloads(workloads, &run);
            Ok(PreparedRestart::rest(RemainingWork { workloads: Vec::new(), excepted }, run, left_out))
        }
    }
}

fn prepare_start(
    mut world: RestartWorld,
    targets: &RestartTargets,
    except: &[NamespacedWorkload],
    run: String,
) -> Result<PreparedRestart, RestartRefusal> {
    let left_out = std::mem::take(&mut world.left_out);
    let RestartPlan { workloads, skipped, bare_pods } = plan_restart(world, targets, except)?;
    let is_named = matches!(targets, RestartTargets::Named(_));
    let excepted = except.to_vec();
    Ok(PreparedRestart { run, work: workloads.into(), skipped, excepted, bare_pods, left_out, is_named })
}

impl PreparedRestart {
    fn rest(work: RemainingWork, run: String, left_out: Vec<String>) -> Self {
        let excepted = work.excepted.iter().map(|one| one.name.clone()).collect();
        Self { run, work, skipped: Vec::new(), excepted, bare_pods: Vec::new(), left_out, is_named: false }
    }

    /// Returns whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.work.workloads.is_empty() && self.work.excepted.is_empty()
    }

    /// Judges the report of this restart. A named workload that was skipped counts as not done.
    pub fn verdict(&self, report: &RestartReport) -> RestartVerdict {
        match report.verdict(self.is_named) {
            RestartVerdict::Done if self.is_named && !self.skipped.is_empty() => RestartVerdict::Incomplete,
            verdict => verdict,
        }
    }

    /// Judges a rehearsal of this restart.
    pub fn rehearsal_verdict(&self, refused: &[WorkloadReason]) -> RestartVerdict {
        let refused = refused.to_vec();
        self.verdict(&RestartReport { refused, ..RestartReport::new(&self.run) })
    }
}

/// Plan of a restart.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RestartPlan")]
pub struct RestartPlanOutput {
    /// Workloads to restart, in this order.
    pub workloads: Vec<NamespacedWorkload>,
    /// Workloads that are passed over, and the reasons.
    pub skipped: Vec<WorkloadReason>,
    /// Workloads left out by the request. A resumed restart removes its mark from them.
    pub excepted: Vec<NamespacedWorkload>,
    /// Pods that no controller would recreate. They are never touched.
    pub bare_pods: Vec<String>,
    /// Kinds of workloads that could not be read, a sentence each.
    pub left_out: Vec<String>,
    /// Workloads that the caller may not write, and the reasons. Filled by a dry run only.
    pub refused: Vec<WorkloadReason>,
}

/// Restart that is given up.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RestartForgotten")]
pub struct RestartForgetOutput {
    /// Identifier of the run.
    pub run: String,
    /// True after a dry run, which changes nothing.
    pub dry_run: bool,
    /// Workloads that lose the mark of the restart. Roll-outs that have begun go on by themselves.
    pub workloads: Vec<NamespacedWorkload>,
    /// Kinds of workloads that could not be read, and may still bear the mark, a sentence each.
    pub left_out: Vec<String>,
    /// Workloads whose mark the caller may not remove, and the reasons. Filled by a dry run only.
    pub refused: Vec<WorkloadReason>,
}

impl RestartPlanOutput {
    pub fn new(prepared: &PreparedRestart, refused: Vec<WorkloadReason>) -> Self {
        let PreparedRestart { work, skipped, excepted, bare_pods, left_out, .. } = prepared;
        Self {
            workloads: names_of(&work.workloads),
            skipped: skipped.clone(),
            excepted: excepted.clone(),
            bare_pods: bare_pods.clone(),
            left_out: left_out.clone(),
            refused,
        }
    }
}

impl RestartForgetOutput {
    pub fn new(prepared: &PreparedRestart, dry_run: bool, refused: Vec<WorkloadReason>) -> Self {
        let PreparedRestart { run, work, left_out, .. } = prepared;
        let (run, workloads, left_out) = (run.clone(), names_of(&work.excepted), left_out.clone());
        Self { run, dry_run, workloads, left_out, refused }
    }
}

fn names_of(workloads: &[WorkloadSnapshot]) -> Vec<NamespacedWorkload> {
    workloads.iter().map(|one| one.name.clone()).collect()
}

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
