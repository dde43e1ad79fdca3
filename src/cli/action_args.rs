//! Arguments of commands that change something, and the prompt before the change.

use crate::cli::progress::ProgressDisplay;
use crate::cli::snapshot::{ClusterSnapshot, OutputFormat, SnapshotArgs, client};
use crate::features::suspension::prepare::SuspensionWorld;
use crate::features::suspension::store::SuspensionStore;
use crate::kernel::clock::Clock;
use crate::kubernetes::client::suspensions::ClusterSuspensions;
use crate::kubernetes::intake::files::store::FileStore;
use crate::kubernetes::intake::snapshot;
use anyhow::{Context, bail};
use clap::Args;
use std::io::{BufRead, IsTerminal};
use std::sync::Arc;

/// Arguments of every command that changes suspensions or overrides.
#[derive(Debug, Args)]
pub(crate) struct ActionArgs {
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub(super) yes: bool,
    /// Show what would be done, check the rights for it, and store nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    pub(super) output: OutputFormat,
    #[command(flatten)]
    pub(super) snapshot_args: SnapshotArgs,
}

impl ActionArgs {
    /// Returns the namespace of a suspension; `None` for one of the cluster.
    pub(super) async fn namespace(&self, cluster: bool, namespace: Option<&str>) -> anyhow::Result<Option<String>> {
        Ok(match (cluster, namespace) {
            (true, _) => None,
            (false, Some(namespace)) => Some(namespace.to_owned()),
            (false, None) => Some(self.snapshot_args.default_namespace().await?),
        })
    }

    /// Reads the state that a new suspension depends on, with the routing if `with_routing` is set.
    pub(super) async fn read_state(
        &self,
        namespace: Option<&str>,
        with_routing: bool,
    ) -> anyhow::Result<ClusterSnapshot> {
        let snapshot = {
            let _progress = ProgressDisplay::spinner("reading the cluster");
            self.snapshot_args.take(namespace).await?
        };
        if with_routing && self.snapshot_args.state.is_none() {
            let problems = snapshot::fill_routing(&client().await?, &snapshot.inventory).await;
            problems.iter().for_each(|problem| eprintln!("outrigger: {problem}"));
        }
        Ok(snapshot)
    }

    /// Returns the clock of the command: the machine's, or the time of `--now`.
    pub(super) fn clock(&self) -> Clock {
        self.snapshot_args.now.map_or(Clock::System, Clock::Fixed)
    }

    /// Opens the suspensions: in the cluster with the user's own rights, or in the directory of the snapshot.
    pub(super) async fn suspension_store(&self, snapshot: &ClusterSnapshot) -> anyhow::Result<SuspensionStore> {
        let Some(directory) = &self.snapshot_args.state else {
            return Ok(SuspensionStore::Cluster(ClusterSuspensions::new(client().await?)));
        };
        let (directory, inventory) = (Some(directory.clone()), Arc::clone(&snapshot.inventory));
        Ok(SuspensionStore::Files(FileStore::new(directory, inventory, snapshot.rule_limits, self.clock())))
    }

    /// Asks for confirmation, unless `--yes` was given.
    pub(super) fn confirm(&self, question: &str) -> anyhow::Result<bool> {
        confirm(self.yes, question)
    }
}

/// Returns what plans and effects of suspensions depend on.
pub(super) fn suspension_world(snapshot: &ClusterSnapshot) -> SuspensionWorld<'_> {
    SuspensionWorld { inventory: &snapshot.inventory, limits: snapshot.rule_limits, now: snapshot.now }
}

/// Asks a question and returns whether the answer is yes; returns true without asking if `already` is set.
pub(crate) fn confirm(already: bool, question: &str) -> anyhow::Result<bool> {
    if already {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        bail!("stdin is not a terminal: pass --yes to confirm");
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
