//! `outrigger status`: who is in the mesh, who is not, and whether that is meant; or every override.

mod overrides;
mod states;

use std::process::ExitCode;

use anyhow::ensure;
use clap::Args;

use super::looking::{LookingArgs, Output};
use super::progress::Progress;
use super::subject::Target;
use states::Scope;

/// What to tell.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// One workload, such as deployment/web, with its pods
    #[arg(value_name = "KIND/NAME", conflicts_with = "overrides")]
    subject: Option<Target>,
    /// Tell every override: where it stands, what it asks for, and whether it is in force
    #[arg(long)]
    overrides: bool,
    /// Only in this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Only what is not as it should be: states other than in mesh, out (intended), suspended and no pods
    #[arg(long, conflicts_with = "overrides")]
    problems: bool,
    /// Look again every two seconds, and tell what is new, until interrupted
    #[arg(short, long, conflicts_with = "overrides")]
    watch: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    looking: LookingArgs,
}

/// Runs the command.
pub async fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let StatusArgs { subject, overrides, namespace, problems, watch, output, looking } = args;
    let namespace = match (&subject, namespace) {
        (Some(_), None) => Some(looking.default_namespace().await?),
        (_, namespace) => namespace,
    };
    if let Some(namespace) = &namespace {
        ensure!(!namespace.is_empty(), "the name of the namespace is empty; leave --namespace out for all");
    }
    if overrides {
        let looked = looking.look_showing(namespace.as_deref()).await?;
        overrides::tell(&looked, namespace.as_deref(), output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let scope = Scope { namespace, subject, problems };
    if watch {
        states::watch(&looking, &scope, output).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let looked = looking.look_showing(scope.namespace.as_deref()).await?;
    states::tell(&looked, &scope, output)
}

impl LookingArgs {
    async fn look_showing(&self, namespace: Option<&str>) -> anyhow::Result<super::looking::Looked> {
        let _progress = Progress::of("reading the cluster");
        self.look(namespace).await
    }
}
