//! `outrigger resume` and `outrigger extend`: end a suspension now, or give it a later end.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::Args;
use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::progress::ProgressDisplay;
use super::snapshot::{ClusterSnapshot, client};
use super::suspend::explain_write_error;
use super::suspend::listing::SuspensionRow;
use super::times::{format_instant, parse_instant};
use crate::cli::action_args::ActionArgs;
use crate::features::backend::SuspensionStore;
use crate::features::suspension::change::{
    SuspensionChange, SuspensionExtension, SuspensionRefusal, end_suspension, extend_suspension,
};
use crate::features::suspension::stored::StoredSuspension;
use crate::kernel::api_error::ApiError;
use crate::kernel::duration::parse_duration;
use crate::kernel::text::nearest_word;
use crate::kernel::text::sanitize;
use crate::kubernetes::client::traffic::RouteWriter;
use crate::kubernetes::intake::snapshot;
use crate::kubernetes::inventory::routing::RoutingObject;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Time for the leader to remove routing; after that, the command removes it itself.
const GRACE: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Attempts of a change that conflicts with a new status.
const MAX_ATTEMPTS: usize = 5;

/// Name of an existing suspension.
#[derive(Debug, Args)]
struct SuspensionRefArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// Its namespace
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "cluster")]
    namespace: Option<String>,
    /// It is one of the cluster
    #[arg(long)]
    cluster: bool,
}

#[derive(Debug, Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    suspension: SuspensionRefArgs,
    #[command(flatten)]
    action: ActionArgs,
}

#[derive(Debug, Args)]
pub struct ExtendArgs {
    #[command(flatten)]
    which: SuspensionRefArgs,
    /// How much longer, such as 2h30m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, required_unless_present = "until", conflicts_with = "until")]
    by: Option<SignedDuration>,
    /// Until when, such as 2026-11-24T18:00:00Z, or 18:00 by the local clock
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    action: ActionArgs,
}

/// Ends a suspension now.
pub async fn resume(args: ResumeArgs) -> anyhow::Result<ExitCode> {
    let ResumeArgs { suspension: which, action } = args;
    let (snapshot, store, stored) = which.find_suspension(&action).await?;
    let object = stored.object.clone();
    let needs_write = match end_suspension(&object, snapshot.now, &snapshot.rule_limits) {
        // Routing that remains although the suspension is over is removed nevertheless.
        Err(SuspensionRefusal::Conflict(why)) if object.suspends_traffic() && action.snapshot_args.state.is_none() => {
            eprintln!("outrigger: {why}");
            false
        }
        ending => ending.map(|_| true)?,
    };
    eprintln!("{} ({}) ends now.", object.describe(), sanitize(object.spec.reason.trim()));
    if !action.dry_run && !action.confirm("End it?")? {
        return Ok(ExitCode::FAILURE);
    }
    if needs_write {
        // The prompt may have taken a while: the suspension ends when it is answered.
        let ending =
            |object: &SuspensionObject| end_suspension(object, action.snapshot_args.now(), &snapshot.rule_limits);
        store_change(&store, stored, action.dry_run, ending, "end").await?;
    }
    if object.suspends_traffic() && action.snapshot_args.state.is_none() && !action.dry_run {
        remove_remaining_routing(&snapshot, &object).await?;
    }
    let done = if action.dry_run { "would be over; nothing is stored" } else { "is over" };
    super::write_out(&format!("{} {done}.\n", object.describe()))?;
    Ok(ExitCode::SUCCESS)
}

