//! Follows pods while they are in demand, and trims them while they are decoded.
//!
//! Cost: of pods that one template made, only the differing parts; of each list, one page at a time.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use kube::runtime::watcher;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client};
use serde::Deserialize;
use tracing::{debug, warn};

use crate::decision::facts::{PodFacts, RunningPod};
use crate::decision::mesh::Mesh;
use crate::kubernetes::client::any_kind::of_any_kind;
use crate::kubernetes::client::call::resource;
use crate::kubernetes::intake::follow::{WatchFailure, follow};
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::workload::PodObject;
use crate::metrics::Metrics;

/// Field selector of unfinished pods; a finished pod has no running sidecar.
const UNFINISHED_PODS: &str = "status.phase!=Succeeded,status.phase!=Failed";
/// Size of a page, which is held as text: pods of 85 KB are not rare.
const PAGE_SIZE: u32 = 200;

/// Keeps the pods while they are in demand, and forgets them afterwards.
pub async fn follow_pods_on_demand(client: Client, inventory: Arc<Inventory>, metrics: Metrics) {
    loop {
        inventory.pods_demand.wait_until_active().await;
        tokio::select! {
            () = follow_pods(client.clone(), &inventory, &metrics) => {}
            () = inventory.pods_demand.wait_until_idle() => {}
        }
        inventory.pods.clear();
        metrics.pods_unread.set(0);
        debug!("nobody wants the pods any more");
    }
}

async fn follow_pods(client: Client, inventory: &Inventory, metrics: &Metrics) {
    let api: Api<PodResource> = Api::all_with(client, &resource("", "v1", "Pod", "pods"));
    let (mut intake, mesh) = (PodIntake::default(), inventory.settings.mesh);
    let on_event = |event: Event<PodResource>| {
        if !matches!(event, Event::Init | Event::InitApply(_)) {
            metrics.pods_unread.set(0);
        }
        intake.apply(inventory, mesh, event);
    };
    let on_failure = |failure: WatchFailure| {
        if failure == WatchFailure::Forbidden {
            metrics.pods_unread.set(1);
            warn!(
                "we may not list pods: what running pods have is not known, and drift is not found; apply what `outrigger install` prints"
            );
        }
        failure == WatchFailure::Forbidden
    };
    follow("pods", watcher(api, Config::default().fields(UNFINISHED_PODS).page_size(PAGE_SIZE)), on_event, on_failure)
        .await;
}

#[derive(Debug, Default)]
struct PodIntake {
    listed: HashSet<Box<str>>,
    shared_parts: SharedPodParts,
}

impl PodIntake {
    fn apply(&mut self, inventory: &Inventory, mesh: &Mesh, event: Event<PodResource>) {
        let pods = &inventory.pods;
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(PodResource(object)) => {
                let pod = self.shared_parts.deduplicate(object.running_pod(mesh));
                self.listed.insert(pod.uid.clone());
                pods.insert(pod.uid.clone(), pod);
            }
            Event::Apply(PodResource(object)) => {
                let pod = self.shared_parts.deduplicate(object.running_pod(mesh));
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

/// Common parts of the pods of one owner, by its UID, kept once.
#[derive(Debug, Default)]
struct SharedPodParts {
    known: HashMap<Box<str>, Weak<PodFacts<'static>>>,
    /// Number of entries at which those without pods are removed.
    prune_at: usize,
}

impl SharedPodParts {
    /// Returns the pod, with the parts of an equal pod of the same owner.
    fn deduplicate(&mut self, pod: RunningPod) -> RunningPod {
        let Some(owner) = &pod.controller else { return pod };
        let known = self.known.get(&owner.uid).and_then(Weak::upgrade);
        if let Some(known) = known.filter(|known| *known == pod.pod) {
            return RunningPod { pod: known, ..pod };
        }
        if self.known.len() >= self.prune_at {
            self.known.retain(|_, pod| pod.strong_count() > 0);
            self.prune_at = 2 * self.known.len() + 1024;
        }
        self.known.insert(owner.uid.clone(), Arc::downgrade(&pod.pod));
        pod
    }
}

/// Pod as a resource of kube.
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
        object.running_pod(&MESHES[0])
    }

    #[test]
    fn pods_of_one_owner_share_what_is_the_same_and_no_more() {
        let mut shared_parts = SharedPodParts::default();
        let [first, second, other, changed] =
            [("a", "set", "web"), ("b", "set", "web"), ("c", "other", "web"), ("d", "set", "changed")]
                .map(|(name, owner, app)| shared_parts.deduplicate(pod(name, owner, app)));
        assert!(Arc::ptr_eq(&first.pod, &second.pod) && first.name != second.name);
        assert!(!Arc::ptr_eq(&first.pod, &other.pod) && !Arc::ptr_eq(&first.pod, &changed.pod));
        assert_eq!(changed.pod.label("app"), Some("changed"));
        drop((first, second, changed));
        shared_parts.prune_at = 0;
        let _new = shared_parts.deduplicate(pod("e", "new", "web"));
        assert_eq!(shared_parts.known.len(), 2, "what no pod has any more is forgotten");
    }
}
