//! `outrigger restart`: replaces the pods of workloads in waves, and halts when a workload does not come up.

pub(super) mod execution;
pub(super) mod progress_output;
mod summary;
mod targets;

use std::process::ExitCode;

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use jiff::SignedDuration;
use kube::Client;
use serde::Serialize;

use super::decision_args::DecisionArgs;
use super::progress::ProgressDisplay;
use super::selector::parse_selector;
use super::snapshot::{OutputFormat, SnapshotArgs};
use super::target::TargetRef;
use crate::cli::action_args::confirm;
use crate::decision::selector::Selector;
use crate::features::restart::mark::RestartMark;
use crate::features::restart::plan::{RestartPlan, RestartRefusal, RestartTargets, plan_restart};
use crate::features::restart::pods::PodSnapshot;
use crate::features::restart::remaining::{RemainingWork, find_unfinished_run, remaining_workloads};
use crate::features::restart::report::{RestartReport, WorkloadReason};
use crate::features::restart::workload::{NamespacedWorkload, WorkloadSnapshot};
use crate::kernel::api_error::ApiError;
use crate::kernel::duration::parse_duration;
use crate::kernel::text::nearest_word;
use crate::kubernetes::client;
use crate::kubernetes::client::restarts::RestartClient;
use crate::kubernetes::client::restarts::run::RestartPace;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;
use execution::{new_run_id, print_report, run_until_end};

/// Whose pods to replace.
#[derive(Debug, Args)]
pub struct RestartArgs {
    /// Workloads, such as deployment/web
    #[arg(value_name = "KIND/NAME", conflicts_with_all = ["selector", "drifted", "all"])]
    workloads: Vec<TargetRef>,
    /// The namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// By the labels of the workloads, as kubectl takes them, such as app=web,tier!=front
    #[arg(short = 'l', long, value_name = "SELECTOR", value_parser = parse_selector, conflicts_with_all = ["drifted", "all"])]
    selector: Option<Selector>,
    /// Those whose running pods differ from what a new pod would get today
    #[arg(long, conflicts_with = "all")]
    drifted: bool,
    /// All of the namespace
    #[arg(long)]
    all: bool,
    /// But not this workload; may be given several times, also to go on without one that does not come up
    #[arg(long, value_name = "KIND/NAME")]
    except: Vec<TargetRef>,
    /// Go on with a restart that is not over; with the only one of the namespace if none is named
    #[arg(
        long,
        value_name = "RUN",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with_all = ["workloads", "selector", "drifted", "all", "forget"]
    )]
    resume: Option<String>,
    /// Give up a restart that is not over: nothing else of it is restarted, and no mark of it stays
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
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Say what would be done, and whether it may be, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
    #[command(flatten)]
    decision_args: DecisionArgs,
}

/// How fast to restart, and how patiently.
#[derive(Debug, Clone, Args)]
pub(super) struct PacingArgs {
    /// How many workloads are restarted at once; the next follow when all of them are ready
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    at_once: u16,
    /// How long a workload may go on without another of its pods coming up, and a budget may hold the next one
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    timeout: SignedDuration,
    /// How long to go on asking an API server that does not answer
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    patience: SignedDuration,
}

impl PacingArgs {
    fn pace(&self) -> RestartPace {
        let Self { at_once, timeout, patience } = self;
        RestartPace { at_once: (*at_once).into(), timeout: timeout.unsigned_abs(), patience: patience.unsigned_abs() }
    }
}

/// Contents of a namespace.
struct NamespaceWorkloads {
    workloads: Vec<WorkloadSnapshot>,
    pods: Vec<PodSnapshot>,
}

