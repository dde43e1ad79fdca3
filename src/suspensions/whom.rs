//! Whom a suspension is about: the workloads whose new pods get no sidecar, and the suspensions that are about them too.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::decision::facts::Owner;
use crate::decision::policy::Matching;
use crate::decision::reason::{Rule as Reason, Safety};
use crate::decision::{decide_with, suspension};
use crate::inventory::Inventory;
use crate::inventory::rules::{Rule, Terms};
use crate::overview::about::{is_about, of_new_pod, without_template};
use crate::resources::suspension_object::{State, SuspensionObject};

/// Whom a suspension of injection is about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Whom {
    /// The workloads, by namespace.
    pub workloads: Vec<Arc<Owner>>,
    /// Further ones of which it cannot be told, since their templates are not read.
    pub unknown: usize,
    /// Other suspensions of injection that are about some of these workloads too and are not over: their names, in words.
    /// A pod is suspended as long as any of them holds.
    pub also: Vec<String>,
}

impl Whom {
    /// The namespaces of these workloads.
    pub fn namespaces(&self) -> BTreeSet<&str> {
        self.workloads.iter().map(|workload| &*workload.namespace).collect()
    }
}

/// Whom this suspension of injection would be about, written as it is; nobody if it cannot be read.
pub fn whom(inventory: &Inventory, suspension: &SuspensionObject, terms: &Terms, now: Timestamp) -> Whom {
    let Ok((_, suspension::Suspension { matching, .. })) = suspension.compiled(terms.longest_suspension) else {
        return Whom::default();
    };
    let others = others(inventory, suspension, now);
    let mut whom = Whom::default();
    let mut also = BTreeSet::new();
    let concerned = |workload: &Owner| suspension.namespace.as_deref().is_none_or(|own| *workload.namespace == *own);
    let (with, without) = (inventory.workloads(), inventory.workloads_without_template());
    for workload in with.into_iter().chain(without).filter(|workload| concerned(workload)) {
        match is_meant(inventory, &workload, &matching, now) {
            Some(false) => {}
            None => whom.unknown += 1,
            Some(true) => {
                let meets = |(other, matching): &&(String, Matching)| {
                    !also.contains(other) && is_meant(inventory, &workload, matching, now) != Some(false)
                };
                also.extend(others.iter().filter(meets).map(|(other, _)| other.clone()).collect::<Vec<_>>());
                whom.workloads.push(workload);
            }
        }
    }
    whom.workloads.sort_by(|left, right| {
        (&left.namespace, &left.kind, &left.name).cmp(&(&right.namespace, &right.kind, &right.name))
    });
    whom.also = also.into_iter().collect();
    whom
}

fn is_meant(inventory: &Inventory, workload: &Arc<Owner>, matching: &Matching, now: Timestamp) -> Option<bool> {
    of_new_pod(inventory, workload, |facts| {
        let decision = decide_with(facts, now, None);
        if matches!(decision.rule, Reason::Safety(safety) if safety != Safety::WaitsForProxy) {
            return Some(false);
        }
        is_about(matching, without_template(matching).as_ref(), facts, workload)
    })
}

/// The other suspensions of injection that are not over, in words, and whom they match.
fn others(inventory: &Inventory, suspension: &SuspensionObject, now: Timestamp) -> Vec<(String, Matching)> {
    let mut others = Vec::new();
    for (kind, name, rule) in inventory.rules.all() {
        let Rule::Suspension(compiled) = rule else { continue };
        let standing = inventory.standings.get(kind, &name);
        let Some((object, period)) = standing.as_ref().and_then(|one| Some((one.suspension.as_ref()?, one.period?)))
        else {
            continue;
        };
        let is_itself = object.name == suspension.name && object.namespace == suspension.namespace;
        if is_itself || period.state(now) == State::Over {
            continue;
        }
        // One of another namespace can meet none of these workloads.
        let mut matching = compiled.matching;
        if let Some(namespace) = &object.namespace {
            if suspension.namespace.as_ref().is_some_and(|own| own != namespace) {
                continue;
            }
            matching.include = vec![crate::decision::selector::Glob::new(namespace.as_str())];
        }
        others.push((object.named(), matching));
    }
    others
}
