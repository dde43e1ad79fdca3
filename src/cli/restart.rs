//! `outrigger restart`: the pods of workloads are replaced, one wave after another, and what does not come up halts it.

mod chosen;
pub(super) mod running;
mod summary;
pub(super) mod telling;

use std::process::ExitCode;

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use jiff::SignedDuration;
use kube::Client;
use serde::Serialize;

use super::deciding::DecidingArgs;
use super::looking::{LookingArgs, Output};
use super::progress::Progress;
use super::selector::selector;
use super::subject::Target;
use super::times::duration;
use crate::cli::acting::agreed;
use crate::decision::selector::Selector;
use crate::features::restart::left::{Left, left_of, unfinished_run};
use crate::features::restart::mark::Mark;
use crate::features::restart::plan::{Chosen, Plan, Unplanned, plan};
use crate::features::restart::pods::PodSeen;
use crate::features::restart::telling::{Report, Told};
use crate::features::restart::workload::{Name, Workload};
use crate::kernel::api_error::ApiError;
use crate::kernel::text::nearest;
use crate::kubernetes::client;
use crate::kubernetes::client::restarts::Restarts;
use crate::kubernetes::client::restarts::run::Pace;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;
use running::{finished, fresh_run, run_to_its_end};

/// Whose pods to replace.
#[derive(Debug, Args)]
pub struct RestartArgs {
    /// Workloads, such as deployment/web
    #[arg(value_name = "KIND/NAME", conflicts_with_all = ["selector", "drifted", "all"])]
    workloads: Vec<Target>,
    /// The namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// By the labels of the workloads, as kubectl takes them, such as app=web,tier!=front
    #[arg(short = 'l', long, value_name = "SELECTOR", value_parser = selector, conflicts_with_all = ["drifted", "all"])]
    selector: Option<Selector>,
    /// Those whose running pods differ from what a new pod would get today
    #[arg(long, conflicts_with = "all")]
    drifted: bool,
    /// All of the namespace
    #[arg(long)]
    all: bool,
    /// But not this workload; may be given several times, also to go on without one that does not come up
    #[arg(long, value_name = "KIND/NAME")]
    except: Vec<Target>,
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
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    deciding: DecidingArgs,
}

/// How fast to restart, and how patiently.
#[derive(Debug, Clone, Args)]
pub(super) struct PacingArgs {
    /// How many workloads are restarted at once; the next follow when all of them are ready
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    at_once: u16,
    /// How long a workload may go on without another of its pods coming up, and a budget may hold the next one
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    timeout: SignedDuration,
    /// How long to go on asking an API server that does not answer
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    patience: SignedDuration,
}

impl PacingArgs {
    fn pace(&self) -> Pace {
        let Self { at_once, timeout, patience } = self;
        Pace { at_once: (*at_once).into(), timeout: timeout.unsigned_abs(), patience: patience.unsigned_abs() }
    }
}

/// What is there to restart.
struct Found {
    workloads: Vec<Workload>,
    pods: Vec<PodSeen>,
}

/// Runs the command. The answer is no where something did not come up, was held or interrupted; it failed where something
/// could not be done, though the rest was.
pub async fn run(args: RestartArgs) -> anyhow::Result<ExitCode> {
    let RestartArgs { workloads, selector, drifted, all, resume, forget, .. } = &args;
    let is_said = *all || *drifted || selector.is_some() || resume.is_some() || forget.is_some();
    ensure!(
        is_said || !workloads.is_empty(),
        "this names nobody; name workloads, such as deployment/web, or say --all, --selector or --drifted"
    );
    let config = client::config().await.context("cannot find a cluster")?;
    let looking = LookingArgs { state: None, now: None, deciding: args.deciding.clone() };
    let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config.clone()).context("cannot use the configuration of the cluster")?;
    let (restarts, kinds) = (Restarts::new(config)?, looking.owner_kinds(&client).await);
    let found = {
        let _progress = Progress::of("reading the workloads");
        found_in(&restarts, &kinds, &namespace).await?
    };
    let except = chosen::named(&args.except, &namespace, &kinds)?;
    let acting = Acting { restarts: &restarts, kinds: &kinds, namespace: &namespace, args: &args };
    match (&args.resume, &args.forget) {
        (Some(run), _) => acting.resume(found.workloads, run, &except).await,
        (None, Some(run)) => acting.forget(found.workloads, run).await,
        (None, None) => {
            let chosen = chosen::chosen(&args, &looking, &namespace, &kinds).await?;
            let planned = plan(found.workloads, &found.pods, &chosen, &except);
            acting.restart(planned.map_err(|why| unplanned(&why))?, &chosen).await
        }
    }
}

async fn found_in(restarts: &Restarts, kinds: &OwnerKinds, namespace: &str) -> anyhow::Result<Found> {
    if let Some(others) = restarts.others_than(namespace).await.context("cannot read the cluster")? {
        let meant = nearest(namespace, others.iter().map(String::as_str));
        let meant = meant.map(|nearest| format!("; did you mean {nearest}?")).unwrap_or_default();
        bail!("there is no namespace {namespace}{meant}");
    }
    read_in(restarts, kinds, namespace).await
}

/// What there is; nothing in a namespace that is not there.
async fn read_in(restarts: &Restarts, kinds: &OwnerKinds, namespace: &str) -> anyhow::Result<Found> {
    let unread = |why: ApiError| anyhow!("cannot read what there is to restart: {why}{}", hint(&why));
    let (workloads, problems) = restarts.workloads(kinds, namespace).await.map_err(unread)?;
    problems.iter().for_each(|problem| eprintln!("outrigger: {problem}"));
    let pods = restarts.pods(namespace).await.map_err(unread)?;
    // Found out now rather than in the middle.
    restarts
        .budgets(namespace)
        .await
        .map_err(|why| anyhow!("cannot tell what PodDisruptionBudgets allow: {why}{}", hint(&why)))?;
    Ok(Found { workloads, pods })
}