/// Runs the command. Exit code 1 means that a workload did not come up, was held or interrupted. Exit code 2 means
/// that something could not be done, though the rest was.
pub async fn run(args: RestartArgs) -> anyhow::Result<ExitCode> {
    let RestartArgs { workloads, selector, drifted, all, resume, forget, .. } = &args;
    let names_targets = *all || *drifted || selector.is_some() || resume.is_some() || forget.is_some();
    ensure!(
        names_targets || !workloads.is_empty(),
        "this names nobody; name workloads, such as deployment/web, or say --all, --selector or --drifted"
    );
    let config = client::config().await.context("cannot find a cluster")?;
    let snapshot_args = SnapshotArgs { state: None, now: None, decision_args: args.decision_args.clone() };
    let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config.clone()).context("cannot use the configuration of the cluster")?;
    let (restarts, kinds) = (RestartClient::new(config)?, snapshot_args.owner_kinds(&client).await);
    let contents = {
        let _progress = ProgressDisplay::spinner("reading the workloads");
        read_namespace(&restarts, &kinds, &namespace).await?
    };
    let except = targets::parse_names(&args.except, &namespace, &kinds)?;
    let command = RestartCommand { restarts: &restarts, kinds: &kinds, namespace: &namespace, args: &args };
    match (&args.resume, &args.forget) {
        (Some(run), _) => command.resume(contents.workloads, run, &except).await,
        (None, Some(run)) => command.forget(contents.workloads, run).await,
        (None, None) => {
            let targets = targets::parse_targets(&args, &snapshot_args, &namespace, &kinds).await?;
            let planned = plan_restart(contents.workloads, &contents.pods, &targets, &except);
            command.restart(planned.map_err(|why| refusal_error(&why))?, &targets).await
        }
    }
}

async fn read_namespace(
    restarts: &RestartClient,
    kinds: &OwnerKinds,
    namespace: &str,
) -> anyhow::Result<NamespaceWorkloads> {
    if let Some(others) = restarts.namespaces_if_missing(namespace).await.context("cannot read the cluster")? {
        let meant = nearest_word(namespace, others.iter().map(String::as_str));
        let meant = meant.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default();
        bail!("there is no namespace {namespace}{meant}");
    }
    read_workloads(restarts, kinds, namespace).await
}

/// Reads workloads and pods. A missing namespace appears empty.
async fn read_workloads(
    restarts: &RestartClient,
    kinds: &OwnerKinds,
    namespace: &str,
) -> anyhow::Result<NamespaceWorkloads> {
    let unread = |why: ApiError| anyhow!("cannot read what there is to restart: {why}{}", missing_role_hint(&why));
    let (workloads, problems) = restarts.list_workloads(kinds, namespace).await.map_err(unread)?;
    problems.iter().for_each(|problem| eprintln!("outrigger: {problem}"));
    let pods = restarts.list_pods(namespace).await.map_err(unread)?;
    // Checks the right now rather than in the middle of the restart.
    restarts
        .list_budgets(namespace)
        .await
        .map_err(|why| anyhow!("cannot tell what PodDisruptionBudgets allow: {why}{}", missing_role_hint(&why)))?;
    Ok(NamespaceWorkloads { workloads, pods })
}

/// Names the ClusterRole that grants a missing right.
fn missing_role_hint(why: &ApiError) -> &'static str {
    if matches!(why, ApiError::Forbidden(_)) { "; the ClusterRole outrigger-restart grants it" } else { "" }
}

fn refusal_error(why: &RestartRefusal) -> anyhow::Error {
    match why {
        RestartRefusal::OtherRestart { run, example, .. } => {
            let namespace = &example.namespace;
            anyhow!(
                "{why}: go on with it by `outrigger restart --resume {run} -n {namespace}`, or give it up by \
                 `outrigger restart --forget {run} -n {namespace}`"
            )
        }
        RestartRefusal::UnknownWorkload { .. } | RestartRefusal::HasOwner { .. } => anyhow!("{why}"),
    }
}

/// Output of a dry run.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct RestartDryRunOutput {
    workloads: Vec<NamespacedWorkload>,
    skipped: Vec<WorkloadReason>,
    bare_pods: Vec<String>,
    refused: Vec<WorkloadReason>,
}

/// Output of `--forget`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RestartForgetOutput {
    run: String,
    dry_run: bool,
    /// Workloads that lose their mark.
    workloads: Vec<NamespacedWorkload>,
}

struct RestartCommand<'a> {
    restarts: &'a RestartClient,
    kinds: &'a OwnerKinds,
    namespace: &'a str,
    args: &'a RestartArgs,
}

