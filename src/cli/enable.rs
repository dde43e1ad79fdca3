//! `outrigger enable`: new pods of a workload or a namespace get a sidecar.

use std::process::ExitCode;

use clap::Args;

use super::overriding::{Overriding, TermArgs, WhomArgs, WritingArgs};
use crate::overrides::change::Change;

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
    #[command(flatten)]
    writing: WritingArgs,
}

/// Runs the command. The answer is no where new pods do not get a sidecar for it, or whoever was asked does not want it.
pub async fn run(args: EnableArgs) -> anyhow::Result<ExitCode> {
    let EnableArgs { whom, terms, revision, writing } = args;
    Overriding { change: Change::Enable, whom, terms, revision, writing }.run().await
}
