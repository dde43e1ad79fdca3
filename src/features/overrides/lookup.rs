//! Lookup of subjects: one by its kind and name, or all that a selector matches.

use std::sync::Arc;

use thiserror::Error;

use super::subject::{OverrideSubject, is_controlled_replica_set, overridable_workloads};
use crate::decision::facts::Owner;
use crate::decision::selector::Selector;
use crate::kernel::text::{CleanText, nearest_word};
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::{KindAvailability, OwnerKind};

/// Name of one subject, as a user gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectQuery<'q> {
    Namespace(&'q str),
    Workload {
        namespace: &'q str,
        /// Kind, plural or short name in upper or lower case, with or without its group.
        kind: &'q str,
        name: &'q str,
    },
}

/// Reason why no subject is found, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LookupRefusal {
    #[error("{0}")]
    NotFound(String),
    /// The inventory does not have the objects of this kind.
    #[error("{0} could not be read yet; try again in a moment")]
    StillReading(String),
    /// The object exists, or may exist, but has no override of its own.
    #[error("{0}")]
    Invalid(String),
}

/// Finds one subject.
///
/// # Errors
///
/// Fails if the subject is not known, or cannot have an override.
pub fn find_subject(inventory: &Inventory, query: SubjectQuery<'_>) -> Result<OverrideSubject, LookupRefusal> {
    match query {
        SubjectQuery::Namespace(name) => find_namespace(inventory, name),
        SubjectQuery::Workload { namespace, kind, name } => {
            find_workload(inventory, namespace, find_kind(inventory, kind)?, name)
        }
    }
}

/// Finds the namespaces that a selector matches, apart from the excluded ones.
///
/// # Errors
///
/// Fails if there is none, or namespaces are not known.
pub fn select_namespaces(inventory: &Inventory, selector: &Selector) -> Result<Vec<OverrideSubject>, LookupRefusal> {
    check_namespaces_read(inventory)?;
    let all = inventory.namespaces.all();
    let selected = all
        .iter()
        .map(|entry| entry.namespace())
        .filter(|namespace| selector.matches(&namespace.labels) && !is_excluded_namespace(inventory, &namespace.name));
    let mut subjects: Vec<_> =
        selected.map(|namespace| OverrideSubject::Namespace(Arc::new(namespace.clone()))).collect();
    subjects.sort_by(|left, right| left.name().cmp(right.name()));
    let none = "no namespace has these labels; excluded namespaces are never changed";
    require_some(subjects, || none.to_owned())
}

/// Finds the workloads that a selector matches, apart from those that other workloads make and those of excluded namespaces.
/// No kinds mean all kinds, and no namespace means all namespaces.
///
/// # Errors
///
/// Fails if there is none, or a kind is not known.
pub fn select_workloads(
    inventory: &Inventory,
    namespace: Option<&str>,
    kinds: &[&str],
    selector: &Selector,
) -> Result<Vec<OverrideSubject>, LookupRefusal> {
    let kinds = kinds.iter().map(|kind| find_kind(inventory, kind)).collect::<Result<Vec<_>, _>>()?;
    let is_selected = |owner: &Arc<Owner>| {
        namespace.is_none_or(|namespace| *owner.namespace == *namespace)
            && (kinds.is_empty() || kinds.iter().any(|kind| is_of_kind(owner, kind)))
            && selector.matches(&owner.labels)
            && !is_excluded_namespace(inventory, &owner.namespace)
    };
    let all = inventory.workloads().into_iter().chain(inventory.workloads_without_template());
    let subjects = all.filter(is_selected).map(OverrideSubject::Workload).collect();
    let place = namespace.map_or_else(String::new, |namespace| format!(" in namespace {namespace}"));
    require_some(subjects, || format!("no workload{place} matches; `outrigger status` lists the workloads"))
}

fn find_namespace(inventory: &Inventory, name: &str) -> Result<OverrideSubject, LookupRefusal> {
    if let Some(found) = OverrideSubject::find_namespace(inventory, name) {
        return Ok(found);
    }
    check_namespaces_read(inventory)?;
    let known = inventory.namespaces.all();
    let suggestion = suggest(name, known.iter().map(|entry| &*entry.namespace().name));
    Err(LookupRefusal::NotFound(format!("there is no namespace {}{suggestion}", CleanText(name))))
}

