//! Pod templates of objects that are watched as metadata only, such as ReplicaSets and Jobs.
//!
//! There are very many of them, and nearly all belong to a Deployment or a CronJob, whose template describes their
//! pods. The few without such an owner are workloads of their own, and the template of each is read once for each
//! generation. Cost: one read at a time. After a failed read the pauses grow, and the inventory reports meanwhile that
//! it does not know all templates.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::decision::facts::{Owner, PodTemplate};
use crate::kubernetes::client::READ_TIMEOUT;
use crate::kubernetes::client::call::resource;
use crate::kubernetes::client::workload::WatchedWorkload;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::OwnerKind;

/// Shortest and longest pause after a failed read.
const PAUSE_RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Templates of the standalone workloads of one kind.
pub(crate) struct StandaloneTemplates<'t> {
    inventory: &'t Inventory,
    kind: &'t OwnerKind,
    /// Entries by UID.
    entries: Mutex<BTreeMap<Box<str>, TemplateEntry>>,
    unread_added: Notify,
}

struct TemplateEntry {
    namespace: String,
    name: String,
    generation: Option<i64>,
    /// Template of the last generation that was read.
    template: Option<Box<PodTemplate>>,
    is_read: bool,
}

impl<'t> StandaloneTemplates<'t> {
    pub(crate) fn new(inventory: &'t Inventory, kind: &'t OwnerKind) -> Self {
        Self { inventory, kind, entries: Mutex::default(), unread_added: Notify::new() }
    }

    /// Returns the inventory's view of an object, with its template if it is standalone and the template is read.
    pub(crate) fn owner(&self, metadata: &ObjectMeta) -> Owner {
        let owner = self.kind.owner(metadata, None);
        let uid = metadata.uid.as_deref().unwrap_or_default();
        if !self.is_standalone(&owner) {
            self.forget(uid);
            return owner;
        }
        let (namespace, name) = (owner.namespace.to_string(), owner.name.to_string());
        self.change(|entries| {
            let new =
                TemplateEntry { namespace, name, generation: metadata.generation, template: None, is_read: false };
            let entry = entries.entry(uid.into()).or_insert(new);
            entry.is_read &= entry.generation == metadata.generation;
            entry.generation = metadata.generation;
            Owner { template: entry.template.clone(), ..owner }
        })
    }

    pub(crate) fn forget(&self, uid: &str) {
        self.change(|entries| entries.remove(uid));
    }

    /// Forgets the objects that the inventory no longer has.
    pub(crate) fn forget_missing(&self) {
        self.change(|entries| entries.retain(|uid, _| self.inventory.owners.get(uid).is_some()));
    }

