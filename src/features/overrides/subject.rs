//! Subjects of an override: workloads and namespaces.

use std::sync::Arc;

use crate::decision::facts::{NamespaceFacts, Owner};
use crate::kernel::text::sanitize;
use crate::kubernetes::inventory::Inventory;

/// Workload or namespace that an override is written on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverrideSubject {
    /// An object that owns pods, directly or through other objects.
    Workload(Arc<Owner>),
    Namespace(Arc<NamespaceFacts>),
}

impl OverrideSubject {
    /// Returns the namespace with this name, if it is known.
    pub fn find_namespace(inventory: &Inventory, name: &str) -> Option<Self> {
        inventory.namespaces.get(name).map(|entry| Self::Namespace(Arc::new(entry.namespace().clone())))
    }

    pub fn kind(&self) -> &str {
        match self {
            Self::Workload(owner) => &owner.kind,
            Self::Namespace(_) => "Namespace",
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Workload(owner) => &owner.name,
            Self::Namespace(namespace) => &namespace.name,
        }
    }

    /// Returns the namespace of a workload, or the name of a namespace.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Workload(owner) => &owner.namespace,
            Self::Namespace(namespace) => &namespace.name,
        }
    }

    /// Returns the name for sentences, such as `Deployment shop/web`.
    pub fn describe(&self) -> String {
        match self {
            Self::Workload(owner) => {
                format!("{} {}/{}", sanitize(&owner.kind), sanitize(&owner.namespace), sanitize(&owner.name))
            }
            Self::Namespace(namespace) => format!("namespace {}", sanitize(&namespace.name)),
        }
    }

    /// Whether this owner of a pod is the subject.
    pub(super) fn matches_owner(&self, owner: &Owner) -> bool {
        match self {
            Self::Workload(own) => {
                (&own.group, &own.kind, &own.namespace, &own.name)
                    == (&owner.group, &owner.kind, &owner.namespace, &owner.name)
            }
            Self::Namespace(_) => false,
        }
    }
}

/// Returns the workloads that can have an override, sorted: all owners of pods but gateways and controlled ReplicaSets.
pub fn overridable_workloads(inventory: &Inventory, is_included: impl Fn(&Owner) -> bool) -> Vec<Arc<Owner>> {
    let can_have = |owner: &Arc<Owner>| !owner.is_gateway && !is_controlled_replica_set(owner) && is_included(owner);
    let mut workloads: Vec<_> = inventory.owners.all().into_iter().filter(can_have).collect();
    fn key(owner: &Owner) -> (&str, &str, &str) {
        (&owner.namespace, &owner.kind, &owner.name)
    }
    workloads.sort_by(|left, right| key(left).cmp(&key(right)));
    workloads
}

/// Whether this owner is a ReplicaSet with a controller. Its annotations are copies that outlive their original, so they are
/// no override.
pub fn is_controlled_replica_set(owner: &Owner) -> bool {
    &*owner.kind == "ReplicaSet" && owner.controller.is_some()
}
