//! `outrigger resume` and `outrigger extend`: a suspension ends now, or later than it would have.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::Args;
use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::looking::{Looked, client};
use super::progress::Progress;
use super::suspend::listing::Told;
use super::suspend::refused;
use super::times::{duration, instant, told};
use crate::cli::acting::ActingArgs;
use crate::features::backend::Writing;
use crate::features::suspension::change::{Ending, Extension, Refusal, ended, extended};
use crate::features::suspension::stored::StoredSuspension;
use crate::kernel::api_error::ApiError;
use crate::kernel::text::nearest;
use crate::kernel::text::sanitized;
use crate::kubernetes::client::traffic::Routes;
use crate::kubernetes::intake::snapshot;
use crate::kubernetes::inventory::routing::Standing;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// How long the replica that leads is given to remove routing before it is removed from here.
const GRACE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(1);
/// A change that met a new status is tried again so often.
const TRIES: usize = 5;

/// Which suspension.
#[derive(Debug, Args)]
struct Which {
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

/// What to end.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    acting: ActingArgs,
}

/// What to extend, and until when.
#[derive(Debug, Args)]
pub struct ExtendArgs {
    #[command(flatten)]
    which: Which,
    /// How much longer, such as 2h30m
    #[arg(long, value_name = "DURATION", value_parser = duration, required_unless_present = "until", conflicts_with = "until")]
    by: Option<SignedDuration>,
    /// Until when, such as 2026-11-24T18:00:00Z, or 18:00 by the local clock
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    acting: ActingArgs,
}

/// Ends a suspension now.
pub async fn resume(args: ResumeArgs) -> anyhow::Result<ExitCode> {
    let ResumeArgs { which, acting } = args;
    let (looked, place, live) = which.find(&acting).await?;
    let object = live.object.clone();
    let is_to_be_written = match ended(&object, looked.now, &looked.terms) {
        // What stands of it though it is over is removed all the same.
        Err(Refusal::Conflict(why)) if object.suspends_traffic() && acting.looking.state.is_none() => {
            eprintln!("outrigger: {why}");
            false
        }
        ending => ending.map(|_| true)?,
    };
    eprintln!("{} ({}) ends now.", object.named(), sanitized(object.spec.reason.trim()));
    if !acting.dry_run && !acting.agreed("End it?")? {
        return Ok(ExitCode::FAILURE);
    }
    if is_to_be_written {
        // The answer may have taken a while, and it ends when that is given.
        let ending = |object: &SuspensionObject| ended(object, acting.looking.now(), &looked.terms);
        stored(&place, live, acting.dry_run, ending, "end").await?;
    }
    if object.suspends_traffic() && acting.looking.state.is_none() && !acting.dry_run {
        remove_what_stands(&looked, &object).await?;
    }
    let done = if acting.dry_run { "would be over; nothing is stored" } else { "is over" };
    super::write_out(&format!("{} {done}.\n", object.named()))?;
    Ok(ExitCode::SUCCESS)
}

/// Gives a suspension a later end.
pub async fn extend(args: ExtendArgs) -> anyhow::Result<ExitCode> {
    let ExtendArgs { which, by, until, acting } = args;
    let (looked, place, live) = which.find(&acting).await?;
    let extension = match (by, until) {
        (Some(by), _) => Extension::By(by),
        (None, Some(until)) => {
            Extension::Until(instant(&until, looked.now, &TimeZone::system()).map_err(|why| anyhow!(why))?)
        }
        (None, None) => bail!("say how much longer with --by, or until when with --until"),
    };
    let wanted = extended(&live.object, extension, looked.now, &looked.terms)?;
    let period = wanted.period(looked.terms.longest_suspension)?;
    let end = period.ends_at.map_or_else(|| "for ever".to_owned(), told);
    let shortened = if period.is_shortened { ", which is the installation's maximum" } else { "" };
    eprintln!("{} lasts until {end}{shortened}.", wanted.named());
    if !acting.dry_run && !acting.agreed("Extend it?")? {
        return Ok(ExitCode::FAILURE);
    }
    let ending = |_: &SuspensionObject| Ok(Ending::Write(Box::new(wanted.clone())));
    let written = stored(&place, live, acting.dry_run, ending, "extend").await?.unwrap_or(wanted);
    let told = Told::of(&written, Some(period), looked.now);
    let done = if acting.dry_run { "would last longer; nothing is stored" } else { "lasts longer" };
    acting.output.print(&told, |_| format!("{} {done}.\n", written.named()))?;
    Ok(ExitCode::SUCCESS)
}

