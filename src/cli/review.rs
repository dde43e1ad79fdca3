//! `outrigger review`: answers one AdmissionReview, with the code of the webhook.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;

use super::decision_args::DecisionArgs;
use crate::admission::{AuditEntryIds, Reviewer};
use crate::kernel::clock::Clock;
use crate::kubernetes::intake::files;
use crate::metrics::Metrics;

#[derive(Debug, Args)]
pub struct ReviewArgs {
    /// Directory of Kubernetes objects in YAML to read in place of the cluster [default: the built-in sample]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Time to use in place of the clock, such as 2026-11-22T20:00:00Z
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
    #[command(flatten)]
    decision_args: DecisionArgs,
}

pub async fn run(args: ReviewArgs) -> anyhow::Result<ExitCode> {
    let inventory = args.decision_args.new_inventory();
    let objects = match &args.state {
        Some(directory) => files::read_objects(directory)?,
        None => files::parse_objects(files::SAMPLE).map_err(anyhow::Error::msg).context("the built-in sample")?,
    };
    for problem in files::replace_all(&inventory, &args.decision_args.rule_limits(), &objects) {
        eprintln!("outrigger: {problem}");
    }
    let reviewer = Reviewer {
        inventory: Arc::new(inventory),
        reads: None,
        clock: args.now.map_or(Clock::System, Clock::Fixed),
        audit: None,
        metrics: Metrics::new(Counter::default()),
        entries: AuditEntryIds::for_process("review"),
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
