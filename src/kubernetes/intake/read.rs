//! Short reads of the admission path: one object by name, which counts only if its UID is the one in the reference.

use std::sync::Arc;

use futures::FutureExt;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::{Api, Client};

use crate::decision::facts::OwnerReference;
use crate::kubernetes::client::call::resource;
use crate::kubernetes::client::workload::WatchedWorkload;
use crate::kubernetes::inventory::owner_kind::{OwnerKind, ReadDepth};
use crate::kubernetes::inventory::reads::{ReadObject, ReadTarget, ShortReads};
use crate::kubernetes::inventory::{Inventory, namespace_of};

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
    let api: Api<PartialObjectMeta<DynamicObject>> =
        Api::all_with(client, &resource("", "v1", "Namespace", "namespaces"));
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
    let object = match kind.read_depth {
        ReadDepth::Metadata => {
            let api: Api<PartialObjectMeta<DynamicObject>> =
                Api::namespaced_with(client, namespace, &api_resource(kind));
            api.get_opt(&reference.name).await?.map(|object| (kind.owner(&object.metadata, None), object.metadata))
        }
        ReadDepth::Spec => {
            let workload = read_workload(client, kind, namespace, reference).await?;
            workload.map(|WatchedWorkload { metadata, spec }| {
                (kind.workload(&metadata, spec, inventory.settings.mesh), metadata)
            })
        }
    };
    let is_meant = |uid: Option<&str>| uid == Some(&*reference.uid);
    let object = object.filter(|(_, metadata)| is_meant(metadata.uid.as_deref()));
    Ok(object.map(|(owner, _)| ReadObject::Owner(reference.uid.clone(), Arc::new(owner))))
}

async fn read_selector(
    client: Client,
    inventory: &Inventory,
    namespace: &str,
    reference: &OwnerReference,
) -> kube::Result<Option<ReadObject>> {
    let Some(kind) = inventory.owner_kinds.find(&reference.group, &reference.kind) else { return Ok(None) };
    let workload = read_workload(client, kind, namespace, reference).await?;
    let workload = workload.filter(|workload| workload.metadata.uid.as_deref() == Some(&*reference.uid));
    let used = |workload: WatchedWorkload| {
        let selector = workload.spec.selector().unwrap_or_default();
        ReadObject::Selector(OwnerKind::selector_use(&selector, inventory.settings.mesh))
    };
    Ok(workload.map(used))
}

async fn read_workload(
    client: Client,
    kind: &OwnerKind,
    namespace: &str,
    reference: &OwnerReference,
) -> kube::Result<Option<WatchedWorkload>> {
    Api::<WatchedWorkload>::namespaced_with(client, namespace, &api_resource(kind)).get_opt(&reference.name).await
}

fn api_resource(kind: &OwnerKind) -> kube::api::ApiResource {
    resource(&kind.group, &kind.version, &kind.kind, &kind.plural)
}
