//! Templates of what is watched as metadata: of the few that nobody above them controls, each is read once for each generation.
//!
//! There are very many ReplicaSets and Jobs, and nearly all belong to a Deployment or a CronJob, whose template tells of their
//! pods. The others are workloads of their own. Cost: one read at a time; where one fails, the pauses grow, and the inventory
//! says meanwhile that it does not know them all.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::READ_TIMEOUT;
use super::watch::resource;
use super::workload::Workload;
use crate::decision::facts::{Owner, Template};
use crate::inventory::Inventory;
use crate::inventory::owner_kind::OwnerKind;

/// Pauses after a read that failed.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The templates of one kind.
pub(super) struct Templates<'t> {
    inventory: &'t Inventory,
    kind: &'t OwnerKind,
    /// By UID.
    known: Mutex<BTreeMap<Box<str>, Known>>,
    wanted: Notify,
}

struct Known {
    namespace: String,
    name: String,
    generation: Option<i64>,
    /// None until it is read; what is read may have none.
    template: Option<Option<Box<Template>>>,
}

impl<'t> Templates<'t> {
    pub(super) fn new(inventory: &'t Inventory, kind: &'t OwnerKind) -> Self {
        Self { inventory, kind, known: Mutex::default(), wanted: Notify::new() }
    }

    /// What is kept of an object, with its template if it has one of its own and that is read.
    pub(super) fn owner(&self, metadata: &ObjectMeta) -> Owner {
        let owner = self.kind.owner(metadata, None);
        let uid = metadata.uid.as_deref().unwrap_or_default();
        if !self.is_on_its_own(&owner) {
            self.forget(uid);
            return owner;
        }
        self.change(|known| match known.get(uid).filter(|known| known.generation == metadata.generation) {
            Some(known) => Owner { template: known.template.clone().flatten(), ..owner },
            None => {
                let (namespace, name) = (owner.namespace.to_string(), owner.name.to_string());
                let wanted = Known { namespace, name, generation: metadata.generation, template: None };
                known.insert(uid.into(), wanted);
                owner
            }
        })
    }

    /// It is no more.
    pub(super) fn forget(&self, uid: &str) {
        self.change(|known| known.remove(uid));
    }

    /// Forgets what the inventory no longer has.
    pub(super) fn forget_others(&self) {
        self.change(|known| known.retain(|uid, _| self.inventory.owners.get(uid).is_some()));
    }

    /// Reads what is wanted, for ever.
    pub(super) async fn read(&self, client: Client) {
        let kind = self.kind;
        let resource = resource(&kind.group, &kind.version, &kind.kind, &kind.plural);
        let mut pause = PAUSES.0;
        loop {
            let Some((uid, namespace, name)) = self.next() else {
                self.wanted.notified().await;
                continue;
            };
            let api: Api<Workload> = Api::namespaced_with(client.clone(), &namespace, &resource);
            match timeout(READ_TIMEOUT, api.get_opt(&name)).await {
                Ok(Ok(found)) => {
                    self.found(&uid, found);
                    pause = PAUSES.0;
                }
                failed => {
                    debug!(kind = kind.kind, namespace, name, "its template cannot be read: {failed:?}");
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Who nobody that we read is above, which could tell.
    fn is_on_its_own(&self, owner: &Owner) -> bool {
        let above = owner.controller.as_ref();
        self.kind.has_template()
            && above.is_none_or(|above| self.inventory.owner_kinds.named(&above.group, &above.kind).is_none())
    }

    fn next(&self) -> Option<(Box<str>, String, String)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (uid, wanted) = known.iter().find(|(_, known)| known.template.is_none())?;
        Some((uid.clone(), wanted.namespace.clone(), wanted.name.clone()))
    }

    /// Keeps what was read, if it is still what was wanted.
    fn found(&self, uid: &str, found: Option<Workload>) {
        let found = found.filter(|workload| workload.metadata.uid.as_deref() == Some(uid));
        let Some(Workload { metadata, spec }) = found else { return self.forget(uid) };
        let owner = self.kind.workload(&metadata, spec, self.inventory.settings.mesh);
        let is_wanted = self.change(|known| {
            known.get_mut(uid).map(|known| {
                known.generation = metadata.generation;
                known.template = Some(owner.template.clone());
            })
        });
        if is_wanted.is_some() {
            self.inventory.owners.insert(uid, owner);
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<Box<str>, Known>) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut known);
        let unread = known.values().filter(|known| known.template.is_none()).count();
        self.inventory.owner_kinds.set_unread(self.kind, unread);
        if unread > 0 {
            self.wanted.notify_one();
        }
        changed
    }
}
