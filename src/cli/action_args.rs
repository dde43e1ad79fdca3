//! Arguments of commands that change something, and the prompt before the change.

use crate::cli::progress::ProgressDisplay;
use crate::cli::snapshot::ClusterSnapshot;
use crate::cli::snapshot::OutputFormat;
use crate::cli::snapshot::SnapshotArgs;
use crate::cli::snapshot::client;
use crate::cli::suspend::spec_args::SuspensionSpecArgs;
use crate::features::backend::SuspensionStore;
use crate::kernel::clock::Clock;
use crate::kubernetes::client::suspensions::ClusterSuspensions;
use crate::kubernetes::intake::files::store::FileStore;
use crate::kubernetes::intake::snapshot;
use anyhow::Context;
use anyhow::bail;
use clap::Args;
use std::io::BufRead;
use std::io::IsTerminal;
use std::sync::Arc;

/// Arguments of every command that changes suspensions or overrides.
#[derive(Debug, Args)]
pub(crate) struct ActionArgs {
    /// Do not ask
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Say what would be done, and whether it may be, and store nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    pub(super) output: OutputFormat,
    #[command(flatten)]
    pub(super) snapshot_args: SnapshotArgs,
}

impl ActionArgs {
    /// Reads the state that a new suspension depends on, with the routing if `with_routing` is set.
    pub(crate) async fn read_state(
        &self,
        spec_args: &SuspensionSpecArgs,
        with_routing: bool,
    ) -> anyhow::Result<ClusterSnapshot> {
        let namespace = match (spec_args.cluster, &spec_args.namespace) {
            (true, _) => None,
            (false, Some(namespace)) => Some(namespace.clone()),
            (false, None) => Some(self.snapshot_args.default_namespace().await?),
        };
        let snapshot = {
            let _progress = ProgressDisplay::spinner("reading the cluster");
            self.snapshot_args.take(namespace.as_deref()).await?
        };
        if with_routing && self.snapshot_args.state.is_none() {
            let problems = snapshot::fill_routing(&client().await?, &snapshot.inventory).await;
            problems.iter().for_each(|problem| eprintln!("outrigger: {problem}"));
        }
        Ok(snapshot)
    }

    /// Opens the suspensions: in the cluster with the user's own rights, or in the directory of the snapshot.
    pub(super) async fn suspension_store(&self, snapshot: &ClusterSnapshot) -> anyhow::Result<SuspensionStore> {
        let SnapshotArgs { state, now, .. } = &self.snapshot_args;
        let Some(directory) = state else {
            return Ok(SuspensionStore::Cluster(ClusterSuspensions::new(client().await?)));
        };
        let (inventory, clock) = (Arc::clone(&snapshot.inventory), now.map_or(Clock::System, Clock::Fixed));
        Ok(SuspensionStore::Files(FileStore::new(Some(directory.clone()), inventory, snapshot.rule_limits, clock)))
    }

    /// Asks for confirmation, unless `--yes` was given.
    pub(super) fn confirm(&self, question: &str) -> anyhow::Result<bool> {
        confirm(self.yes, question)
    }
}

/// Asks a question and returns whether the answer is yes; returns true without asking if `already` is set.
pub(crate) fn confirm(already: bool, question: &str) -> anyhow::Result<bool> {
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
