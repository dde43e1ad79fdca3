//! Shared run of `enable`, `disable` and `remove`: find the targets, print a summary, confirm, write, restart, print the outcome.

mod output;
mod restart;
mod summary;
mod targets;

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::Args;
use futures::StreamExt;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::progress::ProgressDisplay;
use super::restart::PacingArgs;
use super::restart::execution::exit_code;
use super::snapshot::{ClusterSnapshot, client};
use super::times::parse_instant;
use crate::cli::action_args::ActionArgs;
use crate::features::overrides::plan::{OverridePlan, plan_overrides};
use crate::features::overrides::request::{
    NamespaceLabelChoice, OverrideAction, OverrideMechanism, OverrideRefusal, OverrideRequest,
};
use crate::features::overrides::subject::OverrideSubject;
use crate::features::restart::report::RestartReport;
use crate::features::restart::workload::NamespacedWorkload;
use crate::kernel::api_error::ApiError;
use crate::kernel::duration::parse_duration;
use crate::kubernetes::client::overrides::{
    OverrideWriteError, OverrideWriteOptions, OverrideWriteOutcome, OverrideWriter,
};
use output::{ObjectOutcome, OverrideOutput};
use restart::RestartSelection;
pub(super) use targets::OverrideTargetArgs;

/// Objects that are written at once.
const MAX_PARALLEL_WRITES: usize = 6;

/// Why, and until when.
#[derive(Debug, Default, Args)]
pub(super) struct OverrideTermArgs {
    /// Why, for whoever meets it; some policies want a reason
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["template", "label"])]
    reason: Option<String>,
    /// How long, such as 2h30m, 90s or 3d; then policies and the namespace decide again
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, conflicts_with_all = ["until", "template", "label"])]
    duration: Option<SignedDuration>,
    /// Until when, such as 2026-11-24T18:00:00Z, 2026-11-24T18:00+01:00[Europe/Berlin], or 18:00 by the local clock
    #[arg(long, value_name = "TIME", conflicts_with_all = ["template", "label"])]
    until: Option<String>,
}

/// Where it is written, and how.
#[derive(Debug, Args)]
pub(super) struct OverrideWriteArgs {
    /// Write the mesh's own marker into the pod template, as Kiali does, which starts a roll-out and is undone by GitOps
    #[arg(long, conflicts_with = "label")]
    pub(super) template: bool,
    /// Write the label of the namespace that Istio itself reads: istio-injection, or istio.io/rev
    #[arg(long)]
    label: bool,
    /// With --label: where the other of those two labels stands, take it away
    #[arg(long, requires = "label")]
    both_labels: bool,
    /// Take over what others hold, as managedFields tell
    #[arg(long)]
    force_conflicts: bool,
    #[command(flatten)]
    action_args: ActionArgs,
}

/// Arguments of `enable`, `disable` or `remove`.
pub(super) struct OverrideCommand {
    pub(super) action: OverrideAction,
    pub(super) targets: OverrideTargetArgs,
    pub(super) terms: OverrideTermArgs,
    pub(super) revision: Option<String>,
    /// Pacing of the restart of workloads whose running pods differ from new ones; none to restart nothing.
    pub(super) restart_pacing: Option<PacingArgs>,
    pub(super) write: OverrideWriteArgs,
}

