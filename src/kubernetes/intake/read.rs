//! The short reads of the admission path: one object by name, which counts only if its UID is the one that was named.

use std::sync::Arc;

use futures::FutureExt;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::{Api, Client};

use crate::decision::facts::OwnerReference;
use crate::kubernetes::client::call::resource;
use crate::kubernetes::client::workload::Workload;
use crate::kubernetes::inventory::owner_kind::{OwnerKind, Read};
use crate::kubernetes::inventory::reads::{Found, Reads, Wanted};
use crate::kubernetes::inventory::{Inventory, namespace_of};

/// Reads from the API server what the inventory does not know yet.
pub fn reads(client: Client, inventory: Arc<Inventory>) -> Reads {
    Reads::new(Box::new(move |wanted| read(client.clone(), Arc::clone(&inventory), wanted).boxed()))
}

async fn read(client: Client, inventory: Arc<Inventory>, wanted: Wanted) -> Result<Option<Found>, String> {
    let found = match wanted {
        Wanted::Namespace(name) => namespace(client, &inventory, &name).await,
        Wanted::Owner(namespace, reference) => owner(client, &inventory, &namespace, &reference).await,
        Wanted::Selector(namespace, reference) => selector(client, &inventory, &namespace, &reference).await,
    };
    found.map_err(|error| error.to_string())
}

async fn namespace(client: Client, inventory: &Inventory, name: &str) -> kube::Result<Option<Found>> {
    let api: Api<PartialObjectMeta<DynamicObject>> =
        Api::all_with(client, &resource("", "v1", "Namespace", "namespaces"));
    let object = api.get_opt(name).await?;
    Ok(object.map(|object| Found::Namespace(Arc::new(namespace_of(&object.metadata, inventory.settings.mesh)))))
}

async fn owner(
    client: Client,
    inventory: &Inventory,
    namespace: &str,
    reference: &OwnerReference,
) -> kube::Result<Option<Found>> {
    let Some(kind) = inventory.owner_kinds.named(&reference.group, &reference.kind) else { return Ok(None) };
    let found = match kind.read {
        Read::Metadata => {
            let api: Api<PartialObjectMeta<DynamicObject>> = Api::namespaced_with(client, namespace, &of(kind));
            api.get_opt(&reference.name).await?.map(|object| (kind.owner(&object.metadata, None), object.metadata))
        }
        Read::Spec => {
            let workload = workload(client, kind, namespace, reference).await?;
            workload
                .map(|Workload { metadata, spec }| (kind.workload(&metadata, spec, inventory.settings.mesh), metadata))
        }
    };
    let is_meant = |uid: Option<&str>| uid == Some(&*reference.uid);
    let found = found.filter(|(_, metadata)| is_meant(metadata.uid.as_deref()));
    Ok(found.map(|(owner, _)| Found::Owner(reference.uid.clone(), Arc::new(owner))))
}

async fn selector(
    client: Client,
    inventory: &Inventory,
    namespace: &str,
    reference: &OwnerReference,
) -> kube::Result<Option<Found>> {
    let Some(kind) = inventory.owner_kinds.named(&reference.group, &reference.kind) else { return Ok(None) };
    let workload = workload(client, kind, namespace, reference).await?;
    let workload = workload.filter(|workload| workload.metadata.uid.as_deref() == Some(&*reference.uid));
    let used = |workload: Workload| {
        let selector = workload.spec.selector().unwrap_or_default();
        Found::Selector(OwnerKind::selector_use(&selector, inventory.settings.mesh))
    };
    Ok(workload.map(used))
}

async fn workload(
    client: Client,
    kind: &OwnerKind,
    namespace: &str,
    reference: &OwnerReference,
) -> kube::Result<Option<Workload>> {
    Api::<Workload>::namespaced_with(client, namespace, &of(kind)).get_opt(&reference.name).await
}

fn of(kind: &OwnerKind) -> kube::api::ApiResource {
    resource(&kind.group, &kind.version, &kind.kind, &kind.plural)
}
