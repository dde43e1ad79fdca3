//! Short reads of the admission path: one object by name, which counts only if its UID is the one in the reference.

use std::sync::Arc;

use futures::FutureExt;
use kube::{Api, Client};

use super::kinds::{IntakeKind, MetadataObject};
use crate::decision::facts::{Owner, OwnerReference};
use crate::kubernetes::client::workload::WatchedWorkload;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::metadata::namespace_of;
use crate::kubernetes::inventory::owner_kind::OwnerKind;
use crate::kubernetes::inventory::reads::{ReadObject, ReadTarget, ShortReads};

/// Creates the reads of objects that the inventory does not know yet.
pub fn short_reads(client: Client, inventory: Arc<Inventory>) -> ShortReads {
    ShortReads::new(Box::new(move |target| read(client.clone(), Arc::clone(&inventory), target).boxed()))
}

async fn read(client: Client, inventory: Arc<Inventory>, target: ReadTarget) -> Result<Option<ReadObject>, String> {
    let object = match target {
        ReadTarget::Namespace(name) => read_namespace(client, &inventory, &name).await,
        ReadTarget::Owner(namespace, reference) => read_owner(client, &inventory, &namespace, &reference).await,
        ReadTarget::Selector(namespace, reference) => read_selector(client, &inventory, &namespace, &reference).await,
    };
    object.map_err(|error| error.to_string())
}

async fn read_namespace(client: Client, inventory: &Inventory, name: &str) -> kube::Result<Option<ReadObject>> {
    let api: Api<MetadataObject> = Api::all_with(client, &IntakeKind::Namespaces.resource());
    let object = api.get_opt(name).await?;
    Ok(object.map(|object| ReadObject::Namespace(Arc::new(namespace_of(&object.metadata, inventory.settings.mesh)))))
}

async fn read_owner(
    client: Client,
    inventory: &Inventory,
    namespace: &str,
    reference: &OwnerReference,
) -> kube::Result<Option<ReadObject>> {
    let Some(kind) = inventory.owner_kinds.find(&reference.group, &reference.kind) else { return Ok(None) };
    let workload = read_workload(client, kind, namespace, reference).await?;
    Ok(workload.map(|WatchedWorkload { metadata, spec }| {
        // Decisions about a pod that exists need no template.
        let owner = Owner { template: None, ..kind.workload(&metadata, spec, inventory.settings.mesh) };
        ReadObject::Owner(reference.uid.clone(), Arc::new(owner))
    }))
}

async fn read_selector(
    client: Client,
    inventory: &Inventory,
    namespace: &str,
    reference: &OwnerReference,
) -> kube::Result<Option<ReadObject>> {
    let Some(kind) = inventory.owner_kinds.find(&reference.group, &reference.kind) else { return Ok(None) };
    let workload = read_workload(client, kind, namespace, reference).await?;
    Ok(workload.map(|workload| {
        let selector = workload.spec.selector().unwrap_or_default();
        ReadObject::Selector(OwnerKind::selector_use(&selector, inventory.settings.mesh))
    }))
}

/// Reads the workload that a reference names, if it has the UID of the reference.
async fn read_workload(
    client: Client,
    kind: &OwnerKind,
    namespace: &str,
    reference: &OwnerReference,
) -> kube::Result<Option<WatchedWorkload>> {
    let resource = IntakeKind::Owners(kind.clone()).resource();
    let api: Api<WatchedWorkload> = Api::namespaced_with(client, namespace, &resource);
    let workload = api.get_opt(&reference.name).await?;
    Ok(workload.filter(|workload| workload.metadata.uid.as_deref() == Some(&*reference.uid)))
}
