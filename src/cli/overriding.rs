//! What `enable`, `disable` and `remove` have in common: whom they are about, the summary before, the writing, and what is
//! told of it.

mod restarting;
mod summary;
mod told;
mod whom;

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::Args;
use futures::StreamExt;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::looking::{Looked, client};
use super::progress::Progress;
use super::restart::PacingArgs;
use super::restart::running::exit_code;
use super::times::{duration, instant};
use crate::cli::acting::ActingArgs;
use crate::features::overrides::change::{Asked, Change, Choice, Place, Refusal};
use crate::features::overrides::plan::{Planned, plan};
use crate::features::overrides::subject::Subject;
use crate::features::restart::telling::Report;
use crate::features::restart::workload::Name;
use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::overrides::{How, Overrides, Unwritten, Wrote};
use restarting::Whom;
use told::{Came, Told};
pub(super) use whom::WhomArgs;

/// So many objects are written at once.
const PARALLEL: usize = 6;

/// Why, and until when.
#[derive(Debug, Default, Args)]
pub(super) struct TermArgs {
    /// Why, for whoever meets it; some policies want a reason
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["template", "label"])]
    reason: Option<String>,
    /// How long, such as 2h30m, 90s or 3d; then policies and the namespace decide again
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, conflicts_with_all = ["until", "template", "label"])]
    lasts: Option<SignedDuration>,
    /// Until when, such as 2026-11-24T18:00:00Z, 2026-11-24T18:00+01:00[Europe/Berlin], or 18:00 by the local clock
    #[arg(long, value_name = "TIME", conflicts_with_all = ["template", "label"])]
    until: Option<String>,
}

/// Where it is written, and how.
#[derive(Debug, Args)]
pub(super) struct WritingArgs {
    /// Write the mesh's own marker into the pod template, as Kiali does, which starts a roll-out and is undone by GitOps
    #[arg(long, conflicts_with = "label")]
    pub(super) template: bool,
    /// Write the label of the namespace that Istio itself reads: istio-injection, or istio.io/rev
    #[arg(long)]
    label: bool,
    /// With --label: where the other of those two labels stands, take it away
    #[arg(long, requires = "label")]
    both_labels: bool,
    /// Take over what others hold, as managedFields tell
    #[arg(long)]
    force_conflicts: bool,
    #[command(flatten)]
    acting: ActingArgs,
}

/// One of the three commands, as it was typed.
pub(super) struct Overriding {
    pub(super) change: Change,
    pub(super) whom: WhomArgs,
    pub(super) terms: TermArgs,
    pub(super) revision: Option<String>,
    /// How to restart whom the change leaves with other pods than new ones; nobody is otherwise.
    pub(super) restarting: Option<PacingArgs>,
    pub(super) writing: WritingArgs,
}

impl Overriding {
    /// Runs it.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { change, whom, terms, revision, restarting, writing } = self;
        let WritingArgs { template, label, both_labels, force_conflicts, acting } = writing;
        let place = match (template, label) {
            (true, _) => Place::PodTemplate,
            (false, true) => Place::NamespaceLabel(Choice { revision, both: both_labels }),
            (false, false) => Place::Annotations,
        };
        let now = acting.looking.now();
        let asked = Asked::new(change, place, terms.reason.clone(), terms.end(now)?, now)?;
        let scope = whom.scope(&acting).await?;
        let looked = {
            let _progress = Progress::of("reading the cluster");
            acting.looking.look(scope.as_deref()).await?
        };
        let subjects = whom.subjects(&looked, scope.as_deref())?;
        let planned = plan(&looked.inventory, &asked, subjects, now).map_err(with_flag)?;
        summary::lines(&asked, &planned, &looked.inventory).iter().for_each(|line| eprintln!("{line}"));
        if restarting.is_some() {
            Whom::of(change, planned.iter()).lines().iter().for_each(|line| eprintln!("{line}"));
        }
        let Some(came) = carried_out(&asked, &planned, &acting, force_conflicts).await? else {
            return Ok(ExitCode::FAILURE);
        };
        came.iter().zip(&planned).for_each(|(came, one)| tell_failure(came, one));
        let followed = match restarting {
            Some(pacing) => {
                let whom = Whom::of(change, restarting::written(&planned, &came));
                let is_named = planned.iter().all(|one| matches!(one.subject, Subject::Workload(_)));
                followed(&looked, whom, is_named, &pacing, &acting).await
            }
            None => Followed::default(),
        };
        let followed = followed.looked_after(&acting, scope.as_deref()).await;
        finish(&looked, &asked, planned, came, followed, &acting)
    }
}

impl TermArgs {
    fn end(&self, now: Timestamp) -> anyhow::Result<Option<Timestamp>> {
        match (self.lasts, &self.until) {
            (Some(lasts), _) => Ok(Some(now.checked_add(lasts).unwrap_or(Timestamp::MAX))),
            (None, Some(until)) => instant(until, now, &TimeZone::system()).map(Some).map_err(|why| anyhow!(why)),
            (None, None) => Ok(None),
        }
    }
}

/// A refusal, with the flag that lifts it.
fn with_flag(refusal: Refusal) -> anyhow::Error {
    match refusal {
        Refusal::Invalid(why) => anyhow!(why),
        Refusal::Undoes(why) => anyhow!("{why}: --both-labels says so"),
    }
}

