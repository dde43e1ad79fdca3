//! Shared run of `enable`, `disable` and `remove`: find the targets, print a summary, confirm, write, restart, print the outcome.

mod output;
mod restart;
mod summary;
mod targets;

use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use futures::StreamExt;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::progress::ProgressDisplay;
use super::restart::PacingArgs;
use super::snapshot::client;
use super::times::parse_instant;
use crate::cli::action_args::ActionArgs;
use crate::features::overrides::apply::{AppliedOverride, ApplyError, OverrideCaller, OverrideOutcome, OverrideStore};
use crate::features::overrides::plan::{SubjectPlan, plan_overrides};
use crate::features::overrides::request::{
    NamespaceLabelChoice, OverrideAction, OverrideMechanism, OverrideRequest, OverrideTerm,
};
use crate::features::overrides::restart_selection::RestartSelection;
use crate::features::overrides::subject::OverrideSubject;
use crate::features::overrides::verdict::OverrideVerdict;
use crate::kernel::duration::parse_duration;
use crate::kubernetes::client::overrides::{OverrideWriteOptions, OverrideWriter};
use output::OverrideOutput;
use restart::{RestartFollowUp, restart_affected};
pub(super) use targets::OverrideTargetArgs;

/// Objects that are written at once.
const MAX_PARALLEL_WRITES: usize = 6;

/// Reason and end of an override.
#[derive(Debug, Default, Args)]
pub(super) struct OverrideTermArgs {
    /// Reason, shown wherever the override is; some policies require one
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["template", "label"])]
    reason: Option<String>,
    /// Length of the override, such as 2h30m, 90s or 3d; afterwards policies and the namespace decide
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, conflicts_with_all = ["until", "template", "label"])]
    duration: Option<SignedDuration>,
    /// End of the override, such as 2026-11-24T18:00:00Z, 2026-11-24T18:00+01:00[Europe/Berlin], or 18:00 by the local clock
    #[arg(long, value_name = "TIME", conflicts_with_all = ["template", "label"])]
    until: Option<String>,
}

/// Place of an override, and how to write it.
#[derive(Debug, Args)]
pub(super) struct OverrideWriteArgs {
    /// Write the mesh's own marker into the pod template, as Kiali does. Starts a roll-out; GitOps may undo it
    #[arg(long, conflicts_with = "label")]
    pub(super) template: bool,
    /// Write the namespace label that Istio reads: istio-injection, or istio.io/rev
    #[arg(long)]
    label: bool,
    /// With --label: remove the other of the two labels
    #[arg(long, requires = "label")]
    both_labels: bool,
    /// Take over fields that other field managers hold
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
    /// Runs the command. [`exit_code`] says how it ended.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { action, targets, terms, revision, restart_pacing, write } = self;
        let OverrideWriteArgs { force_conflicts, ref action_args, .. } = write;
        let now = action_args.snapshot_args.now();
        let (reason, term) = terms.reason_and_term(now)?;
        let request = OverrideRequest::new(action, write.mechanism(revision), reason, term, now)?;
        let scope = targets.namespace_to_read(action_args).await?;
        let snapshot = {
            let _progress = ProgressDisplay::spinner("reading the cluster");
            action_args.snapshot_args.take(scope.as_deref()).await?
        };
        let subjects = targets.find_subjects(&snapshot.inventory, scope.as_deref())?;
        let plan = plan_overrides(&snapshot.inventory, &request, subjects, now)?;
        summary::summary_lines(&request, &plan).iter().for_each(|line| eprintln!("{line}"));
        let plans = plan.subjects;
        if restart_pacing.is_some() {
            let selection = RestartSelection::from_plans(action, plans.iter());
            selection.sentences().iter().for_each(|line| eprintln!("{line}"));
        }
        let Some(writes) = apply_plans(action, &plans, action_args, force_conflicts).await? else {
            return Ok(exit_code(OverrideVerdict::Declined));
        };
        let outcomes = plans.iter().zip(writes.iter().map(output::outcome));
        let verdict = OverrideVerdict::of_writes(outcomes.clone());
        let written = outcomes.filter(|(_, outcome)| *outcome != OverrideOutcome::Failed).map(|(plan, _)| plan);
        let follow_up = match restart_pacing {
            Some(pacing) => {
                let selection = RestartSelection::from_plans(action, written);
                let is_named = plans.iter().all(|one| matches!(one.subject, OverrideSubject::Workload(_)));
                restart_affected(&snapshot, selection, is_named, &pacing, action_args.dry_run).await
            }
            None => RestartFollowUp::without_restart(),
        };
        let follow_up = follow_up.check_new_pods(action_args, scope.as_deref()).await;
        let verdict = verdict.max(follow_up.verdict);
        let output = OverrideOutput::new(&request, action_args.dry_run, plans, writes, follow_up, snapshot.unread());
        action_args.output.print(&output, output::table)?;
        Ok(exit_code(verdict))
    }
}