impl OverrideCommand {
    /// Runs the command. Exit codes: 0 if all is well; 1 if the user declines, new pods do not get what is requested, or a restart
    /// falls short; 2 if a write failed, a restart failed, or workloads were left because their pods cannot be compared.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { action, targets, terms, revision, restart_pacing, write } = self;
        let OverrideWriteArgs { template, label, both_labels, force_conflicts, action_args } = write;
        let mechanism = match (template, label) {
            (true, _) => OverrideMechanism::PodTemplate,
            (false, true) => {
                OverrideMechanism::NamespaceLabel(NamespaceLabelChoice { revision, removes_other: both_labels })
            }
            (false, false) => OverrideMechanism::Annotations,
        };
        let now = action_args.snapshot_args.now();
        let request = OverrideRequest::new(action, mechanism, terms.reason.clone(), terms.end(now)?, now)?;
        let scope = targets.namespace_to_read(&action_args).await?;
        let snapshot = {
            let _progress = ProgressDisplay::spinner("reading the cluster");
            action_args.snapshot_args.take(scope.as_deref()).await?
        };
        let subjects = targets.find_subjects(&snapshot, scope.as_deref())?;
        let plans = plan_overrides(&snapshot.inventory, &request, subjects, now).map_err(explain_refusal)?;
        summary::summary_lines(&request, &plans, &snapshot.inventory).iter().for_each(|line| eprintln!("{line}"));
        if restart_pacing.is_some() {
            RestartSelection::from_plans(action, plans.iter()).lines().iter().for_each(|line| eprintln!("{line}"));
        }
        let Some(outcomes) = write_overrides(&request, &plans, &action_args, force_conflicts).await? else {
            return Ok(ExitCode::FAILURE);
        };
        outcomes.iter().zip(&plans).for_each(|(outcome, plan)| report_failure(outcome, plan));
        let follow_up = match restart_pacing {
            Some(pacing) => {
                let selection = RestartSelection::from_plans(action, restart::written_plans(&plans, &outcomes));
                let is_named = plans.iter().all(|one| matches!(one.subject, OverrideSubject::Workload(_)));
                restart_affected(&snapshot, selection, is_named, &pacing, &action_args).await
            }
            None => RestartFollowUp::default(),
        };
        let follow_up = follow_up.check_new_pods(&action_args, scope.as_deref()).await;
        finish(&snapshot, &request, plans, outcomes, follow_up, &action_args)
    }
}

impl OverrideTermArgs {
    fn end(&self, now: Timestamp) -> anyhow::Result<Option<Timestamp>> {
        match (self.duration, &self.until) {
            (Some(duration), _) => Ok(Some(now.checked_add(duration).unwrap_or(Timestamp::MAX))),
            (None, Some(until)) => parse_instant(until, now, &TimeZone::system()).map(Some).map_err(|why| anyhow!(why)),
            (None, None) => Ok(None),
        }
    }
}

/// Adds the flag that lifts a refusal.
fn explain_refusal(refusal: OverrideRefusal) -> anyhow::Error {
    match refusal {
        OverrideRefusal::Invalid(why) => anyhow!(why),
        OverrideRefusal::Undoes(why) => anyhow!("{why}: --both-labels says so"),
    }
}

/// Writes all plans after confirmation, and returns the outcomes in order; none if the user declines.
async fn write_overrides(
    request: &OverrideRequest,
    plans: &[OverridePlan],
    action_args: &ActionArgs,
    force_conflicts: bool,
) -> anyhow::Result<Option<Vec<ObjectOutcome>>> {
    let dry_run = action_args.dry_run;
    if action_args.snapshot_args.state.is_some() {
        if dry_run {
            return Ok(Some(plans.iter().map(|_| ObjectOutcome::Wrote(OverrideWriteOutcome::Changed)).collect()));
        }
        let by_hand = plans.first().map(OverridePlan::describe_by_hand).unwrap_or_default();
        bail!("the files of a directory are changed by whoever keeps them: {by_hand}; --dry-run tells what follows");
    }
    let question = if request.action == OverrideAction::Remove { "Take it away?" } else { "Write it?" };
    if !dry_run && !action_args.confirm(question)? {
        return Ok(None);
    }
    let writer = OverrideWriter::new(client().await?);
    let progress = ProgressDisplay::with_steps("writing", plans.len());
    let write = |plan: &OverridePlan| {
        let (writer, edit, progress) = (writer.clone(), plan.edit.clone(), &progress);
        async move {
            let written = writer.write(&edit, OverrideWriteOptions { force_conflicts, dry_run }).await;
            progress.advance();
            written.map_or_else(
                |why| ObjectOutcome::Failed(explain_write_error(&why, &edit.target.resource_name())),
                |written| ObjectOutcome::Wrote(written.outcome),
            )
        }
    };
    let writes: Vec<_> = plans.iter().map(write).collect();
    Ok(Some(futures::stream::iter(writes).buffered(MAX_PARALLEL_WRITES).collect().await))
}

/// Explains why an edit was not written, and what would help.
fn explain_write_error(why: &OverrideWriteError, resource: &str) -> String {
    match why {
        OverrideWriteError::Conflict(_) => format!("{why}; change it there, or take it over with --force-conflicts"),
        OverrideWriteError::Refused(ApiError::Forbidden(why)) => {
            format!("{why}; it takes the rights to get and patch {resource}")
        }
        OverrideWriteError::ObjectChanged(_) | OverrideWriteError::Refused(_) => why.to_string(),
    }
}

