//! `outrigger disable`: new pods of a workload or a namespace get no sidecar; those that run stay as they are, unless they are restarted.

use std::process::ExitCode;

use clap::Args;

use super::overriding::{Overriding, TermArgs, WhomArgs, WritingArgs};
use super::restart::PacingArgs;
use crate::features::overrides::change::Change;

/// Whom to disable, and how.
#[derive(Debug, Args)]
pub struct DisableArgs {
    #[command(flatten)]
    whom: WhomArgs,
    #[command(flatten)]
    terms: TermArgs,
    /// Then restart those whose running pods are not as new ones; where that cannot be told, the workloads that are meant
    #[arg(long, conflicts_with = "template")]
    restart: bool,
    #[command(flatten)]
    pacing: PacingArgs,
    #[command(flatten)]
    writing: WritingArgs,
}

/// Runs the command. The answer is no where new pods get a sidecar all the same, or whoever was asked does not want it.
pub async fn run(args: DisableArgs) -> anyhow::Result<ExitCode> {
    let DisableArgs { whom, terms, restart, pacing, writing } = args;
    let restarting = restart.then_some(pacing);
    Overriding { change: Change::Disable, whom, terms, revision: None, restarting, writing }.run().await
}