impl OverrideTermArgs {
    fn reason_and_term(self, now: Timestamp) -> anyhow::Result<(Option<String>, Option<OverrideTerm>)> {
        let term = match (self.duration, self.until) {
            (Some(duration), _) => Some(OverrideTerm::For(duration)),
            (None, Some(until)) => {
                let until = parse_instant(&until, now, &TimeZone::system()).map_err(|why| anyhow!(why))?;
                Some(OverrideTerm::Until(until))
            }
            (None, None) => None,
        };
        Ok((self.reason, term))
    }
}

impl OverrideWriteArgs {
    fn mechanism(&self, revision: Option<String>) -> OverrideMechanism {
        match (self.template, self.label) {
            (true, _) => OverrideMechanism::PodTemplate,
            (false, true) => {
                OverrideMechanism::NamespaceLabel(NamespaceLabelChoice { revision, removes_other: self.both_labels })
            }
            (false, false) => OverrideMechanism::Annotations,
        }
    }
}

fn exit_code(verdict: OverrideVerdict) -> ExitCode {
    match verdict {
        OverrideVerdict::Done => ExitCode::SUCCESS,
        OverrideVerdict::Declined | OverrideVerdict::Hindered | OverrideVerdict::RestartIncomplete => ExitCode::FAILURE,
        OverrideVerdict::Failed => ExitCode::from(2),
    }
}

/// Applies all plans after confirmation, and returns the results in order; none if the user declines.
async fn apply_plans(
    action: OverrideAction,
    plans: &[SubjectPlan],
    action_args: &ActionArgs,
    force_conflicts: bool,
) -> anyhow::Result<Option<Vec<Result<AppliedOverride, ApplyError>>>> {
    let dry_run = action_args.dry_run;
    if action_args.snapshot_args.state.is_some()
        && let Some(first) = plans.first()
    {
        let checked = OverrideStore::Files.check_writable(first, dry_run);
        checked.map_err(|error| anyhow!(error.describe(OverrideCaller::Command)))?;
    }
    let question = if action == OverrideAction::Remove { "Remove the override?" } else { "Write the override?" };
    if !dry_run && !action_args.confirm(question)? {
        return Ok(None);
    }
    let store = match action_args.snapshot_args.state {
        Some(_) => OverrideStore::Files,
        None => OverrideStore::Cluster(OverrideWriter::new(client().await?)),
    };
    let progress = ProgressDisplay::with_steps("writing", plans.len());
    let options = OverrideWriteOptions { force_conflicts, dry_run };
    let apply = plans.iter().map(|plan| {
        let (store, progress) = (&store, &progress);
        async move {
            let applied = store.apply(plan, options).await;
            progress.advance();
            applied
        }
    });
    let writes: Vec<_> = futures::stream::iter(apply.collect::<Vec<_>>()).buffered(MAX_PARALLEL_WRITES).collect().await;
    drop(progress);
    writes.iter().zip(plans).for_each(|(write, plan)| report_failure(write, plan));
    Ok(Some(writes))
}

fn report_failure(write: &Result<AppliedOverride, ApplyError>, plan: &SubjectPlan) {
    if let Err(error) = write {
        let why = error.describe(OverrideCaller::Command);
        eprintln!("outrigger: {}: not written: {why}", plan.subject.describe());
    }
}
