//! The command line: one file for each command. `serve` is run by the composition root, not here.

pub(crate) mod action_args;
pub mod certs;
pub mod decision_args;
pub mod disable;
pub mod doctor;
pub mod drift_args;
pub mod enable;
pub mod explain;
pub mod install;
pub mod manifest;
mod overrides;
pub mod preview;
pub mod progress;
pub mod remove;
pub mod restart;
pub mod resume;
pub mod review;
pub(crate) mod sample;
mod selector;
pub mod serve_args;
pub mod snapshot;
pub mod status;
pub mod suspend;
pub mod target;
pub mod test;
mod times;
pub mod uninstall;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// Decides, for every new pod, whether it gets a mesh sidecar, and can always say why.
#[derive(Debug, Parser)]
#[command(name = "outrigger", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// Commands: the server, and all others.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server that decides about new pods
    Serve(serve_args::ServeArgs),
    #[command(flatten)]
    Client(ClientCommand),
}

/// Commands that end by themselves.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Answer one AdmissionReview from standard input on standard output
    Review(review::ReviewArgs),
    /// Explain the decision for a workload, a pod or a manifest
    Explain(explain::ExplainArgs),
    /// Find what keeps rules from having their effect
    Doctor(doctor::DoctorArgs),
    /// Preview the changes that policies and suspensions would make
    Preview(preview::PreviewArgs),
    /// List the workloads and their state in the mesh; with --overrides list the overrides and their outcomes
    Status(status::StatusArgs),
    /// Suspend the injection of sidecars or the traffic to services for a limited time
    Suspend(Box<suspend::SuspendArgs>),
    /// End a suspension now
    Resume(resume::ResumeArgs),
    /// Move the end of a suspension to a later time
    Extend(resume::ExtendArgs),
    /// Replace the pods of workloads in waves, and wait until the new pods are ready
    Restart(Box<restart::RestartArgs>),
    /// Give new pods of a workload or namespace a sidecar, by an override
    Enable(Box<enable::EnableArgs>),
    /// Give new pods of a workload or namespace no sidecar, by an override
    Disable(Box<disable::DisableArgs>),
    /// Remove the override of a workload or namespace
    Remove(Box<remove::RemoveArgs>),
    /// Test policies with cases in files, without a cluster
    Test(test::TestArgs),
    /// Print the manifests for a cluster
    Install(install::InstallArgs),
    /// Prepare the removal: end suspensions, and remove finalizers and our objects
    Uninstall(uninstall::UninstallArgs),
    /// Create a certificate authority and a certificate for development
    Certs(certs::CertsArgs),
}

impl ClientCommand {
    /// Runs the command. The exit code is 0 for success, 1 if the answer is no, and 2 for a failure.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Review(args) => review::run(args).await,
            Self::Explain(args) => explain::run(args).await,
            Self::Doctor(args) => doctor::run(args).await,
            Self::Preview(args) => preview::run(args).await,
            Self::Status(args) => status::run(args).await,
            Self::Suspend(args) => suspend::run(*args).await,
            Self::Resume(args) => resume::resume(args).await,
            Self::Extend(args) => resume::extend(args).await,
            Self::Restart(args) => restart::run(*args).await,
            Self::Enable(args) => enable::run(*args).await,
            Self::Disable(args) => disable::run(*args).await,
            Self::Remove(args) => remove::run(*args).await,
            Self::Test(args) => test::run(&args),
            Self::Install(args) => install::run(&args),
            Self::Uninstall(args) => uninstall::run(args).await,
            Self::Certs(args) => certs::run(&args),
        }
    }
}

/// Writes to standard output. A reader that stops early is no failure.
fn write_out(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
