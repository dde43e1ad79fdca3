//! What the commands look at: a cluster with the user's own rights, or a directory that stands in for it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, Parser, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use super::deciding::DecidingArgs;
use crate::kernel::clock::Clock;
use crate::kubernetes::client;
use crate::kubernetes::intake::files;
use crate::kubernetes::intake::snapshot;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;
use crate::kubernetes::inventory::rules::Terms;

/// What to look at.
#[derive(Debug, Args)]
pub struct LookingArgs {
    /// A directory of Kubernetes objects in YAML that stands in for the cluster
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// The time that stands in for the clock, such as 2026-11-22T20:00:00Z
    #[arg(long, value_name = "TIME")]
    pub now: Option<Timestamp>,
    /// Settings of deciding; in a cluster, those of the installed server unless one is given.
    #[command(flatten)]
    pub deciding: DecidingArgs,
}

impl Looked {
    /// The parts that could not be read.
    pub fn unread(&self) -> Vec<String> {
        self.inventory.unread()
    }
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs that people read.
    Yaml,
}

/// What was found.
#[derive(Debug)]
pub struct Looked {
    /// Everything that decisions need.
    pub inventory: Arc<Inventory>,
    /// How rules are read.
    pub terms: Terms,
    /// The time.
    pub now: Timestamp,
    /// What was left out or could not be read, a sentence each.
    pub problems: Vec<String>,
}

impl LookingArgs {
    /// The namespace that is meant where none is named.
    pub async fn default_namespace(&self) -> anyhow::Result<String> {
        match self.state {
            Some(_) => Ok("default".to_owned()),
            None => Ok(client().await?.default_namespace().to_owned()),
        }
    }

    /// Looks, at one namespace if one is given; what is wrong is also told on standard error.
    pub async fn look(&self, namespace: Option<&str>) -> anyhow::Result<Looked> {
        let looked = match &self.state {
            Some(directory) => {
                let inventory = self.deciding.inventory();
                let terms = self.deciding.terms();
                let problems = files::fill(&inventory, &terms, &files::objects_in(directory)?);
                Looked { inventory: Arc::new(inventory), terms, now: self.now(), problems }
            }
            None => self.look_at_cluster(namespace).await?,
        };
        looked.problems.iter().for_each(|problem| eprintln!("outrigger: {problem}"));
        Ok(looked)
    }

    /// Looks once more at the cluster, without telling once more what is wrong.
    pub(super) async fn look_again(&self, namespace: Option<&str>) -> anyhow::Result<Looked> {
        self.look_at_cluster(namespace).await
    }

    async fn look_at_cluster(&self, namespace: Option<&str>) -> anyhow::Result<Looked> {
        let client = client().await?;
        let deciding = self.deciding_as_installed(&client).await;
        let inventory = deciding.inventory();
        let terms = deciding.terms();
        let problems = snapshot::fill(&client, &inventory, &terms, namespace).await;
        let problems = problems.context("cannot read the cluster; --state DIR does without one")?;
        Ok(Looked { inventory: Arc::new(inventory), terms, now: self.now(), problems })
    }

    /// The settings of the server that is installed, so that a command says what it would say; or those of the command line.
    async fn deciding_as_installed(&self, client: &kube::Client) -> DecidingArgs {
        #[derive(Parser)]
        struct Server {
            #[command(flatten)]
            serve: crate::serve::ServeArgs,
        }
        if told_on_command_line() {
            return self.deciding.clone();
        }
        let arguments = snapshot::server_arguments(client, &self.deciding.namespace).await;
        // The first argument is `serve`, in the place of a program's name.
        match arguments.map(Server::try_parse_from) {
            Some(Ok(Server { serve })) => serve.deciding,
            Some(Err(_)) => {
                eprintln!(
                    "outrigger: the installed server has settings that this version does not know; deciding with the defaults"
                );
                self.deciding.clone()
            }
            None => self.deciding.clone(),
        }
    }

    /// The kinds of workloads, as the installed server knows them unless a setting is given.
    pub(super) async fn owner_kinds(&self, client: &kube::Client) -> OwnerKinds {
        OwnerKinds::default().and(self.deciding_as_installed(client).await.owner_kinds)
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.now.map_or(Clock::System, Clock::Fixed).now()
    }
}

/// Whether any setting of deciding stands on the command line.
fn told_on_command_line() -> bool {
    let Ok(matches) = super::Cli::command().try_get_matches() else { return false };
    let Some((_, matches)) = matches.subcommand() else { return false };
    let settings = DecidingArgs::augment_args(clap::Command::new("settings"));
    let is_told = |id: &clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    settings.get_arguments().map(clap::Arg::get_id).any(is_told)
}

/// A client with the user's own rights.
pub(super) async fn client() -> anyhow::Result<kube::Client> {
    client::client().await.context("cannot find a cluster; --state DIR does without one")
}

impl Output {
    /// Prints, by `table` for people.
    pub fn print<T: Serialize>(self, value: &T, table: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let text = match self {
            Self::Table => table(value),
            Self::Json => serde_json::to_string_pretty(value)? + "\n",
            Self::Yaml => serde_saphyr::to_string(&serde_json::to_value(value)?)?,
        };
        super::write_out(&text)
    }

    /// What stands between one and the next where several are printed.
    pub fn between(self) -> &'static str {
        match self {
            Self::Table => "\n",
            Self::Json => "",
            Self::Yaml => "---\n",
        }
    }
}

/// Rows in columns, under their titles; the last column is as wide as it likes.
pub fn columns<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
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
