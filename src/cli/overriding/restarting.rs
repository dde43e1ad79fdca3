//! Whom a change leaves with other running pods than new ones would be, and their restart.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;

use super::told::Came;
use crate::cli::looking::Looked;
use crate::cli::restart::PacingArgs;
use crate::cli::restart::running::restart_named;
use crate::decision::effect::Outcome;
use crate::features::overrides::change::Change;
use crate::features::overrides::plan::Planned;
use crate::features::overrides::prospect::Prospect;
use crate::features::overrides::subject::Subject;
use crate::features::restart::telling::Report;
use crate::features::restart::workload::Name;
use crate::features::status::states::{Standing, standings};

/// How many are named.
const MOST_NAMED: usize = 10;
/// The server hears of what was written by a watch, and new pods are not to come before it has. Whether they got what was
/// asked for is looked at when they are there.
const HEARD: Duration = Duration::from_secs(1);

/// Whom a restart that follows a change is about, and whom not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Whom {
    /// These are restarted.
    pub(super) restarted: BTreeSet<Name>,
    /// Of those it cannot be told whether they have to be.
    untold: BTreeSet<Name>,
    /// Nor of these, which are not, since nobody has named them.
    pub(super) left: BTreeSet<Name>,
    /// Pods that are not as new ones, and that no known workload makes.
    pods: BTreeSet<Name>,
}

/// What is to be said of the running pods of one origin.
enum Running {
    AsNew,
    Differing,
    Untold,
}

impl Whom {
    pub(super) fn of<'p>(change: Change, planned: impl Iterator<Item = &'p Planned>) -> Self {
        let mut whom = Self::default();
        planned.for_each(|one| whom.add(change, one));
        let Self { restarted, left, .. } = &mut whom;
        left.retain(|name| !restarted.contains(name));
        whom
    }

    fn add(&mut self, change: Change, Planned { subject, own, others, edit: _ }: &Planned) {
        let is_named = matches!(subject, Subject::Workload(_));
        for one in [own].into_iter().chain(others).filter(|one| one.kind != "Namespace") {
            // Pods of a workload whose template is not read, such as one of an unknown kind, are told one by one.
            let is_bare = one.kind == "Pod" && !is_named;
            let name = name_of(if one.kind == "Pod" && is_named { own } else { one });
            match running(change, one) {
                Running::AsNew => {}
                Running::Differing | Running::Untold if is_bare => _ = self.pods.insert(name),
                Running::Differing => _ = self.restarted.insert(name),
                Running::Untold if is_named => {
                    self.untold.insert(name.clone());
                    self.restarted.insert(name);
                }
                Running::Untold => _ = self.left.insert(name),
            }
        }
    }

    /// What is told of it before.
    pub(super) fn lines(&self) -> Vec<String> {
        let Self { restarted, untold, left, pods } = self;
        let told = |lead: &str, names: &BTreeSet<Name>, end: &str| {
            (!names.is_empty()).then(|| format!("{lead} ({}): {}{end}.", names.len(), named(names)))
        };
        let lines = [
            told("Then these are restarted", restarted, ""),
            told("Of them it cannot be told whether they have to be, and they are all the same", untold, ""),
            told("Of these it cannot be told whether they have to be restarted, and they are not", left, ""),
            told("No workload is known that would make these pods again, so they stay as they are", pods, ""),
        ];
        let lines: Vec<_> = lines.into_iter().flatten().collect();
        if lines.is_empty() { vec!["Nothing has to be restarted for it.".to_owned()] } else { lines }
    }
}

/// Whoever takes an override away has not asked for a restart, so what new pods get all the same is no reason for one.
fn running(change: Change, one: &Prospect) -> Running {
    match one.running.as_ref().map(|running| (running.pods, running.differing)) {
        Some((0, _) | (_, Some(0))) => Running::AsNew,
        Some((_, Some(_))) => Running::Differing,
        Some((_, None)) | None if change == Change::Remove && !one.is_change() => Running::AsNew,
        Some((_, None)) | None => Running::Untold,
    }
}

/// Names for a sentence, not all of many.
pub(super) fn named<'n>(names: impl IntoIterator<Item = &'n Name>) -> String {
    let all: Vec<_> = names.into_iter().map(|name| format!("{name} in {}", name.namespace)).collect();
    let more = all.len().saturating_sub(MOST_NAMED);
    let end = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{end}", all[..all.len() - more].join(", "))
}

/// Those of a change that are written.
pub(super) fn written<'p>(planned: &'p [Planned], came: &'p [Came]) -> impl Iterator<Item = &'p Planned> {
    planned.iter().zip(came).filter(|(_, came)| matches!(came, Came::Wrote(_))).map(|(one, _)| one)
}

/// Restarts them; nothing where nobody has to be.
pub(super) async fn restarted(looked: &Looked, whom: &Whom, pacing: &PacingArgs) -> anyhow::Result<Option<Report>> {
    if whom.restarted.is_empty() {
        return Ok(None);
    }
    tokio::time::sleep(HEARD).await;
    let kinds = &looked.inventory.owner_kinds;
    let report = restart_named(kinds, whom.restarted.iter().cloned().collect(), pacing).await;
    report.map(Some).context("it is written, but running pods stay as they are")
}

/// What a look after a restart has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Those that have replaced their pods, some of which still are not as new ones would be.
    pub(super) differing: Vec<Name>,
    /// Those of which that cannot be told.
    pub(super) untold: Vec<Name>,
}

/// Whether new pods got what was asked for.
pub(super) fn found_after(looked: &Looked, report: &Report) -> Found {
    let restarted: BTreeSet<&Name> = report.restarted.iter().collect();
    let mut found = Found::default();
    for Standing { namespace, kind, name, actual, effect, .. } in standings(&looked.inventory, looked.now) {
        let name = Name { namespace, kind, name };
        if !restarted.contains(&name) {
            continue;
        }
        match actual {
            Some(actual) if !actual.differing.is_empty() => found.differing.push(name),
            Some(_) if effect.outcome != Outcome::Unknown => {}
            Some(_) | None => found.untold.push(name),
        }
    }
    found
}

fn name_of(Prospect { namespace, kind, name, .. }: &Prospect) -> Name {
    Name { namespace: namespace.clone(), kind: kind.clone(), name: name.clone() }
}
