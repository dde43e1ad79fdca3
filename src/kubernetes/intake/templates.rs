//! Templates of what is watched as metadata: of the few that nobody above them controls, each is read once for each generation.
//!
//! There are very many ReplicaSets and Jobs, and nearly all belong to a Deployment or a CronJob, whose template tells of their
//! pods. The others are workloads of their own. Cost: one read at a time; where one fails, the pauses grow, and the inventory
//! says meanwhile that it does not know them all.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::decision::facts::{Owner, Template};
use crate::kubernetes::client::READ_TIMEOUT;
use crate::kubernetes::client::call::resource;
use crate::kubernetes::client::workload::Workload;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::OwnerKind;

/// Pauses after a read that failed.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The templates of one kind.
pub(crate) struct Templates<'t> {
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
    /// Of the last generation that was read.
    template: Option<Box<Template>>,
    is_read: bool,
}

impl<'t> Templates<'t> {
    pub(crate) fn new(inventory: &'t Inventory, kind: &'t OwnerKind) -> Self {
        Self { inventory, kind, known: Mutex::default(), wanted: Notify::new() }
    }

    /// What is kept of an object, with its template if it has one of its own and that is read.
    pub(crate) fn owner(&self, metadata: &ObjectMeta) -> Owner {
        let owner = self.kind.owner(metadata, None);
        let uid = metadata.uid.as_deref().unwrap_or_default();
        if !self.is_on_its_own(&owner) {
            self.forget(uid);
            return owner;
        }
        let (namespace, name) = (owner.namespace.to_string(), owner.name.to_string());
        self.change(|known| {
            let wanted = Known { namespace, name, generation: metadata.generation, template: None, is_read: false };
            let known = known.entry(uid.into()).or_insert(wanted);
            known.is_read &= known.generation == metadata.generation;
            known.generation = metadata.generation;
            Owner { template: known.template.clone(), ..owner }
        })
    }

    /// It is no more.
    pub(crate) fn forget(&self, uid: &str) {
        self.change(|known| known.remove(uid));
    }

    /// Forgets what the inventory no longer has.
    pub(crate) fn forget_others(&self) {
        self.change(|known| known.retain(|uid, _| self.inventory.owners.get(uid).is_some()));
    }

    /// Reads what is wanted, for ever.
    pub(crate) async fn read(&self, client: Client) {
        let kind = self.kind;
        let resource = resource(&kind.group, &kind.version, &kind.kind, &kind.plural);
        let (mut pause, mut last) = (PAUSES.0, Box::default());
        loop {
            let Some((uid, namespace, name)) = self.next(&last) else {
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
            last = uid;
        }
    }

    /// Who nobody that we read is above, which could tell.
    fn is_on_its_own(&self, owner: &Owner) -> bool {
        let above = owner.controller.as_ref();
        self.kind.has_template()
            && above.is_none_or(|above| self.inventory.owner_kinds.named(&above.group, &above.kind).is_none())
    }

    /// The next that is wanted, in turn, so that one that cannot be read keeps none of the others.
    fn next(&self, last: &str) -> Option<(Box<str>, String, String)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let after = known.range::<str, _>((Bound::Excluded(last), Bound::Unbounded));
        let (uid, wanted) = after.chain(&*known).find(|(_, known)| !known.is_read)?;
        Some((uid.clone(), wanted.namespace.clone(), wanted.name.clone()))
    }

    /// Keeps what was read, if it is still what was wanted.
    fn found(&self, uid: &str, found: Option<Workload>) {
        let found = found.filter(|workload| workload.metadata.uid.as_deref() == Some(uid));
        let Some(Workload { metadata, spec }) = found else { return self.forget(uid) };
        let owner = self.kind.workload(&metadata, spec, self.inventory.settings.mesh);
        let is_wanted = self.change(|known| {
            known.get_mut(uid).map(|known| {
                (known.generation, known.is_read) = (metadata.generation, true);
                known.template.clone_from(&owner.template);
            })
        });
        if is_wanted.is_some() {
            self.inventory.keep_owner(uid, owner);
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<Box<str>, Known>) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut known);
        let unread = known.values().filter(|known| !known.is_read).count();
        self.inventory.owner_kinds.set_unread(self.kind, unread);
        if unread > 0 {
            self.wanted.notify_one();
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use serde_json::json;

    use super::*;
    use crate::decision::facts::Settings;
    use crate::kubernetes::inventory::owner_kind::{OwnerKinds, Served};

    fn inventory() -> Inventory {
        Inventory::new(Settings::usual(), OwnerKinds::default(), Vec::new())
    }

    fn job(uid: &str, generation: i64, above: Option<&str>) -> ObjectMeta {
        let owner = |kind: &str| OwnerReference {
            api_version: "batch/v1".to_owned(),
            kind: kind.to_owned(),
            name: "above".to_owned(),
            uid: "above".to_owned(),
            controller: Some(true),
            ..OwnerReference::default()
        };
        ObjectMeta {
            uid: Some(uid.to_owned()),
            name: Some(format!("job-{uid}")),
            namespace: Some("shop".to_owned()),
            generation: Some(generation),
            owner_references: above.map(|kind| vec![owner(kind)]),
            ..ObjectMeta::default()
        }
    }

    fn read(metadata: ObjectMeta) -> Workload {
        let spec = json!({"template": {"metadata": {"labels": {"app": "job"}}}});
        Workload { metadata, spec: serde_json::from_value(spec).unwrap() }
    }

    #[test]
    fn what_is_on_its_own_is_read_once_for_each_generation_and_each_in_turn() {
        let inventory = inventory();
        let kind = inventory.owner_kinds.named("batch", "Job").unwrap();
        inventory.owner_kinds.set_served(kind, Served::Yes);
        let templates = Templates::new(&inventory, kind);
        let keep = |metadata: &ObjectMeta| {
            let owner = templates.owner(metadata);
            inventory.owners.insert(metadata.uid.clone().unwrap(), owner);
        };
        let has_template = |uid: &str| inventory.owners.get(uid).unwrap().template.is_some();
        let next = |last: &str| templates.next(last).map(|(uid, _, name)| (uid.into_string(), name));
        let is_unread = || inventory.unread().iter().any(|one| one == "jobs");

        [job("a", 1, None), job("b", 1, Some("CronJob")), job("c", 1, Some("Workflow"))].iter().for_each(keep);
        assert!(is_unread());
        let (a, c) = (Some(("a".to_owned(), "job-a".to_owned())), Some(("c".to_owned(), "job-c".to_owned())));
        assert_eq!([next(""), next("a"), next("c")], [a.clone(), c.clone(), a], "b belongs to a CronJob");
        templates.found("a", Some(read(job("a", 1, None))));
        assert_eq!((has_template("a"), next("a")), (true, c));
        keep(&job("a", 1, None));
        assert!(has_template("a"), "its status alone has changed");
        keep(&job("a", 2, None));
        assert_eq!((has_template("a"), next("c").unwrap().0), (true, "a".to_owned()), "until the new one is read");
        templates.found("a", Some(read(job("another", 2, None))));
        keep(&job("a", 2, None));
        assert!(!has_template("a"), "one of the same name is another");
        assert_eq!(next("").unwrap().0, "a");
        templates.forget("a");
        templates.forget("c");
        assert_eq!((next(""), is_unread()), (None, false));
        templates.found("c", Some(read(job("c", 1, None))));
        assert!(!has_template("c"), "what has gone meanwhile is not kept");
    }
}
