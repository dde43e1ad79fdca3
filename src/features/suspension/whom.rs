//! Whom a suspension is about: the workloads whose new pods get no sidecar, and the suspensions that are about them too.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::decision::decide_with;
use crate::decision::facts::Owner;
use crate::decision::policy::Matching;
use crate::decision::reason::{Rule as Reason, Safety};
use crate::decision::suspension::{Suspension, Suspensions};
use crate::features::explain::about::{is_about, of_new_pod, without_template};
use crate::kernel::text::Clean;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rules::Terms;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Whom a suspension of injection is about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Whom {
    /// The workloads, by namespace.
    pub workloads: Vec<Arc<Owner>>,
    /// Further ones of which it cannot be told, since their templates are not read.
    pub unknown: usize,
    /// Other suspensions of injection that are about some of these workloads too and are not over: a few of their names.
    /// A pod is suspended as long as any of them holds.
    pub also: Vec<String>,
}

impl Whom {
    /// The namespaces of these workloads.
    pub fn namespaces(&self) -> BTreeSet<&str> {
        self.workloads.iter().map(|workload| &*workload.namespace).collect()
    }
}

/// So many other suspensions are named.
const MOST_NAMED: usize = 5;

/// Whom this suspension of injection would be about, written as it is; nobody if it cannot be read.
pub fn whom(inventory: &Inventory, suspension: &SuspensionObject, terms: &Terms, now: Timestamp) -> Whom {
    let Ok((_, Suspension { matching, .. })) = suspension.compiled(terms.longest_suspension) else {
        return Whom::default();
    };
    let all = inventory.rules.suspensions();
    let looking = Looking {
        inventory,
        now,
        without: without_template(&matching),
        matching: &matching,
        others: others(all.as_deref(), suspension, now),
    };
    let mut whom = Whom::default();
    let mut also = BTreeSet::new();
    let concerned = |workload: &Owner| suspension.namespace.as_deref().is_none_or(|own| *workload.namespace == *own);
    let (with, without) = (inventory.workloads(), inventory.workloads_without_template());
    for workload in with.into_iter().chain(without).filter(|workload| concerned(workload)) {
        match looking.is_meant(&workload, &mut also) {
            Some(false) => {}
            None => whom.unknown += 1,
            Some(true) => whom.workloads.push(workload),
        }
    }
    fn key(owner: &Owner) -> (&str, &str, &str) {
        (&owner.namespace, &owner.kind, &owner.name)
    }
    whom.workloads.sort_by(|left, right| key(left).cmp(&key(right)));
    let more = also.len().saturating_sub(MOST_NAMED);
    whom.also = also.into_iter().take(MOST_NAMED).map(|position| named(looking.others[position])).collect();
    if more > 0 {
        whom.also.push(format!("{more} more"));
    }
    whom
}

struct Looking<'l> {
    inventory: &'l Inventory,
    now: Timestamp,
    matching: &'l Matching,
    without: Option<Matching>,
    others: Vec<&'l Suspension>,
}

impl Looking<'_> {
    /// Whether it is about a workload; of those that it is about for certain, which others are about them too.
    fn is_meant(&self, workload: &Arc<Owner>, also: &mut BTreeSet<usize>) -> Option<bool> {
        let Self { inventory, now, matching, without, others } = self;
        of_new_pod(inventory, workload, |facts| {
            let decision = decide_with(facts, *now, None);
            if matches!(decision.rule, Reason::Safety(safety) if safety != Safety::WaitsForProxy) {
                return Some(false);
            }
            let meant = is_about(matching, without.as_ref(), facts, workload);
            if meant == Some(true) {
                let concerns = |other: &Suspension| {
                    let own = other.namespace.as_deref().is_none_or(|namespace| *namespace == *workload.namespace);
                    own && is_about(&other.matching, without_template(&other.matching).as_ref(), facts, workload)
                        != Some(false)
                };
                also.extend((0..others.len()).filter(|position| concerns(others[*position])));
            }
            meant
        })
    }
}

/// The other suspensions of injection that are not over.
fn others<'s>(all: Option<&'s Suspensions>, suspension: &SuspensionObject, now: Timestamp) -> Vec<&'s Suspension> {
    let Some(all) = all else { return Vec::new() };
    let mut others: Vec<&Suspension> = all.cluster().iter().collect();
    match &suspension.namespace {
        Some(namespace) => others.extend(all.of_namespace(namespace)),
        None => others.extend(all.namespaced()),
    }
    others.retain(|other| {
        let is_itself =
            *other.name == *suspension.name && other.namespace.as_deref() == suspension.namespace.as_deref();
        !is_itself && other.ends_at.is_none_or(|end| now < end)
    });
    others
}

/// How sentences name a compiled suspension.
fn named(Suspension { name, namespace, .. }: &Suspension) -> String {
    match namespace {
        Some(namespace) => format!("SuspensionPolicy {}/{}", Clean(namespace), Clean(name)),
        None => format!("ClusterSuspensionPolicy {}", Clean(name)),
    }
}
