//! Output of `enable`, `disable` and `remove` after the writes, as JSON or as a table.

use serde::Serialize;

use super::RestartFollowUp;
use crate::cli::restart::progress_output::describe_end;
use crate::cli::snapshot::format_columns;
use crate::features::new_pod::NewPodOutcome;
use crate::features::overrides::apply::{AppliedOverride, ApplyError, OverrideCaller, OverrideOutcome};
use crate::features::overrides::forecast::PodForecast;
use crate::features::overrides::plan::SubjectPlan;
use crate::features::overrides::request::{OverrideAction, OverrideRequest};
use crate::features::restart::report::RestartReport;
use crate::features::restart::workload::NamespacedWorkload;
use crate::features::status::running::PodCounts;
use crate::kubernetes::client::metadata_edit::field::MetadataField;

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
    outcome: OverrideOutcome,
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
        plans: Vec<SubjectPlan>,
        writes: Vec<Result<AppliedOverride, ApplyError>>,
        follow_up: RestartFollowUp,
        unread: Vec<String>,
    ) -> Self {
        let row = |(plan, write): (SubjectPlan, Result<AppliedOverride, ApplyError>)| {
            let SubjectPlan { subject: _, edit, own_forecast, dependents } = plan;
            OverrideObjectRow {
                outcome: outcome(&write),
                why: write.err().map(|error| error.describe(OverrideCaller::Command)),
                at: edit.metadata_path.join("."),
                fields: edit.fields,
                new_pods: own_forecast,
                workloads: dependents,
            }
        };
        let objects = plans.into_iter().zip(writes).map(row).collect();
        let RestartFollowUp { report: restart, undecided: not_restarted, still_differing, verdict: _ } = follow_up;
        Self { change: request.action, dry_run, objects, restart, not_restarted, still_differing, unread }
    }
}

/// Formats the output for people.
pub(super) fn table(output: &OverrideOutput) -> String {
    let OverrideOutput { change, dry_run, objects, restart, not_restarted: _, still_differing: _, unread } = output;
    let row = |one: &OverrideObjectRow| {
        let PodForecast { namespace, kind, name, before, after, hindrance, running: _ } = &one.new_pods;
        let is_written = one.outcome != OverrideOutcome::Failed;
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

/// Returns the outcome of a write.
pub(super) fn outcome(write: &Result<AppliedOverride, ApplyError>) -> OverrideOutcome {
    write.as_ref().map_or(OverrideOutcome::Failed, |applied| applied.outcome)
}

fn outcome_word(outcome: OverrideOutcome, change: OverrideAction, dry_run: bool) -> &'static str {
    match (outcome, change, dry_run) {
        (OverrideOutcome::Written, OverrideAction::Remove, false) => "removed",
        (OverrideOutcome::Written, OverrideAction::Remove, true) => "would be removed",
        (OverrideOutcome::Written, OverrideAction::Enable | OverrideAction::Disable, false) => "written",
        (OverrideOutcome::Written, OverrideAction::Enable | OverrideAction::Disable, true) => "would be written",
        (OverrideOutcome::Unchanged, ..) => "unchanged",
        (OverrideOutcome::Failed, _, false) => "not written",
        (OverrideOutcome::Failed, _, true) => "would be refused",
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
    let is_unknown = all.clone().next().is_none();
    match all.sum() {
        _ if is_unknown => "-".to_owned(),
        PodCounts { pods: 0, .. } => "no pods".to_owned(),
        PodCounts { pods, differing: None, .. } => format!("? of {pods} pods"),
        PodCounts { pods, differing: Some(differing), .. } => format!("{differing} of {pods} pods"),
    }
}
