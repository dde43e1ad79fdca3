//! Sources of new pods: the workloads, and the pods without a known workload.

use std::sync::Arc;

use crate::decision::facts::{Facts, Owner, RunningPod};
use crate::features::status::running::RunningPods;
use crate::kubernetes::inventory::Inventory;

/// Source of new pods: a workload, or a pod without a known workload.
#[derive(Debug, Clone)]
pub struct PodSource {
    kind: PodSourceKind,
    /// Number of running pods; `None` where pods are not known.
    pub pods: Option<usize>,
}

#[derive(Debug, Clone)]
enum PodSourceKind {
    /// Workload, which makes pods from its template.
    Workload(Arc<Owner>),
    /// Pod without a known workload; its maker would make it again.
    Pod(Arc<RunningPod>),
}

/// Returns the sources of new pods in all namespaces: workloads, and pods without a known workload.
pub fn pod_sources(inventory: &Inventory) -> Vec<PodSource> {
    pod_sources_with(inventory, &RunningPods::from_inventory(inventory))
}

/// Returns the sources of new pods in the namespace of `running`, or in all namespaces if it holds all running pods.
pub fn pod_sources_with(inventory: &Inventory, running: &RunningPods) -> Vec<PodSource> {
    let counted = running.are_known();
    let workload = |workload: Arc<Owner>| {
        let pods = counted.then(|| running.pods_of(&workload).len());
        PodSource { kind: PodSourceKind::Workload(workload), pods }
    };
    let pod =
        |pod: &Arc<RunningPod>| PodSource { kind: PodSourceKind::Pod(Arc::clone(pod)), pods: counted.then_some(1) };
    let workloads = inventory.workloads_in(running.namespace()).into_iter().map(workload);
    workloads.chain(running.bare().iter().map(pod)).collect()
}

impl PodSource {
    /// Returns the workload; `None` for a pod without a known workload.
    pub fn workload(&self) -> Option<&Arc<Owner>> {
        match &self.kind {
            PodSourceKind::Workload(workload) => Some(workload),
            PodSourceKind::Pod(_) => None,
        }
    }

    pub fn namespace(&self) -> &str {
        match &self.kind {
            PodSourceKind::Workload(workload) => &workload.namespace,
            PodSourceKind::Pod(pod) => &pod.pod.namespace,
        }
    }

    /// Returns the kind of the workload, or `Pod`.
    pub fn kind(&self) -> &str {
        match &self.kind {
            PodSourceKind::Workload(workload) => &workload.kind,
            PodSourceKind::Pod(_) => "Pod",
        }
    }

    pub fn name(&self) -> &str {
        match &self.kind {
            PodSourceKind::Workload(workload) => &workload.name,
            PodSourceKind::Pod(pod) => &pod.name,
        }
    }

    /// Selects the running pods that came from this source.
    pub fn running_pods<'r>(&'r self, running: &'r RunningPods) -> &'r [Arc<RunningPod>] {
        match &self.kind {
            PodSourceKind::Workload(workload) => running.pods_of(workload),
            PodSourceKind::Pod(pod) => std::slice::from_ref(pod),
        }
    }

    /// Calls `ask` with the facts of a new pod from this source.
    pub fn with_facts<T>(&self, inventory: &Inventory, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
        match &self.kind {
            PodSourceKind::Workload(workload) => inventory.with_new_pod_facts(workload, ask),
            PodSourceKind::Pod(running) => inventory.with_running_pod_facts(running, ask),
        }
    }
}
