//! Output of `enable`, `disable` and `remove` after the writes, as JSON or as a table.

use serde::Serialize;

use super::RestartFollowUp;
use crate::cli::restart::progress_output::describe_end;
use crate::cli::snapshot::format_columns;
use crate::features::new_pod::NewPodOutcome;
use crate::features::overrides::field::MetadataField;
use crate::features::overrides::forecast::PodForecast;
use crate::features::overrides::plan::OverridePlan;
use crate::features::overrides::request::{OverrideAction, OverrideRequest};
use crate::features::restart::report::RestartReport;
use crate::features::restart::workload::NamespacedWorkload;
use crate::features::status::running::PodCounts;
use crate::kubernetes::client::overrides::OverrideWriteOutcome;

/// Outcome of the write on one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ObjectOutcome {
    /// The write succeeded.
    Wrote(OverrideWriteOutcome),
    /// The write failed, for this reason.
    Failed(String),
}

/// JSON output of a command.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OverrideOutput {
    change: OverrideAction,
    dry_run: bool,
    objects: Vec<OverrideObjectRow>,
    /// Report of the restart, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    restart: Option<RestartReport>,
    /// Workloads that were left because their running pods could not be compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_restarted: Vec<NamespacedWorkload>,
    /// Restarted workloads with pods that still differ from new ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    still_differing: Vec<NamespacedWorkload>,
    /// Parts of the cluster that could not be read; the output is incomplete without them.
    unread: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OverrideObjectRow {
    /// `Written`, `Unchanged` or `Failed`; for a dry run the expected outcome.
    outcome: &'static str,
    /// Reason of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Path from the object's root to the metadata.
    at: String,
    /// Labels and annotations; null for a removed one.
    fields: Vec<MetadataField>,
    /// Forecast for its new pods.
    #[serde(flatten)]
    new_pods: PodForecast,
    /// Forecasts for other workloads that the object affects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    workloads: Vec<PodForecast>,
}

impl OverrideOutput {
    pub(super) fn new(
        request: &OverrideRequest,
        dry_run: bool,
        plans: Vec<OverridePlan>,
        outcomes: Vec<ObjectOutcome>,
        follow_up: RestartFollowUp,
        unread: Vec<String>,
    ) -> Self {
        let row = |(plan, outcome): (OverridePlan, ObjectOutcome)| {
            let OverridePlan { subject: _, edit, own_forecast, dependents } = plan;
            let (outcome, why) = match outcome {
                ObjectOutcome::Wrote(OverrideWriteOutcome::Changed) => ("Written", None),
                ObjectOutcome::Wrote(OverrideWriteOutcome::Unchanged) => ("Unchanged", None),
                ObjectOutcome::Failed(why) => ("Failed", Some(why)),
            };
            OverrideObjectRow {
                outcome,
                why,
                at: edit.metadata_path.join("."),
                fields: edit.fields,
                new_pods: own_forecast,
                workloads: dependents,
            }
        };
        let objects = plans.into_iter().zip(outcomes).map(row).collect();
        let RestartFollowUp { report: restart, undecided: not_restarted, still_differing, exit_code: _ } = follow_up;
        Self { change: request.action, dry_run, objects, restart, not_restarted, still_differing, unread }
    }
}

/// Formats the output for people.
pub(super) fn table(output: &OverrideOutput) -> String {
    let OverrideOutput { change, dry_run, objects, restart, not_restarted: _, still_differing: _, unread } = output;
    let row = |one: &OverrideObjectRow| {
        let PodForecast { namespace, kind, name, before, after, hindrance, running: _ } = &one.new_pods;
        let is_written = one.outcome != "Failed";
        let shown = if is_written { after } else { before };
        let why = match hindrance {
            Some(hindrance) if is_written => hindrance.clone(),
            _ => shown.reason.clone(),
        };
        [
            namespace.clone(),
            format!("{kind}/{name}"),
            outcome_word(one.outcome, *change, *dry_run).to_owned(),
            describe_answer(shown),
            if is_written { count_to_replace(one) } else { "-".to_owned() },
            why,
        ]
    };
    let rows: Vec<_> = objects.iter().map(row).collect();
    let mut text = format_columns(["NAMESPACE", "OBJECT", "OVERRIDE", "NEW PODS", "TO BE REPLACED", "WHY"], &rows);
    if let Some(report) = restart {
        text.push_str(&format!("\n{}", describe_end(report)));
    }
    if !unread.is_empty() {
        text.push_str(&format!("\nNot complete: these could not be read: {}\n", unread.join(", ")));
    }
    text
}

fn outcome_word(word: &str, change: OverrideAction, dry_run: bool) -> &'static str {
    match (word, change, dry_run) {
        ("Written", OverrideAction::Remove, false) => "removed",
        ("Written", OverrideAction::Remove, true) => "would be removed",
        ("Written", OverrideAction::Enable | OverrideAction::Disable, false) => "written",
        ("Written", OverrideAction::Enable | OverrideAction::Disable, true) => "would be written",
        ("Unchanged", ..) => "unchanged",
        (_, _, false) => "not written",
        (_, _, true) => "would be refused",
    }
}

/// Describes in a few words what a new pod gets.
pub(super) fn describe_answer(answer: &NewPodOutcome) -> String {
    let revision = answer.effect.revision.as_ref().map(|revision| format!(" ({revision})")).unwrap_or_default();
    format!("{}, {}{revision}", answer.action, answer.effect.outcome.as_str())
}

/// Counts the running pods that differ from new ones, for a namespace of everything in it.
fn count_to_replace(one: &OverrideObjectRow) -> String {
    let all = [&one.new_pods].into_iter().chain(&one.workloads).filter_map(|one| one.running.as_ref());
    match sum_counts(all.clone()) {
        _ if all.count() == 0 => "-".to_owned(),
        (0, _) => "no pods".to_owned(),
        (pods, None) => format!("? of {pods} pods"),
        (pods, Some(differing)) => format!("{differing} of {pods} pods"),
    }
}

/// Sums up pods and differing pods. The second is none if any workload with pods could not be compared.
pub(super) fn sum_counts<'c>(counts: impl Iterator<Item = &'c PodCounts> + Clone) -> (usize, Option<usize>) {
    let some = counts.filter(|counts| counts.pods > 0);
    (some.clone().map(|counts| counts.pods).sum(), some.map(|counts| counts.differing).sum())
}
