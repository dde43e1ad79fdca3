//! `outrigger review`: one AdmissionReview in, one out, by the same code as the webhook.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;

use super::deciding::DecidingArgs;
use crate::admission::{EntryNames, Reviewer};
use crate::kernel::clock::Clock;
use crate::kubernetes::intake::files;
use crate::metrics::Metrics;

/// What to review with.
#[derive(Debug, Args)]
pub struct ReviewArgs {
    /// A directory of Kubernetes objects in YAML that stands in for the cluster; the built-in sample if absent
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The time that stands in for the clock, such as 2026-11-22T20:00:00Z
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
    #[command(flatten)]
    deciding: DecidingArgs,
}

/// Runs the command.
pub async fn run(args: ReviewArgs) -> anyhow::Result<ExitCode> {
    let inventory = args.deciding.inventory();
    let objects = match &args.state {
        Some(directory) => files::objects_in(directory)?,
        None => files::objects_of(files::SAMPLE).map_err(anyhow::Error::msg).context("the built-in sample")?,
    };
    for problem in files::fill(&inventory, &args.deciding.terms(), &objects) {
        eprintln!("outrigger: {problem}");
    }
    let reviewer = Reviewer {
        inventory: Arc::new(inventory),
        reads: None,
        clock: args.now.map_or(Clock::System, Clock::Fixed),
        audit: None,
        metrics: Metrics::new(Counter::default()),
        entries: EntryNames::of_process("review"),
    };
    let mut body = Vec::new();
    std::io::stdin().read_to_end(&mut body).context("cannot read standard input")?;
    match reviewer.review(&body, false).await {
        Ok(mut answer) => {
            answer.push(b'\n');
            std::io::stdout().write_all(&answer).context("cannot write the answer")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(bad) => bail!(bad),
    }
}