impl RestartCommand<'_> {
    async fn restart(&self, plan: RestartPlan, targets: &RestartTargets) -> anyhow::Result<ExitCode> {
        let Self { restarts, kinds, namespace, args } = self;
        summary::summarize_plan(&plan, namespace, args.pacing.pace().at_once)
            .iter()
            .for_each(|line| eprintln!("{line}"));
        let is_named = matches!(targets, RestartTargets::Named(_));
        let code = if is_named && !plan.skipped.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        if args.dry_run {
            return Ok(if self.dry_run(plan).await? { code } else { ExitCode::from(2) });
        }
        if plan.workloads.is_empty() {
            if args.output != OutputFormat::Table {
                print_report(&RestartReport::new(&new_run_id()), is_named, args.output)?;
            }
            return Ok(code);
        }
        if !confirm(args.yes, "Restart?")? {
            return Ok(ExitCode::FAILURE);
        }
        let report = run_until_end(restarts, kinds, &new_run_id(), plan.workloads.into(), &args.pacing).await?;
        let finished = print_report(&report, is_named, args.output)?;
        Ok(if finished == ExitCode::SUCCESS { code } else { finished })
    }

    /// Prints the plan, and returns whether all of it may be done.
    async fn dry_run(&self, plan: RestartPlan) -> anyhow::Result<bool> {
        let RestartPlan { workloads, skipped, bare_pods } = plan;
        let mark = RestartMark::pending(&new_run_id(), workloads.len());
        let mut refused = Vec::new();
        for workload in &workloads {
            if let Err(why) = self.restarts.add_mark(workload, &mark, true).await {
                let why = format!("{why}{}", missing_role_hint(&why));
                refused.push(WorkloadReason { workload: workload.name.clone(), why });
            }
        }
        let workloads = workloads.into_iter().map(|one| one.name).collect();
        let planned = RestartDryRunOutput { workloads, skipped, bare_pods, refused };
        self.args.output.print(&planned, |planned| {
            let refused = planned.refused.iter().map(|one| format!("{} may not be: {}\n", one.workload, one.why));
            refused.collect::<String>() + "Nothing was changed.\n"
        })?;
        Ok(planned.refused.is_empty())
    }

    async fn resume(
        &self,
        all: Vec<WorkloadSnapshot>,
        run: &str,
        except: &[NamespacedWorkload],
    ) -> anyhow::Result<ExitCode> {
        let Self { restarts, kinds, namespace, args } = self;
        let run = self.find_run(&all, run)?;
        let remaining = RemainingWork::for_run(all, &run, except).map_err(|why| refusal_error(&why))?;
        summary::summarize_resume(&run, namespace, &remaining).iter().for_each(|line| eprintln!("{line}"));
        if args.dry_run {
            let workloads = remaining.workloads.into_iter().map(|one| one.name).collect();
            let planned = RestartDryRunOutput { workloads, ..RestartDryRunOutput::default() };
            args.output.print(&planned, |_| "Nothing was changed.\n".to_owned())?;
            return Ok(ExitCode::SUCCESS);
        }
        if !confirm(args.yes, "Go on?")? {
            return Ok(ExitCode::FAILURE);
        }
        let report = run_until_end(restarts, kinds, &run, remaining, &args.pacing).await?;
        print_report(&report, false, args.output)
    }

    async fn forget(&self, all: Vec<WorkloadSnapshot>, run: &str) -> anyhow::Result<ExitCode> {
        let run = self.find_run(&all, run)?;
        let remaining = remaining_workloads(all, &run);
        eprintln!("Restart {run} is given up; {} workloads that it has not done stay as they are.", remaining.len());
        let names = remaining.iter().map(|one| one.name.clone()).collect();
        let given_up = RestartForgetOutput { run, dry_run: self.args.dry_run, workloads: names };
        if !given_up.dry_run {
            if !confirm(self.args.yes, "Give it up?")? {
                return Ok(ExitCode::FAILURE);
            }
            if let Some((workload, why)) = self.restarts.remove_marks(&remaining, false).await.first() {
                bail!("cannot take the mark off {workload}: {why}{}", missing_role_hint(why));
            }
        }
        self.args.output.print(&given_up, |RestartForgetOutput { run, dry_run, .. }| match dry_run {
            true => "Nothing was changed.\n".to_owned(),
            false => format!("Restart {run} is given up.\n"),
        })?;
        Ok(ExitCode::SUCCESS)
    }

    /// Finds the restart by its identifier, or the only unfinished one.
    fn find_run(&self, all: &[WorkloadSnapshot], run: &str) -> anyhow::Result<String> {
        Ok(find_unfinished_run(all, self.namespace, Some(run).filter(|run| !run.is_empty()))?)
    }
}
