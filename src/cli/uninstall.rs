//! `outrigger uninstall`: what has to go in order, before `kubectl delete` takes the rest.

use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use clap::Args;

use super::looking::client;
use super::progress::Progress;
use super::suspend::agreed;
use crate::cluster::removal::{remove_server, remove_webhook};
use crate::cluster::snapshot;
use crate::cluster::traffic::Routes;
use crate::inventory::routing::Standing;
use crate::suspensions::live::Unstored;

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
    let problems =
        snapshot::fill(&client, &inventory, &deciding.terms(), None).await.context("cannot read the cluster")?;
    problems.iter().for_each(|problem| eprintln!("outrigger: {problem}"));
    let held: Vec<_> =
        inventory.standings.suspensions().into_iter().map(|(object, _)| object).filter(|one| one.is_held()).collect();
    eprintln!(
        "The webhook configuration and the Deployment are removed; pods are then created as namespaces and they themselves say."
    );
    eprintln!("{} suspensions of traffic are ended, and their routing is removed.", held.len());
    if !agreed(yes, "Uninstall?")? {
        return Ok(ExitCode::FAILURE);
    }
    let failed = |what: &'static str| {
        move |why: Unstored| anyhow!("cannot {what}: {why}; what was done until then stays done, try again")
    };
    {
        let _progress = Progress::of("waiting for the server to end");
        remove_webhook(&client).await.map_err(failed("remove the webhook configuration"))?;
        remove_server(&client, &deciding.namespace).await.map_err(failed("remove the server"))?;
    }
    // Read when nobody writes any more.
    snapshot::fill_routing(&client, &inventory).await.iter().for_each(|problem| eprintln!("outrigger: {problem}"));
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
