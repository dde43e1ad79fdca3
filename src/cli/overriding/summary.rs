//! What is about to be written and what follows, told before it is done.

use std::collections::BTreeSet;

use super::told::{in_words, sum};
use crate::cli::times::told;
use crate::features::overrides::change::{Asked, Change, Place};
use crate::features::overrides::plan::{Planned, preview_of};
use crate::features::overrides::prospect::Prospect;
use crate::features::preview::caution::cautions;
use crate::kernel::text::sanitized;
use crate::kubernetes::inventory::Inventory;

/// How many are named.
const MOST_NAMED: usize = 10;

/// Sentences for people, in order.
pub(super) fn lines(asked: &Asked, planned: &[Planned], inventory: &Inventory) -> Vec<String> {
    let mut lines = vec![lead(asked, planned)];
    planned.iter().take(MOST_NAMED).for_each(|one| of_one(&mut lines, one));
    if planned.len() > MOST_NAMED {
        lines.push(format!("  and {} more", planned.len() - MOST_NAMED));
        let hindered = planned.iter().skip(MOST_NAMED).filter(|one| one.own.hindrance.is_some()).count();
        if hindered > 0 {
            lines.push(format!("  of which {hindered} do not get what is asked for; --dry-run -o yaml tells of each"));
        }
    }
    lines.extend(rollouts(asked, planned));
    lines.extend(of_running(planned));
    lines.extend(cautions(&preview_of(planned), inventory).into_iter().map(|caution| format!("Note: {caution}.")));
    lines
}

fn lead(asked: &Asked, planned: &[Planned]) -> String {
    let whom = match planned {
        [one] => one.subject.named(),
        several => format!("{} objects", several.len()),
    };
    let fields = || planned.first().map(|one| &one.edit.fields[..]).unwrap_or_default();
    match (&asked.place, asked.change) {
        (Place::Annotations, Change::Remove) => {
            format!("The override is taken off {whom}; no roll-out starts by itself.")
        }
        (Place::Annotations, change) => {
            let value = change.asks().unwrap_or_default();
            let reason = asked.reason.as_deref().map(|reason| format!(" ({})", sanitized(reason))).unwrap_or_default();
            let until = asked.until.map(|until| format!(" until {}", told(until))).unwrap_or_default();
            format!("The override \"{value}\" is written on {whom}{until}{reason}; no roll-out starts by itself.")
        }
        (Place::PodTemplate, _) => {
            let fields: Vec<_> = fields().iter().map(ToString::to_string).collect();
            format!("In the pod template of {whom}: {}.", fields.join(", "))
        }
        (Place::NamespaceLabel(_), _) if planned.len() > 1 => {
            format!("The labels of {whom} that Istio reads are changed; no roll-out starts by itself.")
        }
        (Place::NamespaceLabel(_), _) => {
            let fields: Vec<_> = fields().iter().map(ToString::to_string).collect();
            format!("On {whom}: {}; no roll-out starts by itself.", fields.join(", "))
        }
    }
}

fn of_one(lines: &mut Vec<String>, planned: &Planned) {
    let Planned { own, others, .. } = planned;
    lines.push(format!("  {}: new pods {}", named(own), becomes(own)));
    if let Some(hindrance) = &own.hindrance {
        lines.push(format!("    but {hindrance}"));
    }
    if others.is_empty() {
        return;
    }
    let changed = others.iter().filter(|one| one.is_change()).count();
    lines.push(format!("    of {} workloads in it, new pods of {changed} change", others.len()));
    let hindered: Vec<_> = others.iter().filter(|one| one.hindrance.is_some()).collect();
    for one in hindered.iter().take(MOST_NAMED) {
        let why = one.hindrance.as_deref().unwrap_or_default();
        lines.push(format!("    not {}/{}, whose new pods get {}: {why}", one.kind, one.name, in_words(&one.after)));
    }
    if hindered.len() > MOST_NAMED {
        lines.push(format!("    nor {} more", hindered.len() - MOST_NAMED));
    }
}

fn named(Prospect { namespace, kind, name, .. }: &Prospect) -> String {
    if kind == "Namespace" { format!("namespace {name}") } else { format!("{kind} {namespace}/{name}") }
}

fn becomes(Prospect { before, after, .. }: &Prospect) -> String {
    let (before, after) = (in_words(before), in_words(after));
    if before == after { format!("stay {after}") } else { format!("{before} -> {after}") }
}

/// What the writing itself sets off.
fn rollouts(asked: &Asked, planned: &[Planned]) -> Vec<String> {
    if asked.place != Place::PodTemplate {
        return Vec::new();
    }
    let kinds: BTreeSet<&str> = planned.iter().map(|one| one.subject.kind()).collect();
    let follows = |kind: &str| match kind {
        "Deployment" | "Rollout" => "rolls out at once",
        "StatefulSet" | "DaemonSet" => "rolls out as its update strategy says, with OnDelete not by itself",
        "CronJob" => "counts with its next Job",
        "ReplicaSet" | "ReplicationController" => "replaces no pod by itself",
        _ => "does what its controller makes of it",
    };
    let told = kinds.iter().map(|kind| format!("{kind}: a changed template {}.", follows(kind)));
    told.chain(["Where templates come from Git, this is undone from there.".to_owned()]).collect()
}

/// Pods that run, of everybody that is concerned.
fn of_running(planned: &[Planned]) -> Option<String> {
    let all = planned.iter().flat_map(|one| [&one.own].into_iter().chain(&one.others));
    let (pods, differing) = sum(all.filter_map(|one| one.running.as_ref()));
    match (pods, differing) {
        (0, _) => None,
        (pods, None) => Some(format!("Of {pods} running pods it cannot be told whether new ones will be the same.")),
        (pods, Some(0)) => Some(format!("New pods will be as those that run ({pods}).")),
        (pods, Some(differing)) => {
            let (are, stay) = if differing == 1 { ("is", "stays as it is") } else { ("are", "stay as they are") };
            let until = if differing == 1 { "it is" } else { "they are" };
            Some(format!(
                "{differing} of {pods} running pods {are} not as a new one will be, and {stay} until {until} replaced."
            ))
        }
    }
}
