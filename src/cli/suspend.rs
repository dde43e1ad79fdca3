//! `outrigger suspend`: no sidecars for new pods, or no traffic to services, for a while.

pub(super) mod listing;
pub(crate) mod spec_args;
mod summary;

use crate::cli::action_args::ActionArgs;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::snapshot::{ClusterSnapshot, OutputFormat, SnapshotArgs};
use crate::features::suspension::change::draft_suspension;
use crate::kernel::api_error::ApiError;
use crate::kernel::ids::fresh_id;
use crate::kubernetes::resources::suspension_object::SuspensionObject;
use listing::SuspensionRow;
use spec_args::{InjectionArgs, SuspensionSpecArgs, TrafficArgs};
use summary::SuspensionSummary;

/// Arguments of `outrigger suspend`: a suspension to create, or `--list`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SuspendArgs {
    #[command(subcommand)]
    command: Option<SuspendCommand>,
    /// List the suspensions that there are
    #[arg(long, required = true)]
    list: bool,
    /// With --list: only those of this namespace and of the cluster
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
    #[command(flatten)]
    snapshot_args: SnapshotArgs,
}

#[derive(Debug, Subcommand)]
enum SuspendCommand {
    /// New pods get no sidecar
    Injection {
        #[command(flatten)]
        target: InjectionArgs,
        #[command(flatten)]
        spec_args: SuspensionSpecArgs,
        #[command(flatten)]
        action: ActionArgs,
    },
    /// Callers of services get an error
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
            let snapshot = action.read_state(&spec_args, false).await?;
            let fields = target.fields(&snapshot.inventory.owner_kinds)?;
            create_suspension(fields, &spec_args, &action, snapshot).await
        }
        Some(SuspendCommand::Traffic { target, spec_args, action }) => {
            let snapshot = action.read_state(&spec_args, true).await?;
            create_suspension(target.fields(), &spec_args, &action, snapshot).await
        }
    }
}

async fn create_suspension(
    mut fields: serde_json::Map<String, Value>,
    spec_args: &SuspensionSpecArgs,
    action: &ActionArgs,
    snapshot: ClusterSnapshot,
) -> anyhow::Result<ExitCode> {
    fields.extend(spec_args.to_fields(snapshot.now)?);
    let spec = serde_json::from_value(Value::Object(fields)).context("this cannot be suspended")?;
    let namespace = match (spec_args.cluster, &spec_args.namespace) {
        (true, _) => None,
        (false, Some(namespace)) => Some(namespace.clone()),
        (false, None) => Some(action.snapshot_args.default_namespace().await?),
    };
    let id = fresh_id();
    let name = spec_args.name.clone().unwrap_or_else(|| format!("suspension-{}", &id[..8]));
    let draft = draft_suspension(namespace, name, spec, id, snapshot.now, &snapshot.rule_limits)?;
    let SuspensionSummary { lines, obstacles } = SuspensionSummary::new(&snapshot, &draft);
    lines.iter().for_each(|line| eprintln!("{line}"));
    if !obstacles.is_empty() {
        obstacles.iter().for_each(|obstacle| eprintln!("outrigger: {obstacle}"));
        eprintln!("outrigger: nothing is suspended");
        return Ok(ExitCode::FAILURE);
    }
    if !action.dry_run && !action.confirm("Suspend?")? {
        return Ok(ExitCode::FAILURE);
    }
    let store = action.suspension_store(&snapshot).await?;
    let created =
        store.create(&draft, action.dry_run).await.map_err(|why| explain_write_error(&why, "create", &draft))?;
    let object = created.object;
    if action.dry_run && action.output != OutputFormat::Table {
        action.output.print(&object.to_json(), |_| String::new())?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = SuspensionRow::new(&object, object.period(snapshot.rule_limits.longest_suspension).ok(), snapshot.now);
    let verb = if action.dry_run { "would be made; nothing is stored" } else { "is made" };
    action.output.print(&row, |_| {
        let flag = object.namespace.as_ref().map_or("--cluster".to_owned(), |namespace| format!("-n {namespace}"));
        format!("{} {verb}. End it with: outrigger resume {} {flag}\n", object.describe(), object.name)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Explains a failed write, and names the ClusterRole that grants a missing right.
pub(super) fn explain_write_error(why: &ApiError, verb: &str, object: &SuspensionObject) -> anyhow::Error {
    let role = if object.namespace.is_some() { "outrigger-suspend" } else { "outrigger-suspend-cluster" };
    match why {
        ApiError::Forbidden(why) => anyhow::anyhow!("{why}; the ClusterRole {role} grants it"),
        why => anyhow::anyhow!("cannot {verb} {}: {why}", object.describe()),
    }
}
