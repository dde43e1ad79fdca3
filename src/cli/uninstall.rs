//! `outrigger uninstall`: what has to go in order, before `kubectl delete` takes the rest.

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::Args;

use super::looking::client;
use super::progress::Progress;
use crate::cli::acting::agreed;
use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::removal::{remove_server, remove_webhook};
use crate::kubernetes::client::traffic::Routes;
use crate::kubernetes::intake::snapshot;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::routing::Standing;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// What is said where it could not be finished.
const AGAIN: &str = "what was done until then stays done, try again";

/// How to uninstall.
#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    deciding: super::deciding::DecidingArgs,
}

/// Runs the command: the webhook first, so that no pod waits; then the server, so that it makes nothing anew; then all routing
/// of suspended traffic, and the finalizers that wait for that.
pub async fn run(args: UninstallArgs) -> anyhow::Result<ExitCode> {
    let UninstallArgs { yes, deciding } = args;
    let client = client().await?;
    let inventory = deciding.inventory();
    // Whoever may not see all of it is told before anything is done.
    let held = standing(&client, &inventory).await?;
    eprintln!(
        "The webhook configuration and the Deployment are removed; pods are then created as namespaces and they themselves say."
    );
    eprintln!("{} suspensions of traffic are ended, and their routing is removed.", held.len());
    if !agreed(yes, "Uninstall?")? {
        return Ok(ExitCode::FAILURE);
    }
    let failed = |what: &'static str| move |why: ApiError| anyhow!("cannot {what}: {why}; {AGAIN}");
    {
        let _progress = Progress::of("waiting for the server to end");
        remove_webhook(&client).await.map_err(failed("remove the webhook configuration"))?;
        remove_server(&client, &deciding.namespace).await.map_err(failed("remove the server"))?;
    }
    // Once more, when nobody writes any more: what has begun since is in force too.
    let held = standing(&client, &inventory).await.map_err(|why| anyhow!("{why}; {AGAIN}"))?;
    let routes = Routes::new(client);
    for (kind, standing) in inventory.routing.made() {
        let Standing { namespace, name, uid, .. } = &standing;
        if inventory.routing.needing(kind, &standing).is_some() {
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
    let rest =
        format!("outrigger install --own-namespace {} | kubectl delete --ignore-not-found -f -", deciding.namespace);
    super::write_out(&format!(
        "Nothing is in force any more. What is left, with every policy and suspension, goes with:\n\n    {rest}\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// The suspensions that wait for their routing to be gone; the inventory then knows what stands of that.
async fn standing(client: &kube::Client, inventory: &Inventory) -> anyhow::Result<Vec<SuspensionObject>> {
    let problems = snapshot::fill_made(client, inventory, None).await;
    if !problems.is_empty() {
        bail!("{}; whether traffic is still suspended is not known", problems.join("; "));
    }
    snapshot::held_suspensions(client).await.map_err(|why| anyhow!(why))
}
