//! Whom a rule is about, told of workloads instead of pods.

use std::sync::Arc;

use crate::decision::facts::{Facts, Owner, Pod, RequestKind};
use crate::decision::policy::{Match, Matching};
use crate::decision::selector::Selector;
use crate::kubernetes::inventory::{Inventory, Question};

/// Whether a workload is meant; none where that cannot be told, as of one whose template is not read.
///
/// `without_template` is what [`without_template`] makes of the matching.
pub fn is_about(
    matching: &Matching,
    without_template: Option<&Matching>,
    facts: &Facts<'_>,
    workload: &Owner,
) -> Option<bool> {
    let hangs_on_template = without_template.filter(|_| workload.template.is_none());
    match hangs_on_template.unwrap_or(matching).matches(facts) {
        Match::No(_) => Some(false),
        Match::Yes if hangs_on_template.is_none() => Some(true),
        Match::Yes | Match::Unknown(_) => None,
    }
}

/// A matching without the parts that ask for what stands in a pod template, if it has such.
pub fn without_template(matching: &Matching) -> Option<Matching> {
    let Matching { pod_selector, service_accounts, .. } = matching;
    let asks = !pod_selector.selects_all() || !service_accounts.is_empty();
    asks.then(|| Matching { pod_selector: Selector::default(), service_accounts: Vec::new(), ..matching.clone() })
}

/// Asks something about the next new pod of a workload.
pub fn of_new_pod<T>(inventory: &Inventory, workload: &Arc<Owner>, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
    let empty = Pod { namespace: (&*workload.namespace).into(), ..Pod::default() };
    match &workload.template {
        Some(template) => ask(&inventory.facts_for_template(workload, template)),
        None => ask(&inventory.facts_without_template(workload, &empty)),
    }
}

/// Asks something about a new pod of this namespace that says nothing by itself.
pub fn of_unmarked_pod<T>(inventory: &Inventory, namespace: &str, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
    let pod = Pod { namespace: namespace.into(), ..Pod::default() };
    let kind = &RequestKind::PodCreate;
    let question = Question { kind, pod: &pod, controller: None, requester_is_trusted: true };
    ask(&inventory.facts_for(question, &[]))
}

/// How sentences name a workload.
pub fn told(workload: &Owner) -> String {
    let Owner { kind, name, namespace, .. } = workload;
    format!("{kind} {namespace}/{name}")
}
