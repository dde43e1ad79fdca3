//! `outrigger uninstall`: removes the parts that must go in order, before `kubectl delete` removes the rest.

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::Args;

use super::progress::ProgressDisplay;
use super::snapshot::client;
use crate::cli::action_args::confirm;
use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::removal::{remove_server, remove_webhook};
use crate::kubernetes::client::traffic::RouteWriter;
use crate::kubernetes::intake::snapshot;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::routing::RoutingObject;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// End of the message about an unfinished uninstallation.
const RETRY_ADVICE: &str = "what was done until then stays done, try again";

#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Do not ask
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
        "The webhook configuration and the Deployment are removed; pods are then created as namespaces and they themselves say."
    );
    eprintln!("{} suspensions of traffic are ended, and their routing is removed.", held.len());
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
    for (kind, object) in inventory.routing.suspension_objects() {
        let RoutingObject { namespace, name, uid, .. } = &object;
        if inventory.routing.foreign_route_needing(kind, &object).is_some() {
            bail!(
                "{} {namespace}/{name} stays: the VirtualService of its name is somebody else's by now, and needs its subsets; see to that first, and try again",
                kind.as_str()
            );
        }
        eprintln!("removing {} {namespace}/{name}", kind.as_str());
        routes.remove(kind, namespace, name, uid.as_deref()).await.map_err(failed("remove routing"))?;
    }
    for suspension in held {
        routes.set_finalizer(&suspension, false).await.map_err(failed("take a finalizer off"))?;
    }
    let rest = format!(
        "outrigger install --own-namespace {} | kubectl delete --ignore-not-found -f -",
        decision_args.namespace
    );
    super::write_out(&format!(
        "Nothing is in force any more. What is left, with every policy and suspension, goes with:\n\n    {rest}\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the routing of suspensions into the inventory, and returns the suspensions that wait for its removal.
async fn load_held_suspensions(client: &kube::Client, inventory: &Inventory) -> anyhow::Result<Vec<SuspensionObject>> {
    let problems = snapshot::fill_suspension_objects(client, inventory, None).await;
    if !problems.is_empty() {
        bail!("{}; whether traffic is still suspended is not known", problems.join("; "));
    }
    snapshot::suspensions_with_finalizer(client).await.map_err(|why| anyhow!(why))
}
