//! What stands between rules and their effect: findings about injectors, namespaces and rules. Pure.

use serde::Serialize;

use crate::decision::effect::Why;
use crate::decision::facts::{Namespace, Pod};
use crate::decision::injector::{Injectors, Prediction, View};
use crate::decision::mesh::{Injector, Mesh};
use crate::kernel::names::WEBHOOK_CONFIGURATION;
use crate::kubernetes::inventory::Inventory;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in one word.
    pub check: &'static str,
    /// How it is.
    pub state: State,
    /// What was found, in one sentence.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum State {
    /// As it should be.
    Good,
    /// It may be meant so.
    Warning,
    /// It keeps rules from having their effect.
    Problem,
}

/// How many of a kind are named before only their number is told.
const NAMED: usize = 5;

impl Finding {
    /// Something that is as it should be.
    pub fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: State::Good, found: found.into(), advice: None }
    }

    /// Something that may be meant so.
    pub fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: State::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    /// Something that keeps rules from having their effect.
    pub fn problem(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: State::Problem, found: found.into(), advice: Some(advice.into()) }
    }
}

/// What can be told from the inventory alone.
pub fn findings(inventory: &Inventory) -> Vec<Finding> {
    let mesh = inventory.settings.mesh;
    let mut findings = vec![rules(inventory)];
    match inventory.injectors.get() {
        _ if mesh.injector == Injector::Unread => {
            findings.push(Finding::warning(
                "injector",
                Why::Mesh(mesh).to_string(),
                "effects are Unknown with this mesh",
            ));
        }
        None => findings.push(Finding::warning(
            "injector",
            "the webhook configurations are not known",
            "without the right to list them every effect is Unknown",
        )),
        Some(injectors) => {
            findings.push(order(&injectors));
            findings.push(installed(&injectors, mesh));
            findings.push(namespaces(inventory, &injectors));
        }
    }
    findings
}

fn rules(inventory: &Inventory) -> Finding {
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
    let found = format!("{} cannot be read and decide nothing: {}", invalid.len(), some(named.collect()));
    Finding::problem("rules", found, "mend or delete them")
}

/// Whether an injector is asked before us.
fn order(injectors: &Injectors) -> Finding {
    let mut before: Vec<_> = injectors.entries().iter().filter(|entry| entry.runs_before_us).collect();
    before.dedup_by_key(|entry| &entry.configuration);
    if before.is_empty() {
        return Finding::good("order", format!("{WEBHOOK_CONFIGURATION} sorts before every injector's configuration"));
    }
    let named = before.iter().map(|entry| entry.configuration.to_string()).collect();
    let found =
        format!("the API server calls {} before {WEBHOOK_CONFIGURATION}: it does not see what we write", some(named));
    Finding::problem("order", found, "give that configuration a name that sorts after ours, byte by byte")
}

fn installed(injectors: &Injectors, mesh: &'static Mesh) -> Finding {
    if injectors.entries().is_empty() {
        let found = Why::NoInjector(mesh).to_string();
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

/// Namespaces whose labels ask for a sidecar and reach no injector.
fn namespaces(inventory: &Inventory, injectors: &Injectors) -> Finding {
    if !inventory.namespaces.is_synced() {
        return Finding::warning("namespaces", "the namespaces are not known", "without them every effect is Unknown");
    }
    let mesh = inventory.settings.mesh;
    let mut namespaces: Vec<_> = inventory.namespaces.all();
    namespaces.sort_by(|left, right| left.namespace().name.cmp(&right.namespace().name));
    let excluded =
        |namespace: &Namespace| inventory.settings.excluded_namespaces.iter().any(|one| **one == *namespace.name);
    let in_vain = namespaces.iter().map(|entry| entry.namespace()).filter(|namespace| !excluded(namespace));
    let in_vain: Vec<_> = in_vain.filter_map(|namespace| asks_in_vain(namespace, injectors, mesh)).collect();
    if in_vain.is_empty() {
        return Finding::good("namespaces", "every namespace that asks for sidecars reaches an injector");
    }
    let found = format!("{} ask for sidecars and reach no injector: {}", in_vain.len(), some(in_vain));
    Finding::warning("namespaces", found, "label them for a revision or tag that is installed")
}

fn asks_in_vain(namespace: &Namespace, injectors: &Injectors, mesh: &Mesh) -> Option<String> {
    let labels: Vec<_> =
        mesh.namespace_labels.iter().filter_map(|key| Some((*key, namespace.labels.get(key)?))).collect();
    // With any other value the first label asks for no sidecar.
    let says_no = labels.iter().any(|(key, value)| Some(key) == mesh.namespace_labels.first() && *value != "enabled");
    if labels.is_empty() || says_no {
        return None;
    }
    let pod = Pod { namespace: namespace.name.to_string().into(), ..Pod::default() };
    let prediction = injectors.predict(&View::sent(&pod, namespace, mesh), mesh);
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    (prediction == Prediction::NotCalled).then(|| format!("{} ({})", namespace.name, labels.join(", ")))
}

/// The first few, and how many more there are.
fn some(all: Vec<String>) -> String {
    let more = all.len().saturating_sub(NAMED);
    let named = all.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}
