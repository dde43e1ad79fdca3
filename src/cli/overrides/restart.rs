//! Restart after a change: selects the workloads whose running pods differ from new ones, restarts and checks them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;

use super::output::ObjectOutcome;
use crate::cli::restart::PacingArgs;
use crate::cli::restart::execution::restart_changed;
use crate::cli::snapshot::ClusterSnapshot;
use crate::decision::effect::EffectOutcome;
use crate::features::overrides::forecast::PodForecast;
use crate::features::overrides::plan::OverridePlan;
use crate::features::overrides::request::OverrideAction;
use crate::features::overrides::subject::OverrideSubject;
use crate::features::restart::report::RestartReport;
use crate::features::restart::workload::NamespacedWorkload;
use crate::features::status::states::{WorkloadStatus, workload_statuses};

/// Names in a sentence; more are counted.
const MAX_NAMED: usize = 10;
/// Pause before a restart. The server sees writes by a watch, and new pods must not come before it has. A check afterwards shows
/// whether the pause was long enough.
const WATCH_DELAY: Duration = Duration::from_secs(1);

/// Workloads that a restart after a change includes, and those that it leaves.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RestartSelection {
    /// Workloads to restart.
    pub(super) restarted: BTreeSet<NamespacedWorkload>,
    /// Workloads among them whose running pods could not be compared; they were named by the user.
    uncertain: BTreeSet<NamespacedWorkload>,
    /// Workloads left alone: their running pods could not be compared, and the user named only the namespace.
    pub(super) undecided: BTreeSet<NamespacedWorkload>,
    /// Differing pods without a known workload.
    bare_pods: BTreeSet<NamespacedWorkload>,
}

/// Comparison of running pods with new ones.
enum PodComparison {
    UpToDate,
    Differing,
    Unknown,
}

impl RestartSelection {
    pub(super) fn from_plans<'p>(action: OverrideAction, plans: impl Iterator<Item = &'p OverridePlan>) -> Self {
        let mut selection = Self::default();
        plans.for_each(|one| selection.add(action, one));
        let Self { restarted, undecided, .. } = &mut selection;
        undecided.retain(|name| !restarted.contains(name));
        selection
    }

    fn add(
        &mut self,
        action: OverrideAction,
        OverridePlan { subject, own_forecast, dependents, edit: _ }: &OverridePlan,
    ) {
        let is_named = matches!(subject, OverrideSubject::Workload(_));
        for forecast in [own_forecast].into_iter().chain(dependents).filter(|forecast| forecast.kind != "Namespace") {
            // Pods of a workload whose template is not read, such as one of an unknown kind, are listed one by one.
            let is_bare = forecast.kind == "Pod" && !is_named;
            let name = workload_name(if forecast.kind == "Pod" && is_named { own_forecast } else { forecast });
            match compare_running(action, forecast) {
                PodComparison::UpToDate => {}
                PodComparison::Differing | PodComparison::Unknown if is_bare => _ = self.bare_pods.insert(name),
                PodComparison::Differing => _ = self.restarted.insert(name),
                PodComparison::Unknown if is_named => {
                    self.uncertain.insert(name.clone());
                    self.restarted.insert(name);
                }
                PodComparison::Unknown => _ = self.undecided.insert(name),
            }
        }
    }

    /// Describes the restart before it starts.
    pub(super) fn lines(&self) -> Vec<String> {
        let Self { restarted, uncertain, undecided, bare_pods } = self;
        let line = |lead: &str, names: &BTreeSet<NamespacedWorkload>, end: &str| {
            (!names.is_empty()).then(|| format!("{lead} ({}): {}{end}.", names.len(), join_names(names)))
        };
        let lines = [
            line("Then these are restarted", restarted, ""),
            line("Of them it cannot be told whether they have to be, and they are all the same", uncertain, ""),
            line("Of these it cannot be told whether they have to be restarted, and they are not", undecided, ""),
            line("No workload is known that would make these pods again, so they stay as they are", bare_pods, ""),
        ];
        let lines: Vec<_> = lines.into_iter().flatten().collect();
        if lines.is_empty() { vec!["Nothing has to be restarted for it.".to_owned()] } else { lines }
    }
}

/// Compares running pods with new ones. After a removal that changes nothing, an unknown difference is no reason to restart.
fn compare_running(action: OverrideAction, forecast: &PodForecast) -> PodComparison {
    match forecast.running.as_ref().map(|running| (running.pods, running.differing)) {
        Some((0, _) | (_, Some(0))) => PodComparison::UpToDate,
        Some((_, Some(_))) => PodComparison::Differing,
        Some((_, None)) | None if action == OverrideAction::Remove && !forecast.is_change() => PodComparison::UpToDate,
        Some((_, None)) | None => PodComparison::Unknown,
    }
}

/// Joins names for a sentence; at most 10 are named.
pub(super) fn join_names<'n>(names: impl IntoIterator<Item = &'n NamespacedWorkload>) -> String {
    let all: Vec<_> = names.into_iter().map(|name| format!("{name} in {}", name.namespace)).collect();
    let more = all.len().saturating_sub(MAX_NAMED);
    let end = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{end}", all[..all.len() - more].join(", "))
}

/// Returns the plans whose writes succeeded.
pub(super) fn written_plans<'p>(
    plans: &'p [OverridePlan],
    outcomes: &'p [ObjectOutcome],
) -> impl Iterator<Item = &'p OverridePlan> {
    plans.iter().zip(outcomes).filter(|(_, outcome)| matches!(outcome, ObjectOutcome::Wrote(_))).map(|(plan, _)| plan)
}

/// Restarts the selected workloads; none if nothing is selected.
pub(super) async fn restart_selected(
    snapshot: &ClusterSnapshot,
    selection: &RestartSelection,
    pacing: &PacingArgs,
) -> anyhow::Result<Option<RestartReport>> {
    if selection.restarted.is_empty() {
        return Ok(None);
    }
    tokio::time::sleep(WATCH_DELAY).await;
    let kinds = &snapshot.inventory.owner_kinds;
    let report = restart_changed(kinds, selection.restarted.iter().cloned().collect(), pacing).await;
    report.map(Some).context("it is written, but running pods stay as they are")
}

/// Result of the check after a restart.
#[derive(Debug, Default)]
pub(super) struct RestartCheck {
    /// Restarted workloads with pods that still differ.
    pub(super) differing: Vec<NamespacedWorkload>,
    /// Restarted workloads whose pods could not be compared.
    pub(super) uncertain: Vec<NamespacedWorkload>,
}

/// Checks whether new pods got what was requested.
pub(super) fn check_restarted(snapshot: &ClusterSnapshot, report: &RestartReport) -> RestartCheck {
    let restarted: BTreeSet<&NamespacedWorkload> = report.restarted.iter().collect();
    let mut check = RestartCheck::default();
    for WorkloadStatus { namespace, kind, name, actual, effect, .. } in
        workload_statuses(&snapshot.inventory, snapshot.now)
    {
        let name = NamespacedWorkload { namespace, kind, name };
        if !restarted.contains(&name) {
            continue;
        }
        match actual {
            Some(actual) if !actual.differing.is_empty() => check.differing.push(name),
            Some(_) if effect.outcome != EffectOutcome::Unknown => {}
            Some(_) | None => check.uncertain.push(name),
        }
    }
    check
}

fn workload_name(PodForecast { namespace, kind, name, .. }: &PodForecast) -> NamespacedWorkload {
    NamespacedWorkload { namespace: namespace.clone(), kind: kind.clone(), name: name.clone() }
}
