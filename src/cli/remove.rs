//! `outrigger remove`: takes an override away, so that policies and the namespace decide.

use std::process::ExitCode;

use clap::Args;

use super::overriding::{Overriding, TermArgs, WhomArgs, WritingArgs};
use crate::overrides::change::Change;

/// Whose override is taken away.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    #[command(flatten)]
    whom: WhomArgs,
    /// With --label: take away the label istio.io/rev, which has to name this revision, instead of istio-injection
    #[arg(long, value_name = "REVISION", requires = "label")]
    revision: Option<String>,
    #[command(flatten)]
    writing: WritingArgs,
}

/// Runs the command. The answer is no where whoever was asked does not want it.
pub async fn run(args: RemoveArgs) -> anyhow::Result<ExitCode> {
    let RemoveArgs { whom, revision, writing } = args;
    Overriding { change: Change::Remove, whom, terms: TermArgs::default(), revision, writing }.run().await
}
