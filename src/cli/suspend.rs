//! `outrigger suspend`: no sidecars for new pods, or no traffic to services, for a while.

pub(super) mod listing;
mod spec_args;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::snapshot::{ClusterSnapshot, OutputFormat, SnapshotArgs};
use crate::cli::action_args::{ActionArgs, suspension_world};
use crate::cli::times::format_instant;
use crate::features::suspension::apply::{CreationOutcome, SuspensionFailure};
use crate::features::suspension::change::SuspensionRefusal;
use crate::features::suspension::effect::SuspensionEffect;
use crate::features::suspension::request::NewSuspension;
use crate::kernel::api_error::ApiError;
use crate::kernel::ids::fresh_id;
use crate::kubernetes::resources::suspension_fields::SuspensionPeriod;
use crate::kubernetes::resources::suspension_object::SuspensionObject;
use listing::SuspensionRow;
use spec_args::{InjectionArgs, SuspensionSpecArgs, TrafficArgs};

/// Arguments of `outrigger suspend`: a suspension to create, or `--list`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SuspendArgs {
    #[command(subcommand)]
    command: Option<SuspendCommand>,
    /// List all suspensions
    #[arg(long, required = true)]
    list: bool,
    /// With --list: only cluster suspensions and those of this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
    #[command(flatten)]
    snapshot_args: SnapshotArgs,
}

#[derive(Debug, Subcommand)]
enum SuspendCommand {
    /// Suspend injection: new pods get no sidecar
    Injection {
        #[command(flatten)]
        target: InjectionArgs,
        #[command(flatten)]
        spec_args: SuspensionSpecArgs,
        #[command(flatten)]
        action: ActionArgs,
    },
    /// Suspend traffic: services answer with an error
    Traffic {
        #[command(flatten)]
        target: TrafficArgs,
        #[command(flatten)]
        spec_args: SuspensionSpecArgs,
        #[command(flatten)]
        action: ActionArgs,
    },
}

/// Runs the command. Exits with failure if an obstacle is found, or the user does not confirm.
pub async fn run(args: SuspendArgs) -> anyhow::Result<ExitCode> {
    let SuspendArgs { command, list: _, namespace, output, snapshot_args } = args;
    match command {
        None => {
            let snapshot = snapshot_args.take(namespace.as_deref()).await?;
            listing::print_list(&snapshot, namespace.as_deref(), output)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(SuspendCommand::Injection { target, spec_args, action }) => {
            let namespace = action.namespace(spec_args.cluster, spec_args.namespace.as_deref()).await?;
            let snapshot = action.read_state(namespace.as_deref(), false).await?;
            let spec = target.to_spec(&spec_args, &snapshot.inventory.owner_kinds, snapshot.now)?;
            let request = NewSuspension::new(namespace, spec_args.name, spec, fresh_id());
            create_suspension(request, &action, &snapshot).await
        }
        Some(SuspendCommand::Traffic { target, spec_args, action }) => {
            let namespace = action.namespace(spec_args.cluster, spec_args.namespace.as_deref()).await?;
            let snapshot = action.read_state(namespace.as_deref(), true).await?;
            let spec = target.to_spec(&spec_args, snapshot.now)?;
            let request = NewSuspension::new(namespace, spec_args.name, spec, fresh_id());
            create_suspension(request, &action, &snapshot).await
        }
    }
}

async fn create_suspension(
    request: NewSuspension,
    action: &ActionArgs,
    snapshot: &ClusterSnapshot,
) -> anyhow::Result<ExitCode> {
    let world = suspension_world(snapshot);
    let plan = world.prepare_creation(request)?;
    let draft = plan.draft.clone();
    print_effect(&SuspensionEffect::new(&world, &draft), &draft, snapshot.now);
    // With obstacles nothing is written, so there is nothing to confirm.
    if plan.obstacles.is_empty() && !action.dry_run && !action.confirm("Suspend?")? {
        return Ok(ExitCode::FAILURE);
    }
    let store = action.suspension_store(snapshot).await?;
    let (object, done) = match plan.apply(&store, action.dry_run).await {
        Ok(CreationOutcome::Created(object)) if action.dry_run => (object, "would be created; nothing is stored"),
        Ok(CreationOutcome::Created(object)) => (object, "is created"),
        Ok(CreationOutcome::Existed(object)) => (object, "exists already; nothing is stored"),
        Err(SuspensionFailure::Refused(SuspensionRefusal::Obstructed(obstacles))) => {
            obstacles.iter().for_each(|obstacle| eprintln!("outrigger: {}", obstacle.sentence()));
            eprintln!("outrigger: nothing is suspended");
            return Ok(ExitCode::FAILURE);
        }
        Err(why) => return Err(explain_failure(why, "create", &draft)),
    };
    if action.dry_run && action.output != OutputFormat::Table {
        action.output.print(&object.to_json(), |_| String::new())?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = SuspensionRow::new(&object, object.period(snapshot.rule_limits.longest_suspension).ok(), snapshot.now);
    action.output.print(&row, |_| {
        let flag = object.namespace.as_ref().map_or("--cluster".to_owned(), |namespace| format!("-n {namespace}"));
        format!("{} {done}. End it with: outrigger resume {} {flag}\n", object.describe(), object.name)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the effect of a new suspension on standard error.
fn print_effect(effect: &SuspensionEffect, draft: &SuspensionObject, now: Timestamp) {
    let subject = if draft.suspends_traffic() { "traffic" } else { "injection" };
    let period = effect.period.map_or_else(String::new, |period| describe_period(&period, now));
    eprintln!("{} suspends {subject} {period}", draft.describe());
    effect.lines().iter().for_each(|line| eprintln!("{line}"));
    effect.warnings.iter().for_each(|warning| eprintln!("{}", warning.to_sentence()));
}

fn describe_period(SuspensionPeriod { starts_at, ends_at, .. }: &SuspensionPeriod, now: Timestamp) -> String {
    let from = if *starts_at > now { format!("from {} ", format_instant(*starts_at)) } else { String::new() };
    match ends_at {
        Some(end) => format!("{from}until {}", format_instant(*end)),
        None => format!("{from}until somebody ends it"),
    }
}

/// Explains a failed write, with the suspension that it is about.
pub(super) fn explain_failure(why: SuspensionFailure, verb: &str, object: &SuspensionObject) -> anyhow::Error {
    match why {
        SuspensionFailure::Refused(why) => why.into(),
        SuspensionFailure::Failed(why @ ApiError::Forbidden(_)) => why.into(),
        SuspensionFailure::Failed(why) => anyhow::anyhow!("cannot {verb} {}: {why}", object.describe()),
    }
}