    /// Reads unread templates, for ever.
    pub(crate) async fn read_unread(&self, client: Client) {
        let kind = self.kind;
        let resource = resource(&kind.group, &kind.version, &kind.kind, &kind.plural);
        let (mut pause, mut last) = (PAUSE_RANGE.0, Box::default());
        loop {
            let Some((uid, namespace, name)) = self.next_unread(&last) else {
                self.unread_added.notified().await;
                continue;
            };
            let api: Api<WatchedWorkload> = Api::namespaced_with(client.clone(), &namespace, &resource);
            match timeout(READ_TIMEOUT, api.get_opt(&name)).await {
                Ok(Ok(workload)) => {
                    self.store(&uid, workload);
                    pause = PAUSE_RANGE.0;
                }
                failed => {
                    debug!(
                        kind = kind.kind,
                        namespace, name, "cannot read the pod template of {namespace}/{name}: {failed:?}"
                    );
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_RANGE.1);
                }
            }
            last = uid;
        }
    }

    /// Returns whether no owner above this one is of a kind that we read, and could describe the pods.
    fn is_standalone(&self, owner: &Owner) -> bool {
        let above = owner.controller.as_ref();
        self.kind.has_template()
            && above.is_none_or(|above| self.inventory.owner_kinds.find(&above.group, &above.kind).is_none())
    }

    /// Returns the next unread entry after `last`, in turn, so that an unreadable one does not block the others.
    fn next_unread(&self, last: &str) -> Option<(Box<str>, String, String)> {
        let entries = self.entries.lock();
        let after = entries.range::<str, _>((Bound::Excluded(last), Bound::Unbounded));
        let (uid, unread) = after.chain(&*entries).find(|(_, entry)| !entry.is_read)?;
        Some((uid.clone(), unread.namespace.clone(), unread.name.clone()))
    }

    /// Stores a template that was read, unless the object has been replaced or forgotten meanwhile.
    fn store(&self, uid: &str, workload: Option<WatchedWorkload>) {
        let workload = workload.filter(|workload| workload.metadata.uid.as_deref() == Some(uid));
        let Some(WatchedWorkload { metadata, spec }) = workload else { return self.forget(uid) };
        let owner = self.kind.workload(&metadata, spec, self.inventory.settings.mesh);
        let stored = self.change(|entries| {
            entries.get_mut(uid).map(|entry| {
                (entry.generation, entry.is_read) = (metadata.generation, true);
                entry.template.clone_from(&owner.template);
            })
        });
        if stored.is_some() {
            self.inventory.insert_owner(uid, owner);
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<Box<str>, TemplateEntry>) -> T) -> T {
        let mut entries = self.entries.lock();
        let changed = change(&mut entries);
        let unread = entries.values().filter(|entry| !entry.is_read).count();
        self.inventory.owner_kinds.set_unread_templates(self.kind, unread);
        if unread > 0 {
            self.unread_added.notify_one();
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use serde_json::json;

    use super::*;
    use crate::decision::facts::DecisionSettings;
    use crate::kubernetes::inventory::owner_kind::{KindAvailability, OwnerKinds};

    fn inventory() -> Inventory {
        Inventory::new(DecisionSettings::usual(), OwnerKinds::default(), Vec::new())
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

    fn read(metadata: ObjectMeta) -> WatchedWorkload {
        let spec = json!({"template": {"metadata": {"labels": {"app": "job"}}}});
        WatchedWorkload { metadata, spec: serde_json::from_value(spec).unwrap() }
    }

    #[test]
    fn what_is_on_its_own_is_read_once_for_each_generation_and_each_in_turn() {
        let inventory = inventory();
        let kind = inventory.owner_kinds.find("batch", "Job").unwrap();
        inventory.owner_kinds.set_availability(kind, KindAvailability::Filled);
        let templates = StandaloneTemplates::new(&inventory, kind);
        let keep = |metadata: &ObjectMeta| {
            let owner = templates.owner(metadata);
            inventory.owners.insert(metadata.uid.clone().unwrap(), owner);
        };
        let has_template = |uid: &str| inventory.owners.get(uid).unwrap().template.is_some();
        let next = |last: &str| templates.next_unread(last).map(|(uid, _, name)| (uid.into_string(), name));
        let is_unread = || inventory.unread_caches().iter().any(|one| one == "jobs");

        [job("a", 1, None), job("b", 1, Some("CronJob")), job("c", 1, Some("Workflow"))].iter().for_each(keep);
        assert!(is_unread());
        let (a, c) = (Some(("a".to_owned(), "job-a".to_owned())), Some(("c".to_owned(), "job-c".to_owned())));
        assert_eq!([next(""), next("a"), next("c")], [a.clone(), c.clone(), a], "b belongs to a CronJob");
        templates.store("a", Some(read(job("a", 1, None))));
        assert_eq!((has_template("a"), next("a")), (true, c));
        keep(&job("a", 1, None));
        assert!(has_template("a"), "its status alone has changed");
        keep(&job("a", 2, None));
        assert_eq!((has_template("a"), next("c").unwrap().0), (true, "a".to_owned()), "until the new one is read");
        templates.store("a", Some(read(job("another", 2, None))));
        keep(&job("a", 2, None));
        assert!(!has_template("a"), "one of the same name is another");
        assert_eq!(next("").unwrap().0, "a");
        templates.forget("a");
        templates.forget("c");
        assert_eq!((next(""), is_unread()), (None, false));
        templates.store("c", Some(read(job("c", 1, None))));
        assert!(!has_template("c"), "what has gone meanwhile is not kept");
    }
}
