//! `outrigger resume` and `outrigger extend`: end a suspension now, or give it a later end.

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::Args;
use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::progress::ProgressDisplay;
use super::snapshot::{ClusterSnapshot, client};
use super::suspend::explain_failure;
use super::suspend::listing::SuspensionRow;
use super::times::{format_instant, parse_instant};
use crate::cli::action_args::{ActionArgs, suspension_world};
use crate::features::suspension::apply::ChangeOutcome;
use crate::features::suspension::change::SuspensionRefusal;
use crate::features::suspension::request::{ChangeRequest, SuspensionExtension};
use crate::features::suspension::store::SuspensionStore;
use crate::features::suspension::traffic::removal::await_removal;
use crate::features::suspension::warning::SuspensionWarning;
use crate::kernel::api_error::ApiError;
use crate::kernel::duration::parse_duration;
use crate::kernel::text::{nearest_word, sanitize};
use crate::kubernetes::resources::stored_suspension::StoredSuspension;

/// Name of an existing suspension.
#[derive(Debug, Args)]
struct SuspensionRefArgs {
    /// Name of the suspension
    #[arg(value_name = "NAME")]
    name: String,
    /// Namespace of the suspension
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "cluster")]
    namespace: Option<String>,
    /// Look for a cluster suspension
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
    /// Duration to add, such as 2h30m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, required_unless_present = "until", conflicts_with = "until")]
    by: Option<SignedDuration>,
    /// New end, such as 2026-11-24T18:00:00Z, or 18:00 by the local clock
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    action: ActionArgs,
}

pub async fn resume(args: ResumeArgs) -> anyhow::Result<ExitCode> {
    let ResumeArgs { suspension: which, action } = args;
    let (snapshot, store, stored) = which.find_suspension(&action).await?;
    let object = stored.object.clone();
    let may_have_routing = object.suspends_traffic() && action.snapshot_args.state.is_none();
    let plan = match suspension_world(&snapshot).prepare_change(stored, ChangeRequest::End) {
        // Routing that remains although the suspension is over is removed nevertheless.
        Err(SuspensionRefusal::Conflict(why)) if may_have_routing => {
            eprintln!("outrigger: {why}");
            None
        }
        plan => Some(plan?),
    };
    eprintln!("{} ({}) ends now.", object.describe(), sanitize(object.spec.reason.trim()));
    if !action.dry_run && !action.confirm("End it?")? {
        return Ok(ExitCode::FAILURE);
    }
    if let Some(plan) = plan {
        let applied = plan.apply(&store, &action.clock(), action.dry_run).await;
        applied.map_err(|why| explain_failure(why, "end", &object))?;
    }
    if may_have_routing && !action.dry_run {
        let _progress = ProgressDisplay::spinner("waiting for the routing to be removed");
        await_removal(&client().await?, &snapshot.inventory, &object, |line| eprintln!("{line}")).await?;
    }
    let done = if action.dry_run { "would be over; nothing is stored" } else { "is over" };
    super::write_out(&format!("{} {done}.\n", object.describe()))?;
    Ok(ExitCode::SUCCESS)
}

pub async fn extend(args: ExtendArgs) -> anyhow::Result<ExitCode> {
    let ExtendArgs { which, by, until, action } = args;
    let (snapshot, store, stored) = which.find_suspension(&action).await?;
    let extension = match (by, until) {
        (Some(by), _) => SuspensionExtension::By(by),
        (None, Some(until)) => SuspensionExtension::Until(
            parse_instant(&until, snapshot.now, &TimeZone::system()).map_err(|why| anyhow!(why))?,
        ),
        (None, None) => bail!("give a duration with --by, or an end with --until"),
    };
    let object = stored.object.clone();
    let plan = suspension_world(&snapshot).prepare_change(stored, ChangeRequest::Extend(extension))?;
    let period = plan.changed_object().period(snapshot.rule_limits.longest_suspension)?;
    let end = period.ends_at.map_or_else(|| "for ever".to_owned(), format_instant);
    eprintln!("{} lasts until {end}.", object.describe());
    if period.is_shortened {
        eprintln!("{}", SuspensionWarning::Shortened.to_sentence());
    }
    if !action.dry_run && !action.confirm("Extend it?")? {
        return Ok(ExitCode::FAILURE);
    }
    let applied = plan.apply(&store, &action.clock(), action.dry_run).await;
    let written = match applied.map_err(|why| explain_failure(why, "extend", &object))? {
        ChangeOutcome::Written(written) => *written,
        ChangeOutcome::Deleted => object,
    };
    let row = SuspensionRow::new(&written, Some(period), snapshot.now);
    let done = if action.dry_run { "would last longer; nothing is stored" } else { "lasts longer" };
    action.output.print(&row, |_| format!("{} {done}.\n", written.describe()))?;
    Ok(ExitCode::SUCCESS)
}

impl SuspensionRefArgs {
    async fn find_suspension(
        &self,
        action: &ActionArgs,
    ) -> anyhow::Result<(ClusterSnapshot, SuspensionStore, StoredSuspension)> {
        let Self { name, namespace, cluster } = self;
        let namespace = action.namespace(*cluster, namespace.as_deref()).await?;
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
                    None => bail!("{why}; `outrigger suspend --list` lists all suspensions"),
                }
            }
            Err(why) => bail!("cannot read suspension {name}: {why}"),
        }
    }
}