/// What came of each, in order; nothing where whoever was asked does not want it.
async fn carried_out(
    asked: &Asked,
    planned: &[Planned],
    acting: &ActingArgs,
    takes_over: bool,
) -> anyhow::Result<Option<Vec<Came>>> {
    let dry_run = acting.dry_run;
    if acting.looking.state.is_some() {
        if dry_run {
            return Ok(Some(planned.iter().map(|_| Came::Wrote(Wrote::Changed)).collect()));
        }
        let by_hand = planned.first().map(Planned::by_hand).unwrap_or_default();
        bail!("the files of a directory are changed by whoever keeps them: {by_hand}; --dry-run tells what follows");
    }
    let question = if asked.change == Change::Remove { "Take it away?" } else { "Write it?" };
    if !dry_run && !acting.agreed(question)? {
        return Ok(None);
    }
    let overrides = Overrides::new(client().await?);
    let progress = Progress::of_steps("writing", planned.len());
    let write = |one: &Planned| {
        let (overrides, edit, progress) = (overrides.clone(), one.edit.clone(), &progress);
        async move {
            let written = overrides.write(&edit, How { takes_over, dry_run }).await;
            progress.step();
            written.map_or_else(
                |why| Came::Failed(refused(&why, &edit.object.resource())),
                |written| Came::Wrote(written.wrote),
            )
        }
    };
    let writes: Vec<_> = planned.iter().map(write).collect();
    Ok(Some(futures::stream::iter(writes).buffered(PARALLEL).collect().await))
}

/// Why it was not written, with what would help.
fn refused(why: &Unwritten, resource: &str) -> String {
    match why {
        Unwritten::Held(_) => format!("{why}; change it there, or take it over with --force-conflicts"),
        Unwritten::Refused(ApiError::Forbidden(why)) => {
            format!("{why}; it takes the rights to get and patch {resource}")
        }
        Unwritten::Departed(_) | Unwritten::Refused(_) => why.to_string(),
    }
}

fn tell_failure(came: &Came, one: &Planned) {
    if let Came::Failed(why) = came {
        eprintln!("outrigger: {}: not written: {why}", one.subject.named());
    }
}

/// What came of the restart that follows.
#[derive(Default)]
struct Followed {
    report: Option<Report>,
    /// It cannot be told whether these have to be restarted.
    left: Vec<Name>,
    /// After the restart some pods of these still are not as new ones would be.
    still: Vec<Name>,
    code: ExitCode,
}

impl Followed {
    /// Looks whether new pods got what was asked for.
    async fn looked_after(mut self, acting: &ActingArgs, scope: Option<&str>) -> Self {
        let Some(report) = &self.report else { return self };
        let again = {
            let _progress = Progress::of("reading the cluster again");
            acting.looking.look_again(scope).await
        };
        match again {
            Ok(looked) => {
                let restarting::Found { differing, untold } = restarting::found_after(&looked, report);
                self.still = differing;
                if !untold.is_empty() {
                    let named = restarting::named(&untold);
                    eprintln!("outrigger: it cannot be told whether new pods of these got what was asked for: {named}");
                }
            }
            Err(why) => eprintln!("outrigger: it cannot be told whether new pods got what was asked for: {why:#}"),
        }
        if !self.still.is_empty() {
            let named = restarting::named(&self.still);
            eprintln!("outrigger: after the restart some pods still are not as new ones would be: {named}");
            eprintln!(
                "outrigger: `outrigger doctor` tells what stands in the way, `outrigger restart --drifted` tries again"
            );
            if self.code == ExitCode::SUCCESS {
                self.code = ExitCode::FAILURE;
            }
        }
        self
    }
}

async fn followed(looked: &Looked, whom: Whom, is_named: bool, pacing: &PacingArgs, acting: &ActingArgs) -> Followed {
    let report = if acting.dry_run { Ok(None) } else { restarting::restarted(looked, &whom, pacing).await };
    let left: Vec<_> = whom.left.into_iter().collect();
    if !left.is_empty() {
        let unread = looked.unread();
        let why = if unread.is_empty() { String::new() } else { format!(", without {}", unread.join(", ")) };
        let named = restarting::named(&left);
        eprintln!("outrigger: not restarted, since it cannot be told whether they have to be{why}: {named}");
    }
    let code = match &report {
        Ok(_) if !left.is_empty() => ExitCode::from(2),
        // Of a namespace nobody has named what is in it, such as a CronJob, whose next Job gets new pods by itself.
        Ok(report) => report.as_ref().map_or(ExitCode::SUCCESS, |report| exit_code(report, is_named)),
        Err(why) => {
            eprintln!("outrigger: {why:#}");
            ExitCode::from(2)
        }
    };
    Followed { report: report.unwrap_or_default(), left, still: Vec::new(), code }
}

fn finish(
    looked: &Looked,
    asked: &Asked,
    planned: Vec<Planned>,
    came: Vec<Came>,
    followed: Followed,
    acting: &ActingArgs,
) -> anyhow::Result<ExitCode> {
    let has_failed = came.iter().any(|came| matches!(came, Came::Failed(_)));
    let is_hindered = planned.iter().any(|one| one.own.hindrance.is_some());
    let code = followed.code;
    let told = Told::of(asked, acting.dry_run, planned, came, followed, looked.unread());
    acting.output.print(&told, told::table)?;
    Ok(match (has_failed, is_hindered) {
        (true, _) => ExitCode::from(2),
        (false, true) if code == ExitCode::SUCCESS => ExitCode::FAILURE,
        (false, _) => code,
    })
}
