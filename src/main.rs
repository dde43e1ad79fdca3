//! The `outrigger` binary: parse the command line, run the command, turn its answer into an exit code.

use std::process::ExitCode;

use clap::Parser;
use outrigger::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.run().await.unwrap_or_else(|error| {
        eprintln!("outrigger: {error:#}");
        ExitCode::from(2)
    })
}
