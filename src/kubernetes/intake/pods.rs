//! Pods, trimmed while they are decoded, and followed only while somebody wants them.
//!
//! Cost: of pods that one template made, only what tells them apart; of each list, one page at a time.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use kube::runtime::watcher;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client};
use serde::Deserialize;
use tracing::{debug, warn};

use crate::decision::facts::{Pod, RunningPod};
use crate::decision::mesh::Mesh;
use crate::kubernetes::client::any_kind::of_any_kind;
use crate::kubernetes::client::call::resource;
use crate::kubernetes::intake::follow::{Trouble, follow};
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::workload::PodObject;
use crate::metrics::Metrics;

/// A pod that has run to its end has a sidecar no more.
const RUNNING: &str = "status.phase!=Succeeded,status.phase!=Failed";
/// Pods of 85 KB are nothing special, and a page is held as text.
const PAGE: u32 = 200;

/// Keeps the pods while somebody wants them, and forgets them when nobody does.
pub async fn pods(client: Client, inventory: Arc<Inventory>, metrics: Metrics) {
    loop {
        inventory.pods_wanted.begun().await;
        tokio::select! {
            () = kept(client.clone(), &inventory, &metrics) => {}
            () = inventory.pods_wanted.ended() => {}
        }
        inventory.pods.forget();
        metrics.pods_unread.set(0);
        debug!("nobody wants the pods any more");
    }
}

async fn kept(client: Client, inventory: &Inventory, metrics: &Metrics) {
    let api: Api<PodResource> = Api::all_with(client, &resource("", "v1", "Pod", "pods"));
    let (mut keeping, mesh) = (Keeping::default(), inventory.settings.mesh);
    let keep = |event: Event<PodResource>| {
        if !matches!(event, Event::Init | Event::InitApply(_)) {
            metrics.pods_unread.set(0);
        }
        keeping.keep(inventory, mesh, event);
    };
    let told = |trouble: Trouble| {
        if trouble == Trouble::Forbidden {
            metrics.pods_unread.set(1);
            warn!(
                "we may not list pods: what running pods have is not known, and drift is not found; apply what `outrigger install` prints"
            );
        }
        trouble == Trouble::Forbidden
    };
    follow("pods", watcher(api, Config::default().fields(RUNNING).page_size(PAGE)), keep, told).await;
}

#[derive(Debug, Default)]
struct Keeping {
    listed: HashSet<Box<str>>,
    alike: Alike,
}

impl Keeping {
    fn keep(&mut self, inventory: &Inventory, mesh: &Mesh, event: Event<PodResource>) {
        let pods = &inventory.pods;
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(PodResource(object)) => {
                let pod = self.alike.shared(object.running(mesh));
                self.listed.insert(pod.uid.clone());
                pods.insert(pod.uid.clone(), pod);
            }
            Event::Apply(PodResource(object)) => {
                let pod = self.alike.shared(object.running(mesh));
                pods.insert(pod.uid.clone(), pod);
            }
            Event::Delete(PodResource(object)) => pods.remove(object.metadata.uid.as_deref().unwrap_or_default()),
            Event::InitDone => {
                pods.retain(&std::mem::take(&mut self.listed), |_| true);
                pods.set_synced();
                debug!(count = pods.len(), "the pods are known");
            }
        }
    }
}

/// What the pods of one owner have in common, by its UID, kept once.
#[derive(Debug, Default)]
struct Alike {
    known: HashMap<Box<str>, Weak<Pod<'static>>>,
    /// At so many, those whose pods are gone are forgotten.
    full_at: usize,
}

impl Alike {
    /// This pod, with the parts of another of the same owner where they are the same.
    fn shared(&mut self, pod: RunningPod) -> RunningPod {
        let Some(owner) = &pod.controller else { return pod };
        let known = self.known.get(&owner.uid).and_then(Weak::upgrade);
        if let Some(known) = known.filter(|known| *known == pod.pod) {
            return RunningPod { pod: known, ..pod };
        }
        if self.known.len() >= self.full_at {
            self.known.retain(|_, pod| pod.strong_count() > 0);
            self.full_at = 2 * self.known.len() + 1024;
        }
        self.known.insert(owner.uid.clone(), Arc::downgrade(&pod.pod));
        pod
    }
}

/// A pod as a resource.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct PodResource(pub(super) PodObject);

of_any_kind!(PodResource, 0.metadata);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decision::mesh::MESHES;

    fn pod(name: &str, owner: &str, app: &str) -> RunningPod {
        let object = json!({
            "metadata": {
                "name": name, "uid": name, "namespace": "shop", "labels": {"app": app},
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": owner, "controller": true},
                ],
            },
            "spec": {"containers": [{"name": "main"}]},
        });
        let PodResource(object) = serde_json::from_value(object).unwrap();
        object.running(&MESHES[0])
    }

    #[test]
    fn pods_of_one_owner_share_what_is_the_same_and_no_more() {
        let mut alike = Alike::default();
        let [first, second, other, changed] =
            [("a", "set", "web"), ("b", "set", "web"), ("c", "other", "web"), ("d", "set", "changed")]
                .map(|(name, owner, app)| alike.shared(pod(name, owner, app)));
        assert!(Arc::ptr_eq(&first.pod, &second.pod) && first.name != second.name);
        assert!(!Arc::ptr_eq(&first.pod, &other.pod) && !Arc::ptr_eq(&first.pod, &changed.pod));
        assert_eq!(changed.pod.label("app"), Some("changed"));
        drop((first, second, changed));
        alike.full_at = 0;
        let _new = alike.shared(pod("e", "new", "web"));
        assert_eq!(alike.known.len(), 2, "what no pod has any more is forgotten");
    }
}
