//! `outrigger enable`: new pods of a workload or a namespace get a sidecar.

use std::process::ExitCode;

use clap::Args;

use super::overrides::{OverrideCommand, OverrideTargetArgs, OverrideTermArgs, OverrideWriteArgs};
use super::restart::PacingArgs;
use crate::features::overrides::request::OverrideAction;

/// Arguments of `enable`.
#[derive(Debug, Args)]
pub struct EnableArgs {
    #[command(flatten)]
    targets: OverrideTargetArgs,
    #[command(flatten)]
    terms: OverrideTermArgs,
    /// With --label: write istio.io/rev with this revision instead of istio-injection
    #[arg(long, value_name = "REVISION", requires = "label")]
    revision: Option<String>,
    /// Restart workloads whose running pods differ from new ones, and named workloads whose pods cannot be compared
    #[arg(long, conflicts_with = "template")]
    restart: bool,
    #[command(flatten)]
    pacing: PacingArgs,
    #[command(flatten)]
    write: OverrideWriteArgs,
}

/// Runs the command. Exits with 1 if new pods do not get a sidecar, or the user declines.
pub async fn run(args: EnableArgs) -> anyhow::Result<ExitCode> {
    let EnableArgs { targets, terms, revision, restart, pacing, write } = args;
    let restart_pacing = restart.then_some(pacing);
    OverrideCommand { action: OverrideAction::Enable, targets, terms, revision, restart_pacing, write }.run().await
}