/// What grants a right that is missing.
fn hint(why: &ApiError) -> &'static str {
    if matches!(why, ApiError::Forbidden(_)) { "; the ClusterRole outrigger-restart grants it" } else { "" }
}

fn unplanned(why: &Unplanned) -> anyhow::Error {
    match why {
        Unplanned::Taken { run, example, .. } => {
            let namespace = &example.namespace;
            anyhow!(
                "{why}: go on with it by `outrigger restart --resume {run} -n {namespace}`, or give it up by \
                 `outrigger restart --forget {run} -n {namespace}`"
            )
        }
        Unplanned::Unknown { .. } | Unplanned::Made { .. } => anyhow!("{why}"),
    }
}

/// What a dry run prints.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Planned {
    workloads: Vec<Name>,
    skipped: Vec<Told>,
    bare_pods: Vec<String>,
    refused: Vec<Told>,
}

/// What is printed of a restart that is given up.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GivenUp {
    run: String,
    dry_run: bool,
    /// These bear its mark no longer.
    workloads: Vec<Name>,
}

struct Acting<'a> {
    restarts: &'a Restarts,
    kinds: &'a OwnerKinds,
    namespace: &'a str,
    args: &'a RestartArgs,
}

impl Acting<'_> {
    async fn restart(&self, plan: Plan, chosen: &Chosen) -> anyhow::Result<ExitCode> {
        let Self { restarts, kinds, namespace, args } = self;
        summary::of(&plan, namespace, args.pacing.pace().at_once).iter().for_each(|line| eprintln!("{line}"));
        let is_named = matches!(chosen, Chosen::Named(_));
        let code = if is_named && !plan.skipped.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        if args.dry_run {
            return Ok(if self.dry_run(plan).await? { code } else { ExitCode::from(2) });
        }
        if plan.workloads.is_empty() {
            if args.output != Output::Table {
                finished(&Report::of(&fresh_run()), is_named, args.output)?;
            }
            return Ok(code);
        }
        if !agreed(args.yes, "Restart?")? {
            return Ok(ExitCode::FAILURE);
        }
        let report = run_to_its_end(restarts, kinds, &fresh_run(), plan.workloads.into(), &args.pacing).await?;
        let finished = finished(&report, is_named, args.output)?;
        Ok(if finished == ExitCode::SUCCESS { code } else { finished })
    }

    /// Whether all of it may be done.
    async fn dry_run(&self, plan: Plan) -> anyhow::Result<bool> {
        let Plan { workloads, skipped, bare_pods } = plan;
        let mark = Mark::pending(&fresh_run(), workloads.len());
        let mut refused = Vec::new();
        for workload in &workloads {
            if let Err(why) = self.restarts.mark(workload, &mark, true).await {
                let why = format!("{why}{}", hint(&why));
                refused.push(Told { workload: workload.name.clone(), why });
            }
        }
        let workloads = workloads.into_iter().map(|one| one.name).collect();
        let planned = Planned { workloads, skipped, bare_pods, refused };
        self.args.output.print(&planned, |planned| {
            let refused = planned.refused.iter().map(|one| format!("{} may not be: {}\n", one.workload, one.why));
            refused.collect::<String>() + "Nothing was changed.\n"
        })?;
        Ok(planned.refused.is_empty())
    }

    async fn resume(&self, all: Vec<Workload>, run: &str, except: &[Name]) -> anyhow::Result<ExitCode> {
        let Self { restarts, kinds, namespace, args } = self;
        let run = self.unfinished_run(&all, run)?;
        let left = Left::of(all, &run, except).map_err(|why| unplanned(&why))?;
        summary::of_resumed(&run, namespace, &left).iter().for_each(|line| eprintln!("{line}"));
        if args.dry_run {
            let workloads = left.workloads.into_iter().map(|one| one.name).collect();
            let planned = Planned { workloads, ..Planned::default() };
            args.output.print(&planned, |_| "Nothing was changed.\n".to_owned())?;
            return Ok(ExitCode::SUCCESS);
        }
        if !agreed(args.yes, "Go on?")? {
            return Ok(ExitCode::FAILURE);
        }
        let report = run_to_its_end(restarts, kinds, &run, left, &args.pacing).await?;
        finished(&report, false, args.output)
    }

    async fn forget(&self, all: Vec<Workload>, run: &str) -> anyhow::Result<ExitCode> {
        let run = self.unfinished_run(&all, run)?;
        let left = left_of(all, &run);
        eprintln!("Restart {run} is given up; {} workloads that it has not done stay as they are.", left.len());
        let names = left.iter().map(|one| one.name.clone()).collect();
        let given_up = GivenUp { run, dry_run: self.args.dry_run, workloads: names };
        if !given_up.dry_run {
            if !agreed(self.args.yes, "Give it up?")? {
                return Ok(ExitCode::FAILURE);
            }
            if let Some((workload, why)) = self.restarts.unmark_all(&left, false).await.first() {
                bail!("cannot take the mark off {workload}: {why}{}", hint(why));
            }
        }
        self.args.output.print(&given_up, |GivenUp { run, dry_run, .. }| match dry_run {
            true => "Nothing was changed.\n".to_owned(),
            false => format!("Restart {run} is given up.\n"),
        })?;
        Ok(ExitCode::SUCCESS)
    }

    /// The restart of this name, or the only one that is not over.
    fn unfinished_run(&self, all: &[Workload], run: &str) -> anyhow::Result<String> {
        Ok(unfinished_run(all, self.namespace, Some(run).filter(|run| !run.is_empty()))?)
    }
}
