//! The command line: one command a file. `serve` is the composition root.

pub mod certs;
pub mod deciding;
pub mod install;
pub mod review;
mod sample;
pub mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Decides, for every new pod, whether it gets a mesh sidecar, and can always say why.
#[derive(Debug, Parser)]
#[command(name = "outrigger", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer the API server's questions about new pods
    Serve(serve::ServeArgs),
    /// Answer one AdmissionReview from standard input on standard output
    Review(review::ReviewArgs),
    /// Print everything that a cluster needs, as YAML
    Install(install::InstallArgs),
    /// Make a certificate authority and a certificate for development
    Certs(certs::CertsArgs),
}

impl Cli {
    /// Runs the command. The exit code is 0, 1 where the answer is no, and 2 where it failed.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Serve(args) => serve::run(args).await,
            Command::Review(args) => review::run(args).await,
            Command::Install(args) => install::run(&args),
            Command::Certs(args) => certs::run(&args),
        }
    }
}
