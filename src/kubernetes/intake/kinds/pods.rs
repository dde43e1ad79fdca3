//! Intake of pods, which are trimmed while they are decoded.
//!
//! Cost: of pods that one template made, only the differing parts.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::Deserialize;
use tracing::warn;

use super::{ClusterIntake, IntakeKind, KindIntake};
use crate::decision::facts::{PodFacts, RunningPod};
use crate::kubernetes::client::any_kind::of_any_kind;
use crate::kubernetes::intake::follow::WatchFailure;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::workload::PodObject;
use crate::metrics::Metrics;

pub(crate) struct PodIntake<'i> {
    inventory: &'i Inventory,
    /// Metrics of a watch.
    metrics: Option<&'i Metrics>,
    shared_parts: Mutex<SharedPodParts>,
}

impl<'i> PodIntake<'i> {
    pub(crate) fn new(inventory: &'i Inventory, metrics: Option<&'i Metrics>) -> Self {
        Self { inventory, metrics, shared_parts: Mutex::default() }
    }

    fn record_access(&self, is_forbidden: bool) {
        if let Some(metrics) = self.metrics {
            metrics.pods_unread.set(is_forbidden.into());
        }
    }
}

impl KindIntake for PodIntake<'_> {
    type Object = PodResource;
    type Batch = HashSet<Box<str>>;

    fn stage(&self, listed: &mut Self::Batch, PodResource(object): PodResource) -> Result<(), String> {
        self.record_access(false);
        let pod = self.shared_parts.lock().deduplicate(object.running_pod(self.inventory.settings.mesh));
        listed.insert(pod.uid.clone());
        self.inventory.pods.insert(pod.uid.clone(), pod);
        Ok(())
    }

    fn commit(&self, listed: Self::Batch) {
        self.record_access(false);
        self.inventory.pods.retain(&listed, |_| true);
        self.inventory.pods.set_synced();
    }
}

impl ClusterIntake for PodIntake<'_> {
    fn kind(&self) -> IntakeKind {
        IntakeKind::Pods
    }

    fn remove(&self, PodResource(object): &PodResource) {
        self.record_access(false);
        self.inventory.pods.remove(object.metadata.uid.as_deref().unwrap_or_default());
    }

    fn absent(&self, failure: WatchFailure) -> bool {
        if failure != WatchFailure::Forbidden {
            return false;
        }
        self.record_access(true);
        warn!("outrigger may not list pods, so drift is not found; apply the output of `outrigger install`");
        true
    }

    fn unlisted(&self, _: bool) -> Option<&'static str> {
        Some("sidecars of running pods are unknown")
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
pub(crate) struct PodResource(PodObject);

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
