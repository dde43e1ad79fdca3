//! Restart after a change: restarts the selected workloads, and checks what their new pods got.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::cli::action_args::ActionArgs;
use crate::cli::progress::ProgressDisplay;
use crate::cli::restart::PacingArgs;
use crate::cli::restart::execution::{exit_code, restart_changed};
use crate::cli::snapshot::ClusterSnapshot;
use crate::features::overrides::restart_selection::{RestartCheck, RestartSelection};
use crate::features::overrides::verdict::OverrideVerdict;
use crate::features::restart::report::RestartReport;
use crate::features::restart::workload::NamespacedWorkload;

/// Pause before a restart. The server sees writes by a watch, and new pods must not come before it has. A check afterwards shows
/// whether the pause was long enough.
const WATCH_DELAY: Duration = Duration::from_secs(1);

/// Result of the restart after the writes.
pub(super) struct RestartFollowUp {
    pub(super) report: Option<RestartReport>,
    /// Workloads that were left because their running pods could not be compared.
    pub(super) undecided: Vec<NamespacedWorkload>,
    /// Restarted workloads with pods that still differ from new ones.
    pub(super) still_differing: Vec<NamespacedWorkload>,
    pub(super) verdict: OverrideVerdict,
}

impl RestartFollowUp {
    /// Creates the result of a command without a restart.
    pub(super) fn without_restart() -> Self {
        Self { report: None, undecided: Vec::new(), still_differing: Vec::new(), verdict: OverrideVerdict::Done }
    }

    /// Reads the cluster again, and checks that new pods got what was requested.
    pub(super) async fn check_new_pods(mut self, action_args: &ActionArgs, scope: Option<&str>) -> Self {
        let Some(report) = &self.report else { return self };
        let again = {
            let _progress = ProgressDisplay::spinner("reading the cluster again");
            action_args.snapshot_args.take_again(scope).await
        };
        match again {
            Ok(snapshot) => {
                let check = RestartCheck::new(&snapshot.inventory, snapshot.now, report);
                check.sentences().iter().for_each(|sentence| eprintln!("outrigger: {sentence}"));
                self.still_differing = check.differing;
            }
            Err(why) => eprintln!("outrigger: new pods could not be checked: {why:#}"),
        }
        if !self.still_differing.is_empty() {
            self.verdict = self.verdict.max(OverrideVerdict::RestartIncomplete);
        }
        self
    }
}

/// Restarts the selected workloads, unless nothing is selected or it is a dry run.
pub(super) async fn restart_affected(
    snapshot: &ClusterSnapshot,
    selection: RestartSelection,
    is_named: bool,
    pacing: &PacingArgs,
    dry_run: bool,
) -> RestartFollowUp {
    let report = if dry_run { Ok(None) } else { restart_selected(snapshot, &selection, pacing).await };
    let left = selection.undecided_sentence(&snapshot.unread());
    left.iter().for_each(|sentence| eprintln!("outrigger: {sentence}"));
    let verdict = match &report {
        Ok(_) if !selection.undecided.is_empty() => OverrideVerdict::Failed,
        // In a namespace nobody has named single workloads, such as a CronJob, whose next Job gets new pods by itself.
        Ok(report) => report.as_ref().map_or(OverrideVerdict::Done, |report| report_verdict(report, is_named)),
        Err(why) => {
            eprintln!("outrigger: {why:#}");
            OverrideVerdict::Failed
        }
    };
    let undecided = selection.undecided.into_iter().collect();
    RestartFollowUp { report: report.unwrap_or_default(), undecided, still_differing: Vec::new(), verdict }
}

fn report_verdict(report: &RestartReport, is_named: bool) -> OverrideVerdict {
    match exit_code(report, is_named) {
        ExitCode::SUCCESS => OverrideVerdict::Done,
        ExitCode::FAILURE => OverrideVerdict::RestartIncomplete,
        _ => OverrideVerdict::Failed,
    }
}

async fn restart_selected(
    snapshot: &ClusterSnapshot,
    selection: &RestartSelection,
    pacing: &PacingArgs,
) -> anyhow::Result<Option<RestartReport>> {
    if selection.restarted.is_empty() {
        return Ok(None);
    }
    tokio::time::sleep(WATCH_DELAY).await;
    let kinds = &snapshot.inventory.owner_kinds;
    let report = restart_changed(kinds, selection.restarted.iter().cloned().collect(), pacing).await;
    report.map(Some).context("the override is written, but running pods stay as they are")
}
