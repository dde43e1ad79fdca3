//! `outrigger remove`: takes an override away, so that policies and the namespace decide.

use std::process::ExitCode;

use clap::Args;

use super::overriding::{Overriding, TermArgs, WhomArgs, WritingArgs};
use super::restart::PacingArgs;
use crate::features::overrides::change::Change;

/// Whose override is taken away.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    #[command(flatten)]
    whom: WhomArgs,
    /// With --label: take away the label istio.io/rev, which has to name this revision, instead of istio-injection
    #[arg(long, value_name = "REVISION", requires = "label")]
    revision: Option<String>,
    /// Leave the running pods as they are; otherwise those workloads are restarted whose pods are not as new ones
    #[arg(long)]
    no_restart: bool,
    #[command(flatten)]
    pacing: PacingArgs,
    #[command(flatten)]
    writing: WritingArgs,
}

/// Runs the command. The answer is no where whoever was asked does not want it.
pub async fn run(args: RemoveArgs) -> anyhow::Result<ExitCode> {
    let RemoveArgs { whom, revision, no_restart, pacing, writing } = args;
    // A template that changes is rolled out by whoever does that.
    let restarting = (!no_restart && !writing.template).then_some(pacing);
    Overriding { change: Change::Remove, whom, terms: TermArgs::default(), revision, restarting, writing }.run().await
}
