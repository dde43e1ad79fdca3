//! Findings about injectors, namespaces and rules that keep rules from their effect. Pure.

use super::finding::Finding;
use crate::decision::effect::EffectReason;
use crate::decision::facts::{NamespaceFacts, PodFacts};
use crate::decision::injector::{InjectionPrediction, InjectorView, Injectors};
use crate::decision::mesh::{InjectorKind, Mesh};
use crate::kernel::names::WEBHOOK_CONFIGURATION;
use crate::kubernetes::client::webhook_order::{describe_order, order_advice};
use crate::kubernetes::inventory::Inventory;

/// Number of objects that a finding names; of the others it gives the number.
const MAX_NAMED: usize = 5;

/// Returns the findings that need only the inventory.
pub fn diagnose(inventory: &Inventory) -> Vec<Finding> {
    let mesh = inventory.settings.mesh;
    let mut findings = vec![check_rules(inventory)];
    match inventory.injectors.get() {
        _ if mesh.injector == InjectorKind::Unread => {
            findings.push(Finding::warning(
                "injector",
                EffectReason::Mesh(mesh).to_string(),
                "effects are Unknown with this mesh",
            ));
        }
        None => findings.push(Finding::warning(
            "injector",
            "the webhook configurations are not known",
            "without the right to list them every effect is Unknown",
        )),
        Some(injectors) => {
            findings.push(check_order(&injectors));
            findings.push(check_injector(&injectors, mesh));
            findings.push(check_namespaces(inventory, &injectors));
        }
    }
    findings
}

fn check_rules(inventory: &Inventory) -> Finding {
    let invalid = inventory.rules.invalid();
    if inventory.rules.policies().is_none() || inventory.rules.suspensions().is_none() {
        return Finding::warning("rules", "policies or suspensions are not known", "see what could not be read, above");
    }
    if invalid.is_empty() {
        return Finding::good("rules", "every policy and suspension can be read");
    }
    let named = invalid.iter().map(|(kind, (namespace, name), why)| {
        let slash = if namespace.is_empty() { "" } else { "/" };
        format!("{} {namespace}{slash}{name} ({why})", kind.as_str())
    });
    let found = format!("{} cannot be read and decide nothing: {}", invalid.len(), list_first(named.collect()));
    Finding::problem("rules", found, "mend or delete them")
}

/// Checks that no injector is called before us.
fn check_order(injectors: &Injectors) -> Finding {
    match &injectors.before_us()[..] {
        [] => Finding::good("order", format!("{WEBHOOK_CONFIGURATION} sorts before every injector's configuration")),
        before_us => Finding::problem("order", describe_order(before_us), order_advice()),
    }
}

fn check_injector(injectors: &Injectors, mesh: &'static Mesh) -> Finding {
    if injectors.entries().is_empty() {
        let found = EffectReason::NoInjector(mesh).to_string();
        return Finding::warning("injector", found, "install the mesh, or name it with --mesh");
    }
    let revisions = mesh.revision_label.map(|label| injectors.revisions(label)).unwrap_or_default();
    let revisions: Vec<String> = revisions.into_iter().map(|(revision, _)| revision.to_owned()).collect();
    let mut configurations: Vec<_> = injectors.entries().iter().map(|entry| entry.configuration.to_string()).collect();
    configurations.dedup();
    let by = format!("{} is called by {}", mesh.name, configurations.join(", "));
    let by = if revisions.is_empty() { by } else { format!("{by}; revisions: {}", revisions.join(", ")) };
    Finding::good("injector", by)
}

/// Checks that every namespace whose labels ask for sidecars reaches an injector.
fn check_namespaces(inventory: &Inventory, injectors: &Injectors) -> Finding {
    if !inventory.namespaces.is_synced() {
        return Finding::warning("namespaces", "the namespaces are not known", "without them every effect is Unknown");
    }
    let mesh = inventory.settings.mesh;
    let mut namespaces: Vec<_> = inventory.namespaces.all();
    namespaces.sort_by(|left, right| left.namespace().name.cmp(&right.namespace().name));
    let excluded =
        |namespace: &NamespaceFacts| inventory.settings.excluded_namespaces.iter().any(|one| **one == *namespace.name);
    let unreached = namespaces.iter().map(|entry| entry.namespace()).filter(|namespace| !excluded(namespace));
    let unreached: Vec<_> = unreached.filter_map(|namespace| describe_unreached(namespace, injectors, mesh)).collect();
    if unreached.is_empty() {
        return Finding::good("namespaces", "every namespace that asks for sidecars reaches an injector");
    }
    let found = format!("{} ask for sidecars and reach no injector: {}", unreached.len(), list_first(unreached));
    Finding::warning("namespaces", found, "label them for a revision or tag that is installed")
}

fn describe_unreached(namespace: &NamespaceFacts, injectors: &Injectors, mesh: &Mesh) -> Option<String> {
    let labels: Vec<_> =
        mesh.namespace_labels.iter().filter_map(|key| Some((*key, namespace.labels.get(key)?))).collect();
    // With any other value the first label asks for no sidecar.
    let says_no = labels.iter().any(|(key, value)| Some(key) == mesh.namespace_labels.first() && *value != "enabled");
    if labels.is_empty() || says_no {
        return None;
    }
    let pod = PodFacts { namespace: namespace.name.to_string().into(), ..PodFacts::default() };
    let prediction = injectors.predict(&InjectorView::as_sent(&pod, namespace, mesh), mesh);
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    (prediction == InjectionPrediction::NotCalled).then(|| format!("{} ({})", namespace.name, labels.join(", ")))
}

/// Lists the first few names, and how many more there are.
fn list_first(all: Vec<String>) -> String {
    let more = all.len().saturating_sub(MAX_NAMED);
    let named = all.into_iter().take(MAX_NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}
