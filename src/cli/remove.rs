//! `outrigger remove`: removes an override, so that policies and the namespace decide.

use std::process::ExitCode;

use clap::Args;

use super::overrides::{OverrideCommand, OverrideTargetArgs, OverrideTermArgs, OverrideWriteArgs};
use super::restart::PacingArgs;
use crate::features::overrides::request::OverrideAction;

/// Arguments of `remove`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    #[command(flatten)]
    targets: OverrideTargetArgs,
    /// With --label: remove istio.io/rev instead of istio-injection; the label must name this revision
    #[arg(long, value_name = "REVISION", requires = "label")]
    revision: Option<String>,
    /// Leave running pods alone; without this flag, workloads whose pods differ from new ones are restarted
    #[arg(long)]
    no_restart: bool,
    #[command(flatten)]
    pacing: PacingArgs,
    #[command(flatten)]
    write: OverrideWriteArgs,
}

/// Runs the command. Exits with 1 if the user declines.
pub async fn run(args: RemoveArgs) -> anyhow::Result<ExitCode> {
    let RemoveArgs { targets, revision, no_restart, pacing, write } = args;
    // A changed template is rolled out by its controller.
    let restart_pacing = (!no_restart && !write.template).then_some(pacing);
    OverrideCommand {
        action: OverrideAction::Remove,
        targets,
        terms: OverrideTermArgs::default(),
        revision,
        restart_pacing,
        write,
    }
    .run()
    .await
}
