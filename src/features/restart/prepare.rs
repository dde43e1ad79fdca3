//! Preparation of a restart: from the request and the contents of the namespace to the work, or a refusal.

use schemars::JsonSchema;
use serde::Serialize;

use super::plan::{RestartPlan, RestartRefusal, RestartTargets, plan_restart};
use super::remaining::{RemainingWork, find_unfinished_run, remaining_workloads};
use super::report::{RestartReport, RestartVerdict, WorkloadReason};
use super::request::{RestartIntent, RestartRequest};
use super::workload::{NamespacedWorkload, WorkloadSnapshot};
use super::world::RestartWorld;

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
