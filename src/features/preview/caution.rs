//! What else somebody should know who is about to make a change.

use super::comparison::{Difference, Preview};
use crate::decision::effect::Outcome;
use crate::decision::mesh::Injector;
use crate::kubernetes::inventory::Inventory;

/// The label with which a namespace is in Istio's ambient mode, and its value.
const AMBIENT: (&str, &str) = ("istio.io/dataplane-mode", "ambient");

/// Everything to be cautious about, a sentence each.
pub fn cautions(preview: &Preview, inventory: &Inventory) -> Vec<String> {
    let mut cautions = Vec::new();
    cautions.extend(of_jobs(preview, inventory));
    cautions.extend(of_ambient(preview, inventory));
    cautions.extend(of_waiting(preview, inventory));
    cautions
}

fn differences(preview: &Preview) -> impl Iterator<Item = (&str, &Difference)> {
    let of_namespace = preview.namespaces.iter().map(|one| (one.namespace.as_str(), &one.workloads));
    of_namespace.flat_map(|(namespace, workloads)| workloads.iter().map(move |one| (namespace, one)))
}

fn gains((_, one): &(&str, &Difference)) -> bool {
    one.after.effect.outcome == Outcome::Injected && one.before.effect.outcome != Outcome::Injected
}

/// A Job is done when its containers are, and an ordinary sidecar never is.
fn of_jobs(preview: &Preview, inventory: &Inventory) -> Option<String> {
    let is_job = |(_, one): &(&str, &Difference)| {
        ["Job", "CronJob"].contains(&one.kind.as_str())
            && one.after.action == "Enable"
            && one.after.effect.outcome == Outcome::Injected
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

/// In ambient mode a pod without a sidecar is not out of the mesh.
fn of_ambient(preview: &Preview, inventory: &Inventory) -> Vec<String> {
    if !matches!(inventory.settings.mesh.injector, Injector::Istio { .. }) {
        return Vec::new();
    }
    let (key, value) = AMBIENT;
    let mut cautions = Vec::new();
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
                cautions.push(format!("namespace {name} is in ambient mode ({key}={value}): {follows}"));
            }
        }
    }
    cautions
}

/// What is injected depends on the injector from then on.
fn of_waiting(preview: &Preview, inventory: &Inventory) -> Option<String> {
    let injectors = inventory.injectors.get()?;
    let called = |one: &(&str, &Difference)| {
        let webhook = one.1.after.effect.webhook.as_deref()?;
        injectors.entries().iter().find(|entry| &*entry.webhook == webhook && entry.fails_closed)
    };
    let entry = differences(preview).filter(gains).find_map(|one| called(&one))?;
    Some(format!(
        "new pods that get a sidecar wait for the mesh: while its control plane is down they are not created (failurePolicy \
         Fail of {} in {})",
        entry.webhook, entry.configuration
    ))
}
