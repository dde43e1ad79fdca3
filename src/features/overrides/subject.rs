//! Whom a change is about: a workload, or a namespace.

use std::sync::Arc;

use crate::decision::facts::{Namespace, Owner};
use crate::kernel::text::sanitized;
use crate::kubernetes::inventory::Inventory;

/// Whom a change is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An object that owns pods, at whatever remove.
    Workload(Arc<Owner>),
    /// A namespace.
    Namespace(Arc<Namespace>),
}

impl Subject {
    /// The namespace of this name, if it is known.
    pub fn namespace_named(inventory: &Inventory, name: &str) -> Option<Self> {
        inventory.namespaces.get(name).map(|entry| Self::Namespace(Arc::new(entry.namespace().clone())))
    }

    /// Its kind.
    pub fn kind(&self) -> &str {
        match self {
            Self::Workload(owner) => &owner.kind,
            Self::Namespace(_) => "Namespace",
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Workload(owner) => &owner.name,
            Self::Namespace(namespace) => &namespace.name,
        }
    }

    /// The namespace that it is in, or is.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Workload(owner) => &owner.namespace,
            Self::Namespace(namespace) => &namespace.name,
        }
    }

    /// How sentences name it.
    pub fn named(&self) -> String {
        match self {
            Self::Workload(owner) => {
                format!("{} {}/{}", sanitized(&owner.kind), sanitized(&owner.namespace), sanitized(&owner.name))
            }
            Self::Namespace(namespace) => format!("namespace {}", sanitized(&namespace.name)),
        }
    }

    /// Whether this owner of a pod is the one that is meant.
    pub(super) fn is(&self, owner: &Owner) -> bool {
        match self {
            Self::Workload(own) => {
                (&own.group, &own.kind, &own.namespace, &own.name)
                    == (&owner.group, &owner.kind, &owner.namespace, &owner.name)
            }
            Self::Namespace(_) => false,
        }
    }
}

/// Everything in these namespaces that can have an override: each owner of pods that is no gateway and no copy of another's.
pub fn workloads(inventory: &Inventory, is_meant: impl Fn(&Owner) -> bool) -> Vec<Arc<Owner>> {
    let can_have = |owner: &Arc<Owner>| !owner.is_gateway && !is_copy(owner) && is_meant(owner);
    let mut found: Vec<_> = inventory.owners.all().into_iter().filter(can_have).collect();
    fn key(owner: &Owner) -> (&str, &str, &str) {
        (&owner.namespace, &owner.kind, &owner.name)
    }
    found.sort_by(|left, right| key(left).cmp(&key(right)));
    found
}

/// Whether the annotations of this owner are copies of another's, which outlive their original and are no override.
pub fn is_copy(owner: &Owner) -> bool {
    &*owner.kind == "ReplicaSet" && owner.controller.is_some()
}
