//! Warnings beside a preview: side effects of the mesh that no decision shows.

use super::comparison::{Preview, WorkloadDifference};
use crate::decision::effect::EffectOutcome;
use crate::decision::mesh::InjectorKind;
use crate::kubernetes::inventory::Inventory;

/// Label, and its value, of a namespace in Istio's ambient mode.
const AMBIENT_LABEL: (&str, &str) = (crate::kernel::names::DATAPLANE_MODE, "ambient");

/// Returns one sentence for each side effect.
pub fn preview_warnings(preview: &Preview, inventory: &Inventory) -> Vec<String> {
    let mut warnings = Vec::new();
    warnings.extend(job_warning(preview, inventory));
    warnings.extend(ambient_warnings(preview, inventory));
    warnings.extend(fail_closed_warning(preview, inventory));
    warnings
}

fn differences(preview: &Preview) -> impl Iterator<Item = (&str, &WorkloadDifference)> {
    let of_namespace = preview.namespaces.iter().map(|one| (one.namespace.as_str(), &one.workloads));
    of_namespace.flat_map(|(namespace, workloads)| workloads.iter().map(move |one| (namespace, one)))
}

fn gains_sidecar((_, one): &(&str, &WorkloadDifference)) -> bool {
    one.after.effect.outcome == EffectOutcome::Injected && one.before.effect.outcome != EffectOutcome::Injected
}

/// Warns of Jobs that would never end: a Job ends with its containers, and an ordinary sidecar never does.
fn job_warning(preview: &Preview, inventory: &Inventory) -> Option<String> {
    let is_job = |(_, one): &(&str, &WorkloadDifference)| {
        ["Job", "CronJob"].contains(&one.kind.as_str())
            && one.after.action == "Enable"
            && one.after.effect.outcome == EffectOutcome::Injected
    };
    let jobs: Vec<_> = differences(preview).filter(is_job).collect();
    let (namespace, first) = jobs.first()?;
    let others = if jobs.len() > 1 { format!(" and {} others", jobs.len() - 1) } else { String::new() };
    let jobs = format!("{}/{} in {namespace}{others} would get a sidecar", first.kind, first.name);
    let pods = inventory.pods.all();
    let proxies: Vec<_> = pods.iter().filter_map(|pod| pod.sidecar.as_ref()).collect();
    let ordinary = proxies.iter().filter(|sidecar| !sidecar.is_native).count();
    match (proxies.len(), ordinary) {
        (0, _) => Some(format!(
            "{jobs}: with an ordinary sidecar a Job's pods never end, with a native one (an init container) they do; which one the \
             mesh gives cannot be told, since no running pod has any"
        )),
        (_, 0) => None,
        (proxies, ordinary) => Some(format!(
            "{jobs}, and its pods would never end: of {proxies} sidecars that run, {ordinary} are ordinary containers and no native \
             sidecars"
        )),
    }
}

/// Warns of namespaces in ambient mode, in which a pod without a sidecar is still in the mesh.
fn ambient_warnings(preview: &Preview, inventory: &Inventory) -> Vec<String> {
    if !matches!(inventory.settings.mesh.injector, InjectorKind::Istio { .. }) {
        return Vec::new();
    }
    let (key, value) = AMBIENT_LABEL;
    let mut warnings = Vec::new();
    for of_namespace in &preview.namespaces {
        let entry = inventory.namespaces.get(&of_namespace.namespace);
        if entry.and_then(|entry| entry.namespace().labels.get(key).map(|found| found == value)) != Some(true) {
            continue;
        }
        let name = &of_namespace.namespace;
        let of_action = [
            ("Remove", "Remove puts new pods into ambient mode, not out of the mesh"),
            (
                "Disable",
                "Disable does not keep new pods out of the mesh, which takes them into ambient mode without a sidecar",
            ),
            ("Enable", "Enable gives new pods a sidecar and takes them out of ambient mode"),
        ];
        for (action, follows) in of_action {
            if of_namespace.workloads.iter().any(|one| one.after.action == action) {
                warnings.push(format!("namespace {name} is in ambient mode ({key}={value}): {follows}"));
            }
        }
    }
    warnings
}

/// Warns that new pods with a sidecar cannot be created while an injector with failure policy Fail is down.
fn fail_closed_warning(preview: &Preview, inventory: &Inventory) -> Option<String> {
    let injectors = inventory.injectors.get()?;
    let called = |one: &(&str, &WorkloadDifference)| {
        let webhook = one.1.after.effect.webhook.as_deref()?;
        injectors.entries().iter().find(|entry| &*entry.webhook == webhook && entry.fails_closed)
    };
    let entry = differences(preview).filter(gains_sidecar).find_map(|one| called(&one))?;
    Some(format!(
        "new pods that get a sidecar wait for the mesh: while its control plane is down they are not created (failurePolicy \
         Fail of {} in {})",
        entry.webhook, entry.configuration
    ))
}