fn report_failure(outcome: &ObjectOutcome, plan: &OverridePlan) {
    if let ObjectOutcome::Failed(why) = outcome {
        eprintln!("outrigger: {}: not written: {why}", plan.subject.describe());
    }
}

/// Result of the restart after the writes.
#[derive(Default)]
struct RestartFollowUp {
    report: Option<RestartReport>,
    /// Workloads that were left because their running pods could not be compared.
    undecided: Vec<NamespacedWorkload>,
    /// Restarted workloads with pods that still differ from new ones.
    still_differing: Vec<NamespacedWorkload>,
    exit_code: ExitCode,
}

impl RestartFollowUp {
    /// Reads the cluster again, and checks that new pods got what was requested.
    async fn check_new_pods(mut self, action_args: &ActionArgs, scope: Option<&str>) -> Self {
        let Some(report) = &self.report else { return self };
        let again = {
            let _progress = ProgressDisplay::spinner("reading the cluster again");
            action_args.snapshot_args.take_again(scope).await
        };
        match again {
            Ok(snapshot) => {
                let restart::RestartCheck { differing, uncertain } = restart::check_restarted(&snapshot, report);
                self.still_differing = differing;
                if !uncertain.is_empty() {
                    let names = restart::join_names(&uncertain);
                    eprintln!("outrigger: it cannot be told whether new pods of these got what was asked for: {names}");
                }
            }
            Err(why) => eprintln!("outrigger: it cannot be told whether new pods got what was asked for: {why:#}"),
        }
        if !self.still_differing.is_empty() {
            let names = restart::join_names(&self.still_differing);
            eprintln!("outrigger: after the restart some pods still are not as new ones would be: {names}");
            eprintln!(
                "outrigger: `outrigger doctor` tells what stands in the way, `outrigger restart --drifted` tries again"
            );
            if self.exit_code == ExitCode::SUCCESS {
                self.exit_code = ExitCode::FAILURE;
            }
        }
        self
    }
}

async fn restart_affected(
    snapshot: &ClusterSnapshot,
    selection: RestartSelection,
    is_named: bool,
    pacing: &PacingArgs,
    action_args: &ActionArgs,
) -> RestartFollowUp {
    let report =
        if action_args.dry_run { Ok(None) } else { restart::restart_selected(snapshot, &selection, pacing).await };
    let undecided: Vec<_> = selection.undecided.into_iter().collect();
    if !undecided.is_empty() {
        let unread = snapshot.unread();
        let why = if unread.is_empty() { String::new() } else { format!(", without {}", unread.join(", ")) };
        let names = restart::join_names(&undecided);
        eprintln!("outrigger: not restarted, since it cannot be told whether they have to be{why}: {names}");
    }
    let exit_code = match &report {
        Ok(_) if !undecided.is_empty() => ExitCode::from(2),
        // In a namespace nobody has named single workloads, such as a CronJob, whose next Job gets new pods by itself.
        Ok(report) => report.as_ref().map_or(ExitCode::SUCCESS, |report| exit_code(report, is_named)),
        Err(why) => {
            eprintln!("outrigger: {why:#}");
            ExitCode::from(2)
        }
    };
    RestartFollowUp { report: report.unwrap_or_default(), undecided, still_differing: Vec::new(), exit_code }
}

fn finish(
    snapshot: &ClusterSnapshot,
    request: &OverrideRequest,
    plans: Vec<OverridePlan>,
    outcomes: Vec<ObjectOutcome>,
    follow_up: RestartFollowUp,
    action_args: &ActionArgs,
) -> anyhow::Result<ExitCode> {
    let has_failed = outcomes.iter().any(|outcome| matches!(outcome, ObjectOutcome::Failed(_)));
    let is_hindered = plans.iter().any(|one| one.own_forecast.hindrance.is_some());
    let exit_code = follow_up.exit_code;
    let output = OverrideOutput::new(request, action_args.dry_run, plans, outcomes, follow_up, snapshot.unread());
    action_args.output.print(&output, output::table)?;
    Ok(match (has_failed, is_hindered) {
        (true, _) => ExitCode::from(2),
        (false, true) if exit_code == ExitCode::SUCCESS => ExitCode::FAILURE,
        (false, _) => exit_code,
    })
}