fn find_workload(
    inventory: &Inventory,
    namespace: &str,
    kind: &OwnerKind,
    name: &str,
) -> Result<OverrideSubject, LookupRefusal> {
    let in_namespace = |owner: &Owner| *owner.namespace == *namespace;
    let is_target = |owner: &Owner| is_of_kind(owner, kind) && *owner.name == *name;
    let known = overridable_workloads(inventory, in_namespace);
    if let Some(found) = known.iter().find(|owner| is_target(owner)) {
        return Ok(OverrideSubject::Workload(Arc::clone(found)));
    }
    let missing = format!("{}/{}", kind.kind.to_lowercase(), CleanText(name));
    let owners = inventory.owners.all();
    let copies =
        owners.iter().filter(|owner| in_namespace(owner) && is_target(owner) && is_controlled_replica_set(owner));
    if let Some(controller) = copies.filter_map(|copy| copy.controller.as_ref()).next() {
        let controller = format!("{}/{}", controller.kind.to_lowercase(), CleanText(&controller.name));
        return Err(LookupRefusal::Invalid(format!("{missing} belongs to {controller}; name {controller} instead")));
    }
    let known: Vec<_> = known.iter().map(|owner| format!("{}/{}", owner.kind.to_lowercase(), owner.name)).collect();
    let suggestion = suggest(&missing, known.iter().map(String::as_str));
    Err(LookupRefusal::NotFound(format!("there is no {missing} in namespace {}{suggestion}", CleanText(namespace))))
}

/// Finds a kind with or without its group, as `kubectl get -o name` writes it.
fn find_kind<'i>(inventory: &'i Inventory, typed: &str) -> Result<&'i OwnerKind, LookupRefusal> {
    let kinds = &inventory.owner_kinds;
    let typed = typed.to_lowercase();
    let (word, group) = typed.split_once('.').map_or((typed.as_str(), None), |(word, group)| (word, Some(group)));
    if ["pod", "pods", "po"].contains(&word) {
        let why = "a running pod cannot have an override; name its workload, such as deployment/web";
        return Err(LookupRefusal::Invalid(why.to_owned()));
    }
    let Some(kind) = kinds.find_by_word(word) else {
        return Err(LookupRefusal::NotFound(unknown_kind_sentence(inventory, word)));
    };
    let in_group = |one: &&OwnerKind| one.kind == kind.kind && group.is_none_or(|group| one.group == group);
    let Some(found) = kinds.iter().find(in_group) else {
        let group = CleanText(group.unwrap_or_default());
        return Err(LookupRefusal::NotFound(format!("{} is not a kind of the group {group}", kind.kind)));
    };
    if !found.has_template() {
        let why = "a gateway is not a workload; name the Deployment of the gateway";
        return Err(LookupRefusal::Invalid(why.to_owned()));
    }
    match kinds.availability(&found.group, &found.kind) {
        KindAvailability::Filled => Ok(found),
        KindAvailability::Filling => Err(LookupRefusal::StillReading(found.plural.clone())),
        KindAvailability::Absent => Err(LookupRefusal::NotFound(format!(
            "the cluster does not know the kind {} of {}",
            found.kind, found.group
        ))),
    }
}

fn unknown_kind_sentence(inventory: &Inventory, word: &str) -> String {
    let workloads = inventory.owner_kinds.iter().filter(|kind| kind.has_template());
    let known: Vec<_> = workloads.map(|kind| kind.kind.as_str()).collect();
    let lower: Vec<_> = known.iter().map(|kind| kind.to_lowercase()).collect();
    let nearest = nearest_word(word, lower.iter().map(String::as_str));
    let end = match known.iter().find(|kind| nearest.is_some_and(|nearest| kind.eq_ignore_ascii_case(nearest))) {
        Some(kind) => format!("did you mean {kind}?"),
        None => format!("the kinds are {}; --owner-kind adds one", known.join(", ")),
    };
    format!("\"{}\" is not a kind of workload; {end}", CleanText(word))
}

fn check_namespaces_read(inventory: &Inventory) -> Result<(), LookupRefusal> {
    match inventory.namespaces.is_synced() {
        true => Ok(()),
        false => Err(LookupRefusal::StillReading("namespaces".to_owned())),
    }
}

fn require_some(
    subjects: Vec<OverrideSubject>,
    why: impl FnOnce() -> String,
) -> Result<Vec<OverrideSubject>, LookupRefusal> {
    if subjects.is_empty() { Err(LookupRefusal::NotFound(why())) } else { Ok(subjects) }
}

fn is_of_kind(owner: &Owner, kind: &OwnerKind) -> bool {
    *owner.kind == *kind.kind && *owner.group == *kind.group
}

fn is_excluded_namespace(inventory: &Inventory, namespace: &str) -> bool {
    inventory.settings.excluded_namespaces.iter().any(|name| **name == *namespace)
}

fn suggest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> String {
    nearest_word(word, known).map(|nearest| format!("; did you mean {}?", CleanText(nearest))).unwrap_or_default()
}
