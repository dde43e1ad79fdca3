//! Restart after a change: which workloads it includes, and whether their new pods got what was requested.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::forecast::PodForecast;
use super::plan::SubjectPlan;
use super::request::OverrideAction;
use super::subject::OverrideSubject;
use crate::decision::effect::EffectOutcome;
use crate::features::restart::report::RestartReport;
use crate::features::restart::workload::NamespacedWorkload;
use crate::features::status::states::{WorkloadStatus, workload_statuses};
use crate::kubernetes::inventory::Inventory;

/// Names in a sentence; more are counted.
const MAX_NAMED: usize = 10;

/// Workloads that a restart after a change includes, and those that it leaves.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RestartSelection {
    /// Workloads to restart.
    pub restarted: BTreeSet<NamespacedWorkload>,
    /// Workloads among them whose running pods could not be compared; they were named by the user.
    uncertain: BTreeSet<NamespacedWorkload>,
    /// Workloads left alone: their running pods could not be compared, and the user named only the namespace.
    pub undecided: BTreeSet<NamespacedWorkload>,
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
    /// Selects the workloads whose running pods differ from new ones after these plans.
    pub fn from_plans<'p>(action: OverrideAction, plans: impl Iterator<Item = &'p SubjectPlan>) -> Self {
        let mut selection = Self::default();
        plans.for_each(|one| selection.add(action, one));
        let Self { restarted, undecided, .. } = &mut selection;
        undecided.retain(|name| !restarted.contains(name));
        selection
    }

    fn add(
        &mut self,
        action: OverrideAction,
        SubjectPlan { subject, own_forecast, dependents, edit: _ }: &SubjectPlan,
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
    pub fn sentences(&self) -> Vec<String> {
        let Self { restarted, uncertain, undecided, bare_pods } = self;
        let sentence = |names: &BTreeSet<NamespacedWorkload>, lead: String| {
            (!names.is_empty()).then(|| format!("{lead}: {}.", join_names(names)))
        };
        let sentences = [
            sentence(restarted, format!("Will restart {}", count(restarted.len(), "workload"))),
            sentence(
                uncertain,
                format!("{} of them may not need it (running pods could not be compared)", uncertain.len()),
            ),
            sentence(
                undecided,
                format!(
                    "Will not restart {}, since running pods could not be compared",
                    count(undecided.len(), "workload")
                ),
            ),
            sentence(bare_pods, format!("Will leave {} without a known workload", count(bare_pods.len(), "pod"))),
        ];
        let sentences: Vec<_> = sentences.into_iter().flatten().collect();
        if sentences.is_empty() { vec!["No workload needs a restart.".to_owned()] } else { sentences }
    }

    /// Says which workloads were left, since their running pods could not be compared; none if there are none.
    pub fn undecided_sentence(&self, unread: &[String]) -> Option<String> {
        let why = if unread.is_empty() { String::new() } else { format!(", without {}", unread.join(", ")) };
        let names = join_names(&self.undecided);
        let left = || format!("not restarted, since running pods could not be compared{why}: {names}");
        (!self.undecided.is_empty()).then(left)
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

fn workload_name(PodForecast { namespace, kind, name, .. }: &PodForecast) -> NamespacedWorkload {
    NamespacedWorkload { namespace: namespace.clone(), kind: kind.clone(), name: name.clone() }
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Joins names for a sentence; at most 10 are named.
fn join_names<'n>(names: impl IntoIterator<Item = &'n NamespacedWorkload>) -> String {
    let all: Vec<_> = names.into_iter().map(|name| format!("{name} in {}", name.namespace)).collect();
    let more = all.len().saturating_sub(MAX_NAMED);
    let end = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{end}", all[..all.len() - more].join(", "))
}

/// Result of the check after a restart.
#[derive(Debug, Default)]
pub struct RestartCheck {
    /// Restarted workloads with pods that still differ.
    pub differing: Vec<NamespacedWorkload>,
    /// Restarted workloads whose pods could not be compared.
    pub uncertain: Vec<NamespacedWorkload>,
}

impl RestartCheck {
    /// Checks whether new pods of the restarted workloads got what was requested.
    pub fn new(inventory: &Inventory, now: Timestamp, report: &RestartReport) -> Self {
        let restarted: BTreeSet<&NamespacedWorkload> = report.restarted.iter().collect();
        let mut check = Self::default();
        for WorkloadStatus { namespace, kind, name, actual, effect, .. } in workload_statuses(inventory, now) {
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

    /// Describes what is wrong, or not known.
    pub fn sentences(&self) -> Vec<String> {
        let Self { differing, uncertain } = self;
        let mut sentences = Vec::new();
        if !uncertain.is_empty() {
            let names = join_names(uncertain);
            sentences.push(format!("new pods of these workloads could not be checked: {names}"));
        }
        if !differing.is_empty() {
            let names = join_names(differing);
            sentences.push(format!("some pods still differ from new ones after the restart: {names}"));
            sentences.push(
                "run `outrigger doctor` to find the cause, and `outrigger restart --drifted` to try again".to_owned(),
            );
        }
        sentences
    }
}
