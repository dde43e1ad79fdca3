//! What is told of a change once it is made.

use serde::Serialize;

use crate::cli::looking::columns;
use crate::cluster::overrides::Wrote;
use crate::overrides::change::{Asked, Change};
use crate::overrides::edit::Field;
use crate::overrides::plan::Planned;
use crate::overrides::prospect::Prospect;
use crate::overview::preview::Answer;
use crate::overview::running::Counts;

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
    /// What its new pods get.
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
        Self { change: asked.change, dry_run, objects, unread }
    }
}

/// For people.
pub(super) fn table(told: &Told) -> String {
    let Told { change: _, dry_run, objects, unread } = told;
    let row = |one: &OfObject| {
        let Prospect { namespace, kind, name, before, after, hindrance, running } = &one.new_pods;
        let is_written = one.outcome != "Failed";
        let now = if is_written { after } else { before };
        let why = match hindrance {
            Some(hindrance) if is_written => hindrance.clone(),
            _ => now.reason.clone(),
        };
        [
            namespace.clone(),
            format!("{kind}/{name}"),
            outcome(one.outcome, *dry_run).to_owned(),
            in_words(now),
            running.as_ref().filter(|_| is_written).map_or_else(|| "-".to_owned(), replaced),
            why,
        ]
    };
    let rows: Vec<_> = objects.iter().map(row).collect();
    let mut text = columns(["NAMESPACE", "OBJECT", "OVERRIDE", "NEW PODS", "TO BE REPLACED", "WHY"], &rows);
    if !unread.is_empty() {
        text.push_str(&format!("\nNot complete: these could not be read: {}\n", unread.join(", ")));
    }
    text
}

fn outcome(word: &str, dry_run: bool) -> &'static str {
    match (word, dry_run) {
        ("Written", false) => "written",
        ("Written", true) => "would be written",
        ("Unchanged", _) => "unchanged",
        (_, false) => "not written",
        (_, true) => "would be refused",
    }
}

/// What a new pod gets, in a few words.
pub(super) fn in_words(answer: &Answer) -> String {
    let revision = answer.effect.revision.as_ref().map(|revision| format!(" ({revision})")).unwrap_or_default();
    format!("{}, {}{revision}", answer.action, answer.effect.outcome.as_str())
}

fn replaced(Counts { pods, differing, with_sidecar: _ }: &Counts) -> String {
    differing.map_or_else(|| format!("? of {pods} pods"), |differing| format!("{differing} of {pods} pods"))
}