/// What is stored once it is done. A status that is written meanwhile is nothing; what somebody else asks for is not undone.
async fn stored(
    place: &Writing,
    mut live: StoredSuspension,
    dry_run: bool,
    change: impl Fn(&SuspensionObject) -> Result<Ending, Refusal>,
    what: &str,
) -> anyhow::Result<Option<SuspensionObject>> {
    let mut tries = 0;
    loop {
        tries += 1;
        let object = live.object.clone();
        let written = match change(&object)? {
            Ending::Delete => place.delete(&live, dry_run).await.map(|()| None),
            Ending::Write(wanted) => place.replace(&live, &wanted, dry_run).await.map(|live| Some(live.object)),
        };
        match written {
            Err(ApiError::Changed(_)) if tries < TRIES => {
                let again = place.get(object.namespace.as_deref(), &object.name).await;
                live = again.map_err(|why| refused(&why, what, &object))?;
                if (&live.object.uid, live.object.generation) != (&object.uid, object.generation) {
                    bail!("somebody has changed {} meanwhile; look at it, and try again", object.named());
                }
            }
            written => return written.map_err(|why| refused(&why, what, &object)),
        }
    }
}

impl Which {
    async fn find(&self, acting: &ActingArgs) -> anyhow::Result<(Looked, Writing, StoredSuspension)> {
        let Self { name, namespace, cluster } = self;
        let namespace = match (cluster, namespace) {
            (true, _) => None,
            (false, Some(namespace)) => Some(namespace.clone()),
            (false, None) => Some(acting.looking.default_namespace().await?),
        };
        let looked = acting.looking.look(namespace.as_deref()).await?;
        let place = acting.place(&looked).await?;
        match place.get(namespace.as_deref(), name).await {
            Ok(live) => Ok((looked, place, live)),
            Err(ApiError::NotFound(why)) => {
                let all = looked.inventory.standings.suspensions();
                let mut names =
                    all.iter().filter(|(object, _)| object.namespace == namespace).map(|(object, _)| &*object.name);
                match nearest(name, &mut names) {
                    Some(nearest) => bail!("{why}; did you mean {nearest}?"),
                    None => bail!("{why}; `outrigger suspend --list` lists those that there are"),
                }
            }
            Err(why) => bail!("cannot read it: {why}"),
        }
    }
}

/// Waits for the replica that leads, and removes what it leaves with the user's own rights, the finalizer last.
async fn remove_what_stands(looked: &Looked, object: &SuspensionObject) -> anyhow::Result<()> {
    let (client, routing) = (client().await?, &looked.inventory.routing);
    let _progress = Progress::of("waiting for the routing to be removed");
    let (uid, routes) = (object.uid.as_deref().unwrap_or_default(), Routes::new(client.clone()));
    let begun = tokio::time::Instant::now();
    let held = loop {
        let problems = snapshot::fill_made(&client, &looked.inventory, object.namespace.as_deref()).await;
        let held = routing.made_for(uid, object.namespace.as_deref());
        let is_held = routes.is_held(object).await.map_err(|why| anyhow!("cannot read {}: {why}", object.named()))?;
        // The finalizer goes last: once it is gone nothing stands, also for whoever may not look.
        if held.is_empty() && !is_held {
            return Ok(());
        }
        if begun.elapsed() > GRACE && !problems.is_empty() {
            bail!("it is ended, but {}; whether its routing is gone is not known", problems.join("; "));
        }
        if begun.elapsed() > GRACE {
            break held;
        }
        tokio::time::sleep(AGAIN).await;
    };
    for (kind, standing) in &held {
        let Standing { namespace, name, uid, .. } = standing;
        if routing.needing(*kind, standing).is_some() {
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
    let_go.map_err(|why| anyhow!("cannot take the finalizer off {}: {why}", object.named()))
}
