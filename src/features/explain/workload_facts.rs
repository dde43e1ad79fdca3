//! Facts of the next new pod of a workload, and whether a rule selects the workload.

use std::sync::Arc;

use crate::decision::facts::{Facts, Owner, PodFacts, RequestKind};
use crate::decision::policy::{MatchResult, PodMatcher};
use crate::decision::selector::Selector;
use crate::kubernetes::inventory::{DecisionRequest, Inventory};

/// Determines whether a rule selects a workload; `None` where that is not known, for instance because its template is not read.
///
/// `without_template` is the result of [`without_template_parts`] for the same matcher.
pub fn selects_workload(
    matcher: &PodMatcher,
    without_template: Option<&PodMatcher>,
    facts: &Facts<'_>,
    workload: &Owner,
) -> Option<bool> {
    let fallback = without_template.filter(|_| workload.template.is_none());
    match fallback.unwrap_or(matcher).matches(facts) {
        MatchResult::No(_) => Some(false),
        MatchResult::Yes if fallback.is_none() => Some(true),
        MatchResult::Yes | MatchResult::Unknown(_) => None,
    }
}

/// Returns the matcher without the parts that look at pod templates; `None` if it has no such parts.
pub fn without_template_parts(matcher: &PodMatcher) -> Option<PodMatcher> {
    let PodMatcher { pod_selector, service_accounts, .. } = matcher;
    let needs_template = !pod_selector.selects_all() || !service_accounts.is_empty();
    needs_template.then(|| PodMatcher {
        pod_selector: Selector::default(),
        service_accounts: Vec::new(),
        ..matcher.clone()
    })
}

/// Calls `ask` with the facts of the next new pod of a workload.
pub fn with_new_pod_facts<T>(inventory: &Inventory, workload: &Arc<Owner>, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
    let empty = PodFacts { namespace: (&*workload.namespace).into(), ..PodFacts::default() };
    match &workload.template {
        Some(template) => ask(&inventory.facts_for_template(workload, template)),
        None => ask(&inventory.facts_without_template(workload, &empty)),
    }
}

/// Calls `ask` with the facts of a new pod of this namespace that has no marker, override or owner.
pub fn with_unmarked_pod_facts<T>(inventory: &Inventory, namespace: &str, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
    let pod = PodFacts { namespace: namespace.into(), ..PodFacts::default() };
    let kind = &RequestKind::PodCreate;
    let request = DecisionRequest { kind, pod: &pod, controller: None, requester_is_trusted: true };
    ask(&inventory.facts_for(request, &[]))
}

/// Returns the kind, namespace and name of a workload, as sentences quote them.
pub fn workload_title(workload: &Owner) -> String {
    let Owner { kind, name, namespace, .. } = workload;
    format!("{kind} {namespace}/{name}")
}
