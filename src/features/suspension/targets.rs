//! The targets of a suspension of injection: workloads whose new pods get no sidecar, and other suspensions of the same workloads.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::decision::decide_with;
use crate::decision::facts::Owner;
use crate::decision::policy::PodMatcher;
use crate::decision::reason::{DecisionRule as Reason, SafetyRule};
use crate::decision::suspension::{InjectionSuspension, SuspensionSet};
use crate::kernel::names::{CLUSTER_SUSPENSION_POLICY, SUSPENSION_POLICY};
use crate::kernel::text::CleanText;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rules::RuleLimits;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Workloads to which a suspension of injection applies.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SuspensionTargets {
    /// Sorted by namespace, kind and name.
    pub workloads: Vec<Arc<Owner>>,
    /// Number of workloads that may be targets: their pod templates are not read.
    pub unknown: usize,
    /// Names of other suspensions of injection that apply to some of these workloads and are not over, `MOST_NAMED` at most.
    /// A pod stays suspended as long as any of them is in force.
    pub overlapping: Vec<String>,
}

impl SuspensionTargets {
    pub fn namespaces(&self) -> BTreeSet<&str> {
        self.workloads.iter().map(|workload| &*workload.namespace).collect()
    }
}

/// Limit of the other suspensions that are named.
const MOST_NAMED: usize = 5;

/// Finds the workloads to which this suspension of injection would apply; none if its spec is invalid.
pub fn find_targets(
    inventory: &Inventory,
    suspension: &SuspensionObject,
    terms: &RuleLimits,
    now: Timestamp,
) -> SuspensionTargets {
    let Ok((_, InjectionSuspension { matcher: matching, .. })) = suspension.compile(terms.longest_suspension) else {
        return SuspensionTargets::default();
    };
    let all = inventory.rules.suspensions();
    let search =
        TargetSearch { inventory, now, matching: &matching, others: unexpired_others(all.as_deref(), suspension, now) };
    let mut targets = SuspensionTargets::default();
    let mut also = BTreeSet::new();
    let in_scope = |workload: &Owner| suspension.namespace.as_deref().is_none_or(|own| *workload.namespace == *own);
    let (with, without) = (inventory.workloads(), inventory.workloads_without_template());
    for workload in with.into_iter().chain(without).filter(|workload| in_scope(workload)) {
        match search.is_target(&workload, &mut also) {
            Some(false) => {}
            None => targets.unknown += 1,
            Some(true) => targets.workloads.push(workload),
        }
    }
    fn key(owner: &Owner) -> (&str, &str, &str) {
        (&owner.namespace, &owner.kind, &owner.name)
    }
    targets.workloads.sort_by(|left, right| key(left).cmp(&key(right)));
    let more = also.len().saturating_sub(MOST_NAMED);
    targets.overlapping = also.into_iter().take(MOST_NAMED).map(|position| describe(search.others[position])).collect();
    if more > 0 {
        targets.overlapping.push(format!("{more} more"));
    }
    targets
}

struct TargetSearch<'l> {
    inventory: &'l Inventory,
    now: Timestamp,
    matching: &'l PodMatcher,
    others: Vec<&'l InjectionSuspension>,
}

impl TargetSearch<'_> {
    /// Decides whether a workload is a target, `None` if unknown; for a certain target, adds the other suspensions of it to `also`.
    fn is_target(&self, workload: &Arc<Owner>, also: &mut BTreeSet<usize>) -> Option<bool> {
        let Self { inventory, now, matching, others } = self;
        inventory.with_new_pod_facts(workload, |facts| {
            let decision = decide_with(facts, *now, None);
            if matches!(decision.rule, Reason::Safety(safety) if safety != SafetyRule::WaitsForProxy) {
                return Some(false);
            }
            let meant = matching.selects_workload(facts, workload);
            if meant == Some(true) {
                let concerns = |other: &InjectionSuspension| {
                    let own = other.namespace.as_deref().is_none_or(|namespace| *namespace == *workload.namespace);
                    own && other.matcher.selects_workload(facts, workload) != Some(false)
                };
                also.extend((0..others.len()).filter(|position| concerns(others[*position])));
            }
            meant
        })
    }
}

/// Returns the other suspensions of injection that are not over.
fn unexpired_others<'s>(
    all: Option<&'s SuspensionSet>,
    suspension: &SuspensionObject,
    now: Timestamp,
) -> Vec<&'s InjectionSuspension> {
    let Some(all) = all else { return Vec::new() };
    let mut others: Vec<&InjectionSuspension> = all.cluster().iter().collect();
    match &suspension.namespace {
        Some(namespace) => others.extend(all.in_namespace(namespace)),
        None => others.extend(all.namespaced()),
    }
    others.retain(|other| {
        let is_itself =
            *other.name == *suspension.name && other.namespace.as_deref() == suspension.namespace.as_deref();
        !is_itself && other.ends_at.is_none_or(|end| now < end)
    });
    others
}

/// Describes a compiled suspension for a sentence.
fn describe(InjectionSuspension { name, namespace, .. }: &InjectionSuspension) -> String {
    match namespace {
        Some(namespace) => format!("{} {}/{}", SUSPENSION_POLICY.kind, CleanText(namespace), CleanText(name)),
        None => format!("{} {}", CLUSTER_SUSPENSION_POLICY.kind, CleanText(name)),
    }
}