/// Gives a suspension a later end.
pub async fn extend(args: ExtendArgs) -> anyhow::Result<ExitCode> {
    let ExtendArgs { which, by, until, action } = args;
    let (snapshot, store, stored) = which.find_suspension(&action).await?;
    let extension = match (by, until) {
        (Some(by), _) => SuspensionExtension::By(by),
        (None, Some(until)) => SuspensionExtension::Until(
            parse_instant(&until, snapshot.now, &TimeZone::system()).map_err(|why| anyhow!(why))?,
        ),
        (None, None) => bail!("say how much longer with --by, or until when with --until"),
    };
    let extended = extend_suspension(&stored.object, extension, snapshot.now, &snapshot.rule_limits)?;
    let period = extended.period(snapshot.rule_limits.longest_suspension)?;
    let end = period.ends_at.map_or_else(|| "for ever".to_owned(), format_instant);
    let shortened = if period.is_shortened { ", which is the installation's maximum" } else { "" };
    eprintln!("{} lasts until {end}{shortened}.", extended.describe());
    if !action.dry_run && !action.confirm("Extend it?")? {
        return Ok(ExitCode::FAILURE);
    }
    let ending = |_: &SuspensionObject| Ok(SuspensionChange::Write(Box::new(extended.clone())));
    let written = store_change(&store, stored, action.dry_run, ending, "extend").await?.unwrap_or(extended);
    let row = SuspensionRow::new(&written, Some(period), snapshot.now);
    let done = if action.dry_run { "would last longer; nothing is stored" } else { "lasts longer" };
    action.output.print(&row, |_| format!("{} {done}.\n", written.describe()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a change, and returns the stored suspension. Retries if only the status has changed meanwhile; fails if somebody has
/// changed the spec.
async fn store_change(
    store: &SuspensionStore,
    mut stored: StoredSuspension,
    dry_run: bool,
    change: impl Fn(&SuspensionObject) -> Result<SuspensionChange, SuspensionRefusal>,
    verb: &str,
) -> anyhow::Result<Option<SuspensionObject>> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let object = stored.object.clone();
        let written = match change(&object)? {
            SuspensionChange::Delete => store.delete(&stored, dry_run).await.map(|()| None),
            SuspensionChange::Write(changed) => {
                store.replace(&stored, &changed, dry_run).await.map(|stored| Some(stored.object))
            }
        };
        match written {
            Err(ApiError::Changed(_)) if attempts < MAX_ATTEMPTS => {
                let again = store.get(object.namespace.as_deref(), &object.name).await;
                stored = again.map_err(|why| explain_write_error(&why, verb, &object))?;
                if (&stored.object.uid, stored.object.generation) != (&object.uid, object.generation) {
                    bail!("somebody has changed {} meanwhile; look at it, and try again", object.describe());
                }
            }
            written => return written.map_err(|why| explain_write_error(&why, verb, &object)),
        }
    }
}

impl SuspensionRefArgs {
    async fn find_suspension(
        &self,
        action: &ActionArgs,
    ) -> anyhow::Result<(ClusterSnapshot, SuspensionStore, StoredSuspension)> {
        let Self { name, namespace, cluster } = self;
        let namespace = match (cluster, namespace) {
            (true, _) => None,
            (false, Some(namespace)) => Some(namespace.clone()),
            (false, None) => Some(action.snapshot_args.default_namespace().await?),
        };
        let snapshot = action.snapshot_args.take(namespace.as_deref()).await?;
        let store = action.suspension_store(&snapshot).await?;
        match store.get(namespace.as_deref(), name).await {
            Ok(stored) => Ok((snapshot, store, stored)),
            Err(ApiError::NotFound(why)) => {
                let all = snapshot.inventory.rule_records.suspensions();
                let mut names =
                    all.iter().filter(|(object, _)| object.namespace == namespace).map(|(object, _)| &*object.name);
                match nearest_word(name, &mut names) {
                    Some(nearest) => bail!("{why}; did you mean {nearest}?"),
                    None => bail!("{why}; `outrigger suspend --list` lists those that there are"),
                }
            }
            Err(why) => bail!("cannot read it: {why}"),
        }
    }
}

/// Waits for the leader to remove the routing, then removes the rest with the user's own rights, the finalizer last.
async fn remove_remaining_routing(snapshot: &ClusterSnapshot, object: &SuspensionObject) -> anyhow::Result<()> {
    let (client, routing) = (client().await?, &snapshot.inventory.routing);
    let _progress = ProgressDisplay::spinner("waiting for the routing to be removed");
    let (uid, routes) = (object.uid.as_deref().unwrap_or_default(), RouteWriter::new(client.clone()));
    let begun = tokio::time::Instant::now();
    let remaining = loop {
        let problems =
            snapshot::fill_suspension_objects(&client, &snapshot.inventory, object.namespace.as_deref()).await;
        let remaining = routing.objects_of_suspension(uid, object.namespace.as_deref());
        let is_held =
            routes.has_finalizer(object).await.map_err(|why| anyhow!("cannot read {}: {why}", object.describe()))?;
        // The finalizer goes last: once it is gone, no routing is left, even if the user may not list routing.
        if remaining.is_empty() && !is_held {
            return Ok(());
        }
        if begun.elapsed() > GRACE && !problems.is_empty() {
            bail!("it is ended, but {}; whether its routing is gone is not known", problems.join("; "));
        }
        if begun.elapsed() > GRACE {
            break remaining;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    };
    for (kind, object) in &remaining {
        let RoutingObject { namespace, name, uid, .. } = object;
        if routing.foreign_route_needing(*kind, object).is_some() {
            bail!(
                "{} {namespace}/{name} stays: the VirtualService of its name is somebody else's by now, and needs its subsets; see to that first",
                kind.as_str()
            );
        }
        eprintln!("removing {} {namespace}/{name}, which nobody else has", kind.as_str());
        let removed = routes.remove(*kind, namespace, name, uid.as_deref()).await;
        removed.map_err(|why| anyhow!("cannot remove {} {namespace}/{name}: {why}", kind.as_str()))?;
    }
    let let_go = routes.set_finalizer(object, false).await;
    let_go.map_err(|why| anyhow!("cannot take the finalizer off {}: {why}", object.describe()))
}
