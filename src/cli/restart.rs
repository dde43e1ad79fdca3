//! `outrigger restart`: replaces the pods of workloads in waves, and halts when a workload does not come up.

pub(super) mod execution;
pub(super) mod progress_output;

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use jiff::SignedDuration;
use kube::Client;

use super::decision_args::DecisionArgs;
use super::progress::ProgressDisplay;
use super::selector::parse_selector;
use super::snapshot::{OutputFormat, SnapshotArgs};
use super::target::TargetRef;
use crate::cli::action_args::confirm;
use crate::decision::selector::Selector;
use crate::features::restart::apply::{forget_restart, rehearse_restart};
use crate::features::restart::plan::{RestartRefusal, RestartTargets};
use crate::features::restart::prepare::{PreparedRestart, RestartForgetOutput, RestartPlanOutput, prepare_restart};
use crate::features::restart::report::{RestartReport, WorkloadReason};
use crate::features::restart::request::{MAX_AT_ONCE, RestartIntent, RestartPace, RestartRequest, new_run_id};
use crate::features::restart::workload::NamespacedWorkload;
use crate::features::restart::world::{RestartWorld, drifted_workloads};
use crate::kernel::duration::parse_duration;
use crate::kubernetes::client;
use crate::kubernetes::client::restarts::RestartClient;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;
use execution::{print_report, run_until_end, verdict_code};

/// Arguments of `outrigger restart`.
#[derive(Debug, Args)]
pub struct RestartArgs {
    /// Workloads to restart, such as deployment/web
    #[arg(value_name = "KIND/NAME", conflicts_with_all = ["selector", "drifted", "all"])]
    workloads: Vec<TargetRef>,
    /// Namespace of the workloads
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Restart workloads with these labels, written as for kubectl, such as app=web,tier!=front
    #[arg(short = 'l', long, value_name = "SELECTOR", value_parser = parse_selector, conflicts_with_all = ["drifted", "all"])]
    selector: Option<Selector>,
    /// Restart workloads whose running pods differ from what a new pod would get today
    #[arg(long, conflicts_with = "all")]
    drifted: bool,
    /// Restart all workloads of the namespace
    #[arg(long)]
    all: bool,
    /// Leave this workload out, also of a restart to resume; may be given several times
    #[arg(long, value_name = "KIND/NAME")]
    except: Vec<TargetRef>,
    /// Resume an unfinished restart; without RUN, the only one of the namespace
    #[arg(
        long,
        value_name = "RUN",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with_all = ["workloads", "selector", "drifted", "all", "forget"]
    )]
    resume: Option<String>,
    /// Give up an unfinished restart: begin nothing else, and remove its marks from the workloads
    #[arg(
        long,
        value_name = "RUN",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with_all = ["workloads", "selector", "drifted", "all", "except"]
    )]
    forget: Option<String>,
    #[command(flatten)]
    pacing: PacingArgs,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    /// Print the plan, ask the API server whether it may be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
    #[command(flatten)]
    decision_args: DecisionArgs,
}

/// Speed and patience of a restart.
#[derive(Debug, Clone, Args)]
pub(super) struct PacingArgs {
    /// Number of workloads to restart at once; the next follow when all of them are ready
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_AT_ONCE)))]
    at_once: u16,
    /// Time after which a workload without progress, or a budget that holds all others, halts the restart
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    timeout: SignedDuration,
    /// Time after which an API server that does not answer stops the restart
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    patience: SignedDuration,
}

impl PacingArgs {
    fn pace(&self) -> RestartPace {
        let Self { at_once, timeout, patience } = self;
        RestartPace { at_once: (*at_once).into(), timeout: timeout.unsigned_abs(), patience: patience.unsigned_abs() }
    }
}

/// Runs the command. Exit code 1 means that a workload did not come up, was held or interrupted. Exit code 2 means
/// that something could not be done, though the rest was.
pub async fn run(args: RestartArgs) -> anyhow::Result<ExitCode> {
    ensure!(
        args.names_targets(),
        "name workloads to restart, such as deployment/web, or pass --all, --selector or --drifted"
    );
    let config = client::config().await.context("cannot find a cluster")?;
    let snapshot_args = SnapshotArgs { state: None, now: None, decision_args: args.decision_args.clone() };
    let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config.clone()).context("cannot use the configuration of the cluster")?;
    let (restarts, kinds) = (RestartClient::new(config)?, snapshot_args.owner_kinds(&client).await);
    let request = args.request(&namespace, &kinds)?;
    let mut world = {
        let _progress = ProgressDisplay::spinner("reading the workloads");
        RestartWorld::read_existing(&restarts, &kinds, &namespace).await?
    };
    world.left_out.iter().for_each(|problem| eprintln!("outrigger: {problem}"));
    if request.needs_drift() {
        world.drifted = find_drifted(&snapshot_args, &namespace).await?;
    }
    let prepared = prepare_restart(world, &request, new_run_id()).map_err(|why| refusal_error(&why))?;
    let command = RestartCommand { restarts: &restarts, kinds: &kinds, args: &args };
    let at_once = args.pacing.pace().at_once;
    match request.intent() {
        RestartIntent::Start(_) => {
            progress_output::summarize_plan(&prepared, &namespace, at_once).iter().for_each(|line| eprintln!("{line}"));
            command.restart(prepared, "Restart?").await
        }
        RestartIntent::Resume(_) => {
            progress_output::summarize_resume(&prepared, &namespace).iter().for_each(|line| eprintln!("{line}"));
            command.restart(prepared, "Resume?").await
        }
        RestartIntent::Forget(_) => command.forget(prepared).await,
    }
}

