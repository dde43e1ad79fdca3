//! What is told of a change once it is made.

use serde::Serialize;

use super::Followed;
use crate::cli::looking::columns;
use crate::cli::restart::telling::ended;
use crate::features::overrides::change::{Asked, Change};
use crate::features::overrides::field::Field;
use crate::features::overrides::plan::Planned;
use crate::features::overrides::prospect::Prospect;
use crate::features::preview::comparison::Answer;
use crate::features::restart::telling::Report;
use crate::features::restart::workload::Name;
use crate::features::status::running::Counts;
use crate::kubernetes::client::overrides::Wrote;

/// What came of writing on one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Came {
    /// It is written, or stood there already.
    Wrote(Wrote),
    /// It is not written, for this reason.
    Failed(String),
}

/// Everything that is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    change: Change,
    dry_run: bool,
    objects: Vec<OfObject>,
    /// What came of the restart, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    restart: Option<Report>,
    /// These are not restarted, since it cannot be told whether they have to be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_restarted: Vec<Name>,
    /// After the restart some pods of these still are not as new ones would be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    still_differing: Vec<Name>,
    /// Parts that could not be read, without which the answer is not complete.
    unread: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OfObject {
    /// `Written`, `Unchanged` or `Failed`; of a dry run what it would be.
    outcome: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// In which metadata of the object, from its root.
    at: String,
    /// The labels and annotations; null where one goes.
    fields: Vec<Field>,
    /// What its new pods get before and, if it is written, after.
    #[serde(flatten)]
    new_pods: Prospect,
    /// What new pods of others get that it is also about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    workloads: Vec<Prospect>,
}

impl Told {
    pub(super) fn of(
        asked: &Asked,
        dry_run: bool,
        planned: Vec<Planned>,
        came: Vec<Came>,
        followed: Followed,
        unread: Vec<String>,
    ) -> Self {
        let object = |(planned, came): (Planned, Came)| {
            let Planned { subject: _, edit, own, others } = planned;
            let (outcome, why) = match came {
                Came::Wrote(Wrote::Changed) => ("Written", None),
                Came::Wrote(Wrote::Nothing) => ("Unchanged", None),
                Came::Failed(why) => ("Failed", Some(why)),
            };
            OfObject { outcome, why, at: edit.path.join("."), fields: edit.fields, new_pods: own, workloads: others }
        };
        let objects = planned.into_iter().zip(came).map(object).collect();
        let Followed { report: restart, left: not_restarted, still: still_differing, code: _ } = followed;
        Self { change: asked.change, dry_run, objects, restart, not_restarted, still_differing, unread }
    }
}

/// For people.
pub(super) fn table(told: &Told) -> String {
    let Told { change, dry_run, objects, restart, not_restarted: _, still_differing: _, unread } = told;
    let row = |one: &OfObject| {
        let Prospect { namespace, kind, name, before, after, hindrance, running: _ } = &one.new_pods;
        let is_written = one.outcome != "Failed";
        let now = if is_written { after } else { before };
        let why = match hindrance {
            Some(hindrance) if is_written => hindrance.clone(),
            _ => now.reason.clone(),
        };
        [
            namespace.clone(),
            format!("{kind}/{name}"),
            outcome(one.outcome, *change, *dry_run).to_owned(),
            in_words(now),
            if is_written { replaced(one) } else { "-".to_owned() },
            why,
        ]
    };
    let rows: Vec<_> = objects.iter().map(row).collect();
    let mut text = columns(["NAMESPACE", "OBJECT", "OVERRIDE", "NEW PODS", "TO BE REPLACED", "WHY"], &rows);
    if let Some(report) = restart {
        text.push_str(&format!("\n{}", ended(report)));
    }
    if !unread.is_empty() {
        text.push_str(&format!("\nNot complete: these could not be read: {}\n", unread.join(", ")));
    }
    text
}

fn outcome(word: &str, change: Change, dry_run: bool) -> &'static str {
    match (word, change, dry_run) {
        ("Written", Change::Remove, false) => "removed",
        ("Written", Change::Remove, true) => "would be removed",
        ("Written", Change::Enable | Change::Disable, false) => "written",
        ("Written", Change::Enable | Change::Disable, true) => "would be written",
        ("Unchanged", ..) => "unchanged",
        (_, _, false) => "not written",
        (_, _, true) => "would be refused",
    }
}

/// What a new pod gets, in a few words.
pub(super) fn in_words(answer: &Answer) -> String {
    let revision = answer.effect.revision.as_ref().map(|revision| format!(" ({revision})")).unwrap_or_default();
    format!("{}, {}{revision}", answer.action, answer.effect.outcome.as_str())
}

/// How many of an object's running pods are to be replaced for being as new ones; of a namespace, of all in it.
fn replaced(one: &OfObject) -> String {
    let all = [&one.new_pods].into_iter().chain(&one.workloads).filter_map(|one| one.running.as_ref());
    match sum(all.clone()) {
        _ if all.count() == 0 => "-".to_owned(),
        (0, _) => "no pods".to_owned(),
        (pods, None) => format!("? of {pods} pods"),
        (pods, Some(differing)) => format!("{differing} of {pods} pods"),
    }
}

/// How many pods there are, and how many of them are not as new ones; nothing where that cannot be told of some.
pub(super) fn sum<'c>(counts: impl Iterator<Item = &'c Counts> + Clone) -> (usize, Option<usize>) {
    let some = counts.filter(|counts| counts.pods > 0);
    (some.clone().map(|counts| counts.pods).sum(), some.map(|counts| counts.differing).sum())
}
