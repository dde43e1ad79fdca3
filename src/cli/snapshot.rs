//! Snapshot of a cluster for one command: read with the user's own rights, or from a directory in place of a cluster.
//!
//! Also the output formats that all commands share.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, Parser, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use super::decision_args::DecisionArgs;
use super::serve_args::ServeArgs;
use crate::kernel::clock::Clock;
use crate::kubernetes::client;
use crate::kubernetes::intake::{files, snapshot};
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;
use crate::kubernetes::inventory::rules::RuleLimits;

/// Source of the snapshot.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// Directory of Kubernetes objects in YAML to read in place of the cluster
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Time to use in place of the clock, such as 2026-11-22T20:00:00Z
    #[arg(long, value_name = "TIME")]
    pub now: Option<Timestamp>,
    /// Settings of deciding; in a cluster, those of the installed server unless one is given.
    #[command(flatten)]
    pub decision_args: DecisionArgs,
}

/// Format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Text for people.
    Table,
    /// JSON for programs.
    Json,
    /// YAML, the same as JSON.
    Yaml,
}

/// State of a cluster at one instant.
#[derive(Debug)]
pub struct ClusterSnapshot {
    pub inventory: Arc<Inventory>,
    pub rule_limits: RuleLimits,
    pub now: Timestamp,
    /// Objects that were left out and parts that could not be read, one sentence each.
    pub problems: Vec<String>,
}

impl ClusterSnapshot {
    /// Returns the parts of the cluster that could not be read.
    pub fn unread(&self) -> Vec<String> {
        self.inventory.unread_caches()
    }
}

impl SnapshotArgs {
    /// Returns the namespace to use where the user names none.
    pub async fn default_namespace(&self) -> anyhow::Result<String> {
        match self.state {
            Some(_) => Ok("default".to_owned()),
            None => Ok(client().await?.default_namespace().to_owned()),
        }
    }

    /// Takes a snapshot of one namespace, or of all. Prints problems on standard error too.
    pub async fn take(&self, namespace: Option<&str>) -> anyhow::Result<ClusterSnapshot> {
        let snapshot = match &self.state {
            Some(directory) => {
                let inventory = self.decision_args.new_inventory();
                let rule_limits = self.decision_args.rule_limits();
                let problems = files::replace_all(&inventory, &rule_limits, &files::read_objects(directory)?);
                ClusterSnapshot { inventory: Arc::new(inventory), rule_limits, now: self.now(), problems }
            }
            None => self.take_from_cluster(namespace).await?,
        };
        snapshot.problems.iter().for_each(|problem| eprintln!("outrigger: {problem}"));
        Ok(snapshot)
    }

    /// Takes another snapshot of the cluster, without printing its problems again.
    pub(super) async fn take_again(&self, namespace: Option<&str>) -> anyhow::Result<ClusterSnapshot> {
        self.take_from_cluster(namespace).await
    }

    async fn take_from_cluster(&self, namespace: Option<&str>) -> anyhow::Result<ClusterSnapshot> {
        let client = client().await?;
        let decision_args = self.installed_decision_args(&client).await;
        let inventory = decision_args.new_inventory();
        let rule_limits = decision_args.rule_limits();
        let problems = snapshot::fill_inventory(&client, &inventory, &rule_limits, namespace).await;
        let problems = problems.context("cannot read the cluster: give --state DIR to read a directory instead")?;
        Ok(ClusterSnapshot { inventory: Arc::new(inventory), rule_limits, now: self.now(), problems })
    }

    /// Returns the settings of the installed server, so that a command decides as the server does. Flags of the command line win.
    async fn installed_decision_args(&self, client: &kube::Client) -> DecisionArgs {
        #[derive(Parser)]
        struct Server {
            #[command(flatten)]
            serve: ServeArgs,
        }
        if has_decision_flags() {
            return self.decision_args.clone();
        }
        let arguments = snapshot::server_arguments(client, &self.decision_args.namespace).await;
        // The first argument is `serve`, in the place of a program's name.
        match arguments.map(Server::try_parse_from) {
            Some(Ok(Server { serve })) => serve.decision_args,
            Some(Err(_)) => {
                eprintln!(
                    "outrigger: the installed server has settings that this version does not know; the defaults are used"
                );
                self.decision_args.clone()
            }
            None => self.decision_args.clone(),
        }
    }

    /// Returns the kinds of workloads that the installed server knows, unless flags set the kinds.
    pub(super) async fn owner_kinds(&self, client: &kube::Client) -> OwnerKinds {
        OwnerKinds::default().with_kinds(self.installed_decision_args(client).await.owner_kinds)
    }

    /// Returns the time of `--now`, or of the clock.
    pub fn now(&self) -> Timestamp {
        self.now.map_or(Clock::System, Clock::Fixed).now()
    }
}

/// Returns whether the command line sets any setting of decisions.
fn has_decision_flags() -> bool {
    let Ok(matches) = super::Cli::command().try_get_matches() else { return false };
    let Some((_, matches)) = matches.subcommand() else { return false };
    let settings = DecisionArgs::augment_args(clap::Command::new("settings"));
    let is_set = |id: &clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    settings.get_arguments().map(clap::Arg::get_id).any(is_set)
}

/// Connects to the API server with the user's own rights.
pub(super) async fn client() -> anyhow::Result<kube::Client> {
    client::client().await.context("cannot find a cluster: give --state DIR to read a directory instead")
}

impl OutputFormat {
    /// Prints a value; `table` formats it for people.
    pub fn print<T: Serialize>(self, value: &T, table: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let text = match self {
            Self::Table => table(value),
            Self::Json => serde_json::to_string_pretty(value)? + "\n",
            Self::Yaml => serde_saphyr::to_string(&serde_json::to_value(value)?)?,
        };
        super::write_out(&text)
    }

    /// Returns the separator between several outputs.
    pub fn separator(self) -> &'static str {
        match self {
            Self::Table => "\n",
            Self::Json => "",
            Self::Yaml => "---\n",
        }
    }
}

/// Formats rows in columns under their titles. The last column has no limit of width.
pub fn format_columns<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    let titles = titles.map(str::to_owned);
    let all = || std::iter::once(&titles).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    all().map(line).collect()
}
