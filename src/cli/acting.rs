//! The flags of every command that changes something, and the question before it.

use crate::cli::looking::Looked;
use crate::cli::looking::LookingArgs;
use crate::cli::looking::Output;
use crate::cli::looking::client;
use crate::cli::progress::Progress;
use crate::cli::suspend::order::OrderArgs;
use crate::features::backend::Writing;
use crate::kernel::clock::Clock;
use crate::kubernetes::client::suspensions::Suspensions;
use crate::kubernetes::intake::files::store::Store;
use crate::kubernetes::intake::snapshot;
use anyhow::Context;
use anyhow::bail;
use clap::Args;
use std::io::BufRead;
use std::io::IsTerminal;
use std::sync::Arc;

/// How to act.
#[derive(Debug, Args)]
pub(crate) struct ActingArgs {
    /// Do not ask
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Say what would be done, and whether it may be, and store nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) looking: LookingArgs,
}

impl ActingArgs {
    pub(crate) async fn look(&self, order: &OrderArgs, with_routing: bool) -> anyhow::Result<Looked> {
        let namespace = match (order.cluster, &order.namespace) {
            (true, _) => None,
            (false, Some(namespace)) => Some(namespace.clone()),
            (false, None) => Some(self.looking.default_namespace().await?),
        };
        let looked = {
            let _progress = Progress::of("reading the cluster");
            self.looking.look(namespace.as_deref()).await?
        };
        if with_routing && self.looking.state.is_none() {
            let problems = snapshot::fill_routing(&client().await?, &looked.inventory).await;
            problems.iter().for_each(|problem| eprintln!("outrigger: {problem}"));
        }
        Ok(looked)
    }

    /// Where suspensions are: in the cluster with the user's own rights, or in the directory that was looked at.
    pub(super) async fn place(&self, looked: &Looked) -> anyhow::Result<Writing> {
        let LookingArgs { state, now, .. } = &self.looking;
        let Some(directory) = state else { return Ok(Writing::Cluster(Suspensions::new(client().await?))) };
        let (inventory, clock) = (Arc::clone(&looked.inventory), now.map_or(Clock::System, Clock::Fixed));
        Ok(Writing::Files(Store::new(Some(directory.clone()), inventory, looked.terms, clock)))
    }

    /// Whether whoever sits there wants it.
    pub(super) fn agreed(&self, question: &str) -> anyhow::Result<bool> {
        agreed(self.yes, question)
    }
}

/// Whether whoever sits there wants it, unless they have said so already.
pub(crate) fn agreed(already: bool, question: &str) -> anyhow::Result<bool> {
    if already {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked here; say --yes to go ahead");
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
