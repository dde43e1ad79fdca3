//! Summary of the planned writes and their effects, printed before confirmation.

use super::output::describe_answer;
use crate::cli::times::format_instant;
use crate::features::overrides::forecast::PodForecast;
use crate::features::overrides::plan::{OverridePlan, SubjectPlan};
use crate::features::overrides::request::{OverrideAction, OverrideMechanism, OverrideRequest};
use crate::features::overrides::rollout::rollout_sentences;
use crate::features::status::running::PodCounts;
use crate::kernel::text::sanitize;

/// Objects that are named; more are counted.
const MAX_NAMED: usize = 10;

/// Returns the lines of the summary.
pub(super) fn summary_lines(request: &OverrideRequest, plan: &OverridePlan) -> Vec<String> {
    let OverridePlan { subjects: plans, warnings } = plan;
    let mut lines = vec![headline(request, plans)];
    plans.iter().take(MAX_NAMED).for_each(|plan| push_plan_lines(&mut lines, plan));
    if plans.len() > MAX_NAMED {
        lines.push(format!("  and {} more", plans.len() - MAX_NAMED));
        let hindered = plans.iter().skip(MAX_NAMED).filter(|plan| plan.own_forecast.hindrance.is_some()).count();
        if hindered > 0 {
            lines.push(format!(
                "  new pods of {hindered} of these will not get what you asked for: see --dry-run -o yaml"
            ));
        }
    }
    lines.extend(rollout_sentences(&request.mechanism, plans));
    lines.extend(running_pods_line(plans));
    lines.extend(warnings.iter().map(|warning| format!("Note: {warning}.")));
    lines
}

fn headline(request: &OverrideRequest, plans: &[SubjectPlan]) -> String {
    let name = match plans {
        [one] => one.subject.describe(),
        plans => format!("{} objects", plans.len()),
    };
    let fields = || plans.first().map(|one| &one.edit.fields[..]).unwrap_or_default();
    match (&request.mechanism, request.action) {
        (OverrideMechanism::Annotations, OverrideAction::Remove) => {
            format!("Removes the override of {name}; starts no roll-out.")
        }
        (OverrideMechanism::Annotations, action) => {
            let value = action.injects().unwrap_or_default();
            let reason = request.reason.as_deref().map(|reason| format!(" ({})", sanitize(reason))).unwrap_or_default();
            let until = request.until.map(|until| format!(" until {}", format_instant(until))).unwrap_or_default();
            format!("Writes the override \"{value}\" on {name}{until}{reason}; starts no roll-out.")
        }
        (OverrideMechanism::PodTemplate, _) => {
            let fields: Vec<_> = fields().iter().map(ToString::to_string).collect();
            format!("Changes the pod template of {name}: {}.", fields.join(", "))
        }
        (OverrideMechanism::NamespaceLabel(_), _) if plans.len() > 1 => {
            format!("Changes the labels that Istio reads on {name}; starts no roll-out.")
        }
        (OverrideMechanism::NamespaceLabel(_), _) => {
            let fields: Vec<_> = fields().iter().map(ToString::to_string).collect();
            format!("Changes {name}: {}; starts no roll-out.", fields.join(", "))
        }
    }
}

fn push_plan_lines(lines: &mut Vec<String>, plan: &SubjectPlan) {
    let SubjectPlan { own_forecast, dependents, .. } = plan;
    lines.push(format!("  {}: new pods {}", source_name(own_forecast), describe_change(own_forecast)));
    if let Some(hindrance) = &own_forecast.hindrance {
        lines.push(format!("    but {hindrance}"));
    }
    if dependents.is_empty() {
        return;
    }
    let changed = dependents.iter().filter(|forecast| forecast.is_change()).count();
    let count = dependents.len();
    lines.push(format!(
        "    affects {count} {}; new pods of {changed} change",
        if count == 1 { "workload" } else { "workloads" }
    ));
    let hindered: Vec<_> = dependents.iter().filter(|forecast| forecast.hindrance.is_some()).collect();
    for forecast in hindered.iter().take(MAX_NAMED) {
        let why = forecast.hindrance.as_deref().unwrap_or_default();
        lines.push(format!(
            "    except {}/{}: new pods get {}, because {why}",
            forecast.kind,
            forecast.name,
            describe_answer(&forecast.after)
        ));
    }
    if hindered.len() > MAX_NAMED {
        lines.push(format!("    and {} more", hindered.len() - MAX_NAMED));
    }
}

fn source_name(PodForecast { namespace, kind, name, .. }: &PodForecast) -> String {
    if kind == "Namespace" { format!("namespace {name}") } else { format!("{kind} {namespace}/{name}") }
}

fn describe_change(PodForecast { before, after, .. }: &PodForecast) -> String {
    let (before, after) = (describe_answer(before), describe_answer(after));
    if before == after { format!("stay {after}") } else { format!("{before} -> {after}") }
}

/// Describes how many running pods of all affected workloads differ from new ones.
fn running_pods_line(plans: &[SubjectPlan]) -> Option<String> {
    let all = plans.iter().flat_map(SubjectPlan::forecasts);
    let PodCounts { pods, differing, .. } = all.filter_map(|one| one.running.as_ref()).sum();
    match (pods, differing) {
        (0, _) => None,
        (1, None) => Some("1 running pod could not be compared with new ones.".to_owned()),
        (pods, None) => Some(format!("{pods} running pods could not be compared with new ones.")),
        (pods, Some(0)) => Some(format!("0 of {pods} running pods differ from new ones.")),
        (pods, Some(differing)) => {
            let (differ, stay) = if differing == 1 { ("differs", "stays") } else { ("differ", "stay") };
            Some(format!("{differing} of {pods} running pods {differ} from new ones, and {stay} so until replaced."))
        }
    }
}
