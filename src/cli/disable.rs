//! `outrigger disable`: new pods of a workload or a namespace get no sidecar. Running pods stay as they are unless restarted.

use std::process::ExitCode;

use clap::Args;

use super::overrides::{OverrideCommand, OverrideTargetArgs, OverrideTermArgs, OverrideWriteArgs};
use super::restart::PacingArgs;
use crate::features::overrides::request::OverrideAction;

/// Arguments of `disable`.
#[derive(Debug, Args)]
pub struct DisableArgs {
    #[command(flatten)]
    targets: OverrideTargetArgs,
    #[command(flatten)]
    terms: OverrideTermArgs,
    /// Restart workloads whose running pods differ from new ones, and named workloads whose pods cannot be compared
    #[arg(long, conflicts_with = "template")]
    restart: bool,
    #[command(flatten)]
    pacing: PacingArgs,
    #[command(flatten)]
    write: OverrideWriteArgs,
}

/// Runs the command. Exits with 1 if new pods still get a sidecar, or the user declines.
pub async fn run(args: DisableArgs) -> anyhow::Result<ExitCode> {
    let DisableArgs { targets, terms, restart, pacing, write } = args;
    let restart_pacing = restart.then_some(pacing);
    OverrideCommand { action: OverrideAction::Disable, targets, terms, revision: None, restart_pacing, write }
        .run()
        .await
}
