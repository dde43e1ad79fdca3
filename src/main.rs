//! The `outrigger` binary: parse the command line, run the command, turn its answer into an exit code.

use std::process::ExitCode;

use clap::Parser;
use outrigger::cli::Cli;
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let answer = Runtime::new().map_err(Into::into).and_then(|runtime| {
        let answer = runtime.block_on(cli.run());
        // A write that hangs, such as one to a full pipe, must not keep the process from ending.
        runtime.shutdown_background();
        answer
    });
    answer.unwrap_or_else(|error| {
        eprintln!("outrigger: {error:#}");
        ExitCode::from(2)
    })
}
