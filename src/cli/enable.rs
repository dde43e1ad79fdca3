//! `outrigger enable`: new pods of a workload or a namespace get a sidecar.

use std::process::ExitCode;

use clap::Args;

use super::overriding::{Overriding, TermArgs, WhomArgs, WritingArgs};
use super::restart::PacingArgs;
use crate::features::overrides::change::Change;

/// Whom to enable, and how.
#[derive(Debug, Args)]
pub struct EnableArgs {
    #[command(flatten)]
    whom: WhomArgs,
    #[command(flatten)]
    terms: TermArgs,
    /// With --label: write the label istio.io/rev with this revision, instead of istio-injection
    #[arg(long, value_name = "REVISION", requires = "label")]
    revision: Option<String>,
    /// Then restart those whose running pods are not as new ones; where that cannot be told, the workloads that are meant
    #[arg(long, conflicts_with = "template")]
    restart: bool,
    #[command(flatten)]
    pacing: PacingArgs,
    #[command(flatten)]
    writing: WritingArgs,
}

/// Runs the command. The answer is no where new pods do not get a sidecar for it, or whoever was asked does not want it.
pub async fn run(args: EnableArgs) -> anyhow::Result<ExitCode> {
    let EnableArgs { whom, terms, revision, restart, pacing, writing } = args;
    let restarting = restart.then_some(pacing);
    Overriding { change: Change::Enable, whom, terms, revision, restarting, writing }.run().await
}
