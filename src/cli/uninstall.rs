//! `outrigger uninstall`: removes the parts that must go in order, before `kubectl delete` removes the rest.

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::Args;

use super::progress::ProgressDisplay;
use super::snapshot::client;
use crate::cli::action_args::confirm;
use crate::features::suspension::traffic::removal::{RemovalFailure, remove_finalizer, remove_objects};
use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::removal::{remove_server, remove_webhook};
use crate::kubernetes::client::traffic::RouteWriter;
use crate::kubernetes::intake::snapshot;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// End of the message about an unfinished uninstallation.
const RETRY_ADVICE: &str = "finished steps stay done, run the command again";

#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    decision_args: super::decision_args::DecisionArgs,
}

/// Runs the command. Removes the webhook first, so that no pod waits; then the server, so that nothing is created again; then all
/// routing of suspended traffic, and the finalizers that wait for its removal.
pub async fn run(args: UninstallArgs) -> anyhow::Result<ExitCode> {
    let UninstallArgs { yes, decision_args } = args;
    let client = client().await?;
    let inventory = decision_args.new_inventory();
    // A user who may not list everything learns that before anything is removed.
    let held = load_held_suspensions(&client, &inventory).await?;
    eprintln!(
        "Uninstalling removes the webhook configuration and the Deployment. New pods then follow their own markers and the labels of their namespaces."
    );
    eprintln!("Uninstalling ends {} suspensions of traffic and removes their routing.", held.len());
    if !confirm(yes, "Uninstall?")? {
        return Ok(ExitCode::FAILURE);
    }
    let failed = |what: &'static str| move |why: ApiError| anyhow!("cannot {what}: {why}; {RETRY_ADVICE}");
    {
        let _progress = ProgressDisplay::spinner("waiting for the server to end");
        remove_webhook(&client).await.map_err(failed("remove the webhook configuration"))?;
        remove_server(&client, &decision_args.namespace).await.map_err(failed("remove the server"))?;
    }
    // Read again now that no server writes: suspensions that began meanwhile are in force too.
    let held = load_held_suspensions(&client, &inventory).await.map_err(|why| anyhow!("{why}; {RETRY_ADVICE}"))?;
    let routes = RouteWriter::new(client);
    let not_removed = |why: RemovalFailure| anyhow!("{why}; {RETRY_ADVICE}");
    let objects = inventory.routing.suspension_objects();
    remove_objects(&routes, &inventory, &objects, |line| eprintln!("{line}")).await.map_err(not_removed)?;
    for suspension in held {
        remove_finalizer(&routes, &suspension).await.map_err(not_removed)?;
    }
    let rest = format!(
        "outrigger install --own-namespace {} | kubectl delete --ignore-not-found -f -",
        decision_args.namespace
    );
    super::write_out(&format!(
        "Nothing is in force any more. Delete the rest, with all policies and suspensions, by:\n\n    {rest}\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the routing of suspensions into the inventory, and returns the suspensions that wait for its removal.
async fn load_held_suspensions(client: &kube::Client, inventory: &Inventory) -> anyhow::Result<Vec<SuspensionObject>> {
    let problems = snapshot::fill_suspension_objects(client, inventory, None).await;
    if !problems.is_empty() {
        bail!("{}; traffic may still be suspended", problems.join("; "));
    }
    snapshot::suspensions_with_finalizer(client).await.map_err(|why| anyhow!(why))
}