impl RestartArgs {
    fn names_targets(&self) -> bool {
        let Self { workloads, selector, drifted, all, resume, forget, .. } = self;
        let names_workloads = *all || *drifted || selector.is_some() || !workloads.is_empty();
        names_workloads || resume.is_some() || forget.is_some()
    }

    fn request(&self, namespace: &str, kinds: &OwnerKinds) -> anyhow::Result<RestartRequest> {
        let Self { workloads, selector, drifted, resume, forget, except, .. } = self;
        let only_if_empty = |run: &String| Some(run.clone()).filter(|run| !run.is_empty());
        let intent = match (resume, forget) {
            (Some(run), _) => RestartIntent::Resume(only_if_empty(run)),
            (None, Some(run)) => RestartIntent::Forget(only_if_empty(run)),
            (None, None) if *drifted => RestartIntent::Start(RestartTargets::Drifted),
            (None, None) if !workloads.is_empty() => {
                RestartIntent::Start(RestartTargets::Named(resolve_names(workloads, namespace, kinds)?))
            }
            (None, None) => {
                RestartIntent::Start(selector.clone().map_or(RestartTargets::All, RestartTargets::Labelled))
            }
        };
        RestartRequest::new(intent, resolve_names(except, namespace, kinds)?).map_err(|why| refusal_error(&why))
    }
}

/// Resolves typed names. The plan checks that the workloads exist.
fn resolve_names(
    targets: &[TargetRef],
    namespace: &str,
    kinds: &OwnerKinds,
) -> anyhow::Result<Vec<NamespacedWorkload>> {
    let name = |target: &TargetRef| {
        if target.is_pod() {
            bail!("a pod cannot be restarted: name its workload, such as deployment/{}", target.name);
        }
        Ok(NamespacedWorkload {
            namespace: namespace.to_owned(),
            kind: target.resolve_kind(kinds)?,
            name: target.name.clone(),
        })
    };
    targets.iter().map(name).collect()
}

/// Selects the workloads whose running pods differ from a new pod.
async fn find_drifted(snapshot_args: &SnapshotArgs, namespace: &str) -> anyhow::Result<BTreeSet<NamespacedWorkload>> {
    let snapshot = {
        let _progress = ProgressDisplay::spinner("looking for drift");
        snapshot_args.take(Some(namespace)).await?
    };
    let unread = snapshot.unread();
    if !unread.is_empty() {
        bail!("cannot tell which workloads drift: failed to read {}", unread.join(", "));
    }
    Ok(drifted_workloads(&snapshot.inventory, snapshot.now, namespace))
}

fn refusal_error(why: &RestartRefusal) -> anyhow::Error {
    let command = |flag: &str, run: &str, namespace: &str| format!("`outrigger restart --{flag} {run} -n {namespace}`");
    anyhow!(why.describe(|run, namespace| ["resume", "forget"].map(|flag| command(flag, run, namespace))))
}

struct RestartCommand<'a> {
    restarts: &'a RestartClient,
    kinds: &'a OwnerKinds,
    args: &'a RestartArgs,
}

impl RestartCommand<'_> {
    async fn restart(&self, mut prepared: PreparedRestart, question: &str) -> anyhow::Result<ExitCode> {
        let Self { restarts, kinds, args } = self;
        if args.dry_run {
            let refused = rehearse_restart(restarts, &prepared).await;
            let verdict = prepared.rehearsal_verdict(&refused);
            args.output.print(&RestartPlanOutput::new(&prepared, refused), |plan| describe_dry_run(&plan.refused))?;
            return Ok(verdict_code(verdict));
        }
        if prepared.is_empty() {
            let report = RestartReport::new(&prepared.run);
            if args.output != OutputFormat::Table {
                print_report(&report, args.output)?;
            }
            return Ok(verdict_code(prepared.verdict(&report)));
        }
        if !confirm(args.yes, question)? {
            return Ok(ExitCode::FAILURE);
        }
        let report =
            run_until_end(restarts, kinds, &prepared.run, std::mem::take(&mut prepared.work), &args.pacing).await?;
        print_report(&report, args.output)?;
        Ok(verdict_code(prepared.verdict(&report)))
    }

    async fn forget(&self, prepared: PreparedRestart) -> anyhow::Result<ExitCode> {
        let Self { restarts, args, .. } = self;
        let (run, count) = (&prepared.run, prepared.work.excepted.len());
        eprintln!("Giving up restart {run}: its {count} unfinished workloads stay as they are.");
        if args.dry_run {
            let refused = rehearse_restart(restarts, &prepared).await;
            let verdict = prepared.rehearsal_verdict(&refused);
            let output = RestartForgetOutput::new(&prepared, true, refused);
            args.output.print(&output, |output| describe_dry_run(&output.refused))?;
            return Ok(verdict_code(verdict));
        }
        if !confirm(args.yes, "Give it up?")? {
            return Ok(ExitCode::FAILURE);
        }
        forget_restart(restarts, &prepared).await?;
        let output = RestartForgetOutput::new(&prepared, false, Vec::new());
        args.output.print(&output, |output| format!("Restart {} is given up.\n", output.run))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn describe_dry_run(refused: &[WorkloadReason]) -> String {
    let refused = refused.iter().map(|one| format!("{} cannot be written: {}\n", one.workload, one.why));
    refused.collect::<String>() + "Nothing was changed.\n"
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn the_defaults_of_the_command_are_those_of_the_feature() {
        #[derive(Parser)]
        struct Command {
            #[command(flatten)]
            pacing: PacingArgs,
        }
        let Command { pacing } = Command::parse_from(["restart"]);
        assert_eq!(pacing.pace(), RestartPace::default());
    }
}
