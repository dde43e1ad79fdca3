//! `outrigger suspend`: no sidecars for new pods, or no traffic to services, for a while.

pub(super) mod listing;
mod order;
mod summary;
pub(super) mod times;

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::Value;

use super::looking::{Looked, LookingArgs, Output, client};
use super::progress::Progress;
use crate::audit::act::fresh_id;
use crate::backend::Writing;
use crate::clock::Clock;
use crate::cluster::snapshot;
use crate::cluster::suspensions::Suspensions;
use crate::files::store::Store;
use crate::resources::suspension_object::SuspensionObject;
use crate::suspensions::change::drafted;
use crate::suspensions::live::Unstored;
use listing::Told;
use order::{InjectionArgs, OrderArgs, TrafficArgs};
use summary::Summary;

/// What to suspend, or to list.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SuspendArgs {
    #[command(subcommand)]
    what: Option<What>,
    /// List the suspensions that there are
    #[arg(long, required = true)]
    list: bool,
    /// With --list: only those of this namespace and of the cluster
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    looking: LookingArgs,
}

#[derive(Debug, Subcommand)]
enum What {
    /// New pods get no sidecar
    Injection {
        #[command(flatten)]
        of: InjectionArgs,
        #[command(flatten)]
        order: OrderArgs,
        #[command(flatten)]
        acting: ActingArgs,
    },
    /// Callers of services get an error
    Traffic {
        #[command(flatten)]
        of: TrafficArgs,
        #[command(flatten)]
        order: OrderArgs,
        #[command(flatten)]
        acting: ActingArgs,
    },
}

/// How to act.
#[derive(Debug, Args)]
pub(super) struct ActingArgs {
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

/// Runs the command. The answer is no where something stands in the way, or whoever was asked does not want it.
pub async fn run(args: SuspendArgs) -> anyhow::Result<ExitCode> {
    let SuspendArgs { what, list: _, namespace, output, looking } = args;
    match what {
        None => {
            let looked = looking.look(namespace.as_deref()).await?;
            listing::list(&looked, namespace.as_deref(), output)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(What::Injection { of, order, acting }) => {
            let looked = acting.look(&order, false).await?;
            let fields = of.fields(&looked.inventory.owner_kinds)?;
            suspend(fields, &order, &acting, looked).await
        }
        Some(What::Traffic { of, order, acting }) => {
            let looked = acting.look(&order, true).await?;
            suspend(of.fields(), &order, &acting, looked).await
        }
    }
}

async fn suspend(
    mut fields: serde_json::Map<String, Value>,
    order: &OrderArgs,
    acting: &ActingArgs,
    looked: Looked,
) -> anyhow::Result<ExitCode> {
    fields.extend(order.fields(looked.now)?);
    let spec = serde_json::from_value(Value::Object(fields)).context("this cannot be suspended")?;
    let namespace = match (order.cluster, &order.namespace) {
        (true, _) => None,
        (false, Some(namespace)) => Some(namespace.clone()),
        (false, None) => Some(acting.looking.default_namespace().await?),
    };
    let id = fresh_id();
    let name = order.name.clone().unwrap_or_else(|| format!("suspension-{}", &id[..8]));
    let draft = drafted(namespace, name, spec, id, looked.now, &looked.terms)?;
    let Summary { lines, obstacles } = Summary::of(&looked, &draft);
    lines.iter().for_each(|line| eprintln!("{line}"));
    if !obstacles.is_empty() {
        obstacles.iter().for_each(|obstacle| eprintln!("outrigger: {obstacle}"));
        eprintln!("outrigger: nothing is suspended");
        return Ok(ExitCode::FAILURE);
    }
    if !acting.dry_run && !acting.agreed("Suspend?")? {
        return Ok(ExitCode::FAILURE);
    }
    let place = acting.place(&looked).await?;
    let made = place.create(&draft, acting.dry_run).await.map_err(|why| refused(&why, "create", &draft))?;
    let object = made.object;
    if acting.dry_run && acting.output != Output::Table {
        acting.output.print(&object.to_json(), |_| String::new())?;
        return Ok(ExitCode::SUCCESS);
    }
    let told = Told::of(&object, object.period(looked.terms.longest_suspension).ok(), looked.now);
    let verb = if acting.dry_run { "would be made; nothing is stored" } else { "is made" };
    acting.output.print(&told, |_| {
        let flag = object.namespace.as_ref().map_or("--cluster".to_owned(), |namespace| format!("-n {namespace}"));
        format!("{} {verb}. End it with: outrigger resume {} {flag}\n", object.named(), object.name)
    })?;
    Ok(ExitCode::SUCCESS)
}

impl ActingArgs {
    async fn look(&self, order: &OrderArgs, with_routing: bool) -> anyhow::Result<Looked> {
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
pub(super) fn agreed(already: bool, question: &str) -> anyhow::Result<bool> {
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

/// Why it was not done, with what grants the right where that is missing.
pub(super) fn refused(why: &Unstored, verb: &str, object: &SuspensionObject) -> anyhow::Error {
    let role = if object.namespace.is_some() { "outrigger-suspend" } else { "outrigger-suspend-cluster" };
    match why {
        Unstored::Forbidden(why) => anyhow::anyhow!("{why}; the ClusterRole {role} grants it"),
        why => anyhow::anyhow!("cannot {verb} {}: {why}", object.named()),
    }
}
