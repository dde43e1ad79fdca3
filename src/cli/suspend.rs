//! `outrigger suspend`: no sidecars for new pods, or no traffic to services, for a while.

pub(super) mod listing;
pub(crate) mod order;
mod summary;

use crate::cli::acting::ActingArgs;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::looking::{Looked, LookingArgs, Output};
use crate::features::suspension::change::drafted;
use crate::kernel::api_error::ApiError;
use crate::kernel::ids::fresh_id;
use crate::kubernetes::resources::suspension_object::SuspensionObject;
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

/// Why it was not done, with what grants the right where that is missing.
pub(super) fn refused(why: &ApiError, verb: &str, object: &SuspensionObject) -> anyhow::Error {
    let role = if object.namespace.is_some() { "outrigger-suspend" } else { "outrigger-suspend-cluster" };
    match why {
        ApiError::Forbidden(why) => anyhow::anyhow!("{why}; the ClusterRole {role} grants it"),
        why => anyhow::anyhow!("cannot {verb} {}: {why}", object.named()),
    }
}
