//! `outrigger status`: prints the mesh membership of workloads, and whether it is intended; or all overrides.

mod overrides;
mod states;

use std::process::ExitCode;

use anyhow::ensure;
use clap::Args;

use super::progress::ProgressDisplay;
use super::snapshot::{OutputFormat, SnapshotArgs};
use super::target::TargetRef;
use states::StatusSelection;

/// Arguments of `outrigger status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// One workload with its pods, such as deployment/web
    #[arg(value_name = "KIND/NAME", conflicts_with = "overrides")]
    subject: Option<TargetRef>,
    /// List overrides instead, with the action of each and whether it is in force
    #[arg(long)]
    overrides: bool,
    /// Limit the output to this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Leave out workloads that need no attention: in mesh, out (intended), suspended, or without pods
    #[arg(long, conflicts_with = "overrides")]
    problems: bool,
    /// Repeat every two seconds, and print again after each change, until interrupted
    #[arg(short, long, conflicts_with = "overrides")]
    watch: bool,
    /// Format of the output
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
    #[command(flatten)]
    snapshot_args: SnapshotArgs,
}

/// Runs `outrigger status`.
pub async fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let StatusArgs { subject, overrides, namespace, problems, watch, output, snapshot_args } = args;
    let namespace = match (&subject, namespace) {
        (Some(_), None) => Some(snapshot_args.default_namespace().await?),
        (_, namespace) => namespace,
    };
    if let Some(namespace) = &namespace {
        ensure!(!namespace.is_empty(), "--namespace is empty: name a namespace, or leave the flag out for all");
    }
    if overrides {
        let snapshot = snapshot_args.take_with_progress(namespace.as_deref()).await?;
        overrides::print_overrides(&snapshot, namespace.as_deref(), output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let selection = StatusSelection { namespace, subject, problems };
    if watch {
        states::watch(&snapshot_args, &selection, output).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let snapshot = snapshot_args.take_with_progress(selection.namespace.as_deref()).await?;
    states::print_status(&snapshot, &selection, output)
}

impl SnapshotArgs {
    async fn take_with_progress(&self, namespace: Option<&str>) -> anyhow::Result<super::snapshot::ClusterSnapshot> {
        let _progress = ProgressDisplay::spinner("reading the cluster");
        self.take(namespace).await
    }
}
