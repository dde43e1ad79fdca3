//! Intake of namespaces.

use std::collections::HashSet;

use super::{ClusterIntake, IntakeKind, KindIntake, MetadataObject};
use crate::decision::facts::NamespaceFacts;
use crate::kernel::clock::Clock;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::metadata::namespace_of;

pub(crate) struct NamespaceIntake<'i> {
    pub(crate) inventory: &'i Inventory,
}

impl KindIntake for NamespaceIntake<'_> {
    type Object = MetadataObject;
    type Batch = HashSet<Box<str>>;

    fn stage(&self, listed: &mut Self::Batch, object: MetadataObject) -> Result<(), String> {
        let namespace = self.with_label_time(namespace_of(&object.metadata, self.inventory.settings.mesh));
        listed.insert(namespace.name.clone());
        self.inventory.namespaces.insert(namespace.name.clone(), namespace);
        Ok(())
    }

    fn commit(&self, listed: Self::Batch) {
        self.inventory.namespaces.retain(&listed, |_| true);
        self.inventory.namespaces.set_synced();
    }
}

impl ClusterIntake for NamespaceIntake<'_> {
    fn kind(&self) -> IntakeKind {
        IntakeKind::Namespaces
    }

    fn remove(&self, MetadataObject { metadata }: &MetadataObject) {
        self.inventory.namespaces.remove(metadata.name.as_deref().unwrap_or_default());
    }

    fn unlisted(&self, _: bool) -> Option<&'static str> {
        Some("namespace labels and overrides are unknown, and so is every effect")
    }
}

impl NamespaceIntake<'_> {
    /// Returns the namespace with the time at which we saw its labels change. The API server records no time for a
    /// removed label.
    fn with_label_time(&self, namespace: NamespaceFacts) -> NamespaceFacts {
        let Some(before) = self.inventory.namespaces.get(&namespace.name) else { return namespace };
        let before = before.namespace();
        let seen = if before.labels == namespace.labels { before.labelled_at } else { Some(Clock::System.now()) };
        NamespaceFacts { labelled_at: namespace.labelled_at.max(seen), ..namespace }
    }
}
