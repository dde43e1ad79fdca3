//! Running pods by the workload that made them.

use std::collections::HashMap;
use std::iter::Sum;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::decision::effect::Consequence;
use crate::decision::facts::{Facts, Owner, RunningPod};
use crate::features::status::comparison::PodComparison;
use crate::kubernetes::inventory::Inventory;

/// Namespace, kind and name of a workload.
pub type WorkloadKey = (Arc<str>, Arc<str>, Box<str>);

/// Running pods by workload, in order of their names. Pods that are being deleted are only counted.
#[derive(Debug, Default)]
pub struct RunningPods {
    by_workload: HashMap<WorkloadKey, WorkloadPods>,
    bare: Vec<Arc<RunningPod>>,
    namespace: Option<Box<str>>,
    are_known: bool,
}

#[derive(Debug, Default)]
struct WorkloadPods {
    running: Vec<Arc<RunningPod>>,
    terminating: usize,
}

/// Sidecars of a workload's running pods, counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Counts")]
pub struct PodCounts {
    /// Number of pods that have not run to their end.
    pub pods: usize,
    /// Number of those pods that have a sidecar.
    pub with_sidecar: usize,
    /// Number of those pods that differ from a new one; absent where the effect is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differing: Option<usize>,
}

pub fn workload_key(workload: &Owner) -> WorkloadKey {
    (workload.namespace.clone(), workload.kind.clone(), workload.name.clone())
}

impl RunningPods {
    /// Sorts the inventory's pods by the outermost owner whose template made them.
    pub fn from_inventory(inventory: &Inventory) -> Self {
        Self::in_namespace(inventory, None)
    }

    /// Sorts the pods of one namespace, or of all namespaces.
    pub fn in_namespace(inventory: &Inventory, namespace: Option<&str>) -> Self {
        let is_counted =
            |pod: &RunningPod| !pod.is_finished && namespace.is_none_or(|namespace| pod.pod.namespace == namespace);
        let were_known = inventory.pods.is_synced();
        let pods = inventory.pods.filter(is_counted);
        // The pods may have been forgotten, or have become known, while they were gathered.
        let are_known = were_known && inventory.pods.is_synced();
        let mut running = Self { namespace: namespace.map(Into::into), are_known, ..Self::default() };
        for pod in pods {
            let of_workload =
                inventory.workload_of(&pod).map(|workload| running.by_workload.entry(workload_key(&workload)));
            match (of_workload, pod.is_terminating) {
                (Some(of_workload), true) => of_workload.or_default().terminating += 1,
                (Some(of_workload), false) => of_workload.or_default().running.push(pod),
                (None, true) => {}
                (None, false) => running.bare.push(pod),
            }
        }
        // The inventory has pods in no order.
        let lists = running.by_workload.values_mut().map(|of| &mut of.running).chain([&mut running.bare]);
        for pods in lists {
            pods.sort_by(|left, right| (&left.pod.namespace, &left.name).cmp(&(&right.pod.namespace, &right.name)));
        }
        running
    }

    /// Returns whether these are all running pods: `false` until pods are read.
    pub fn are_known(&self) -> bool {
        self.are_known
    }

    /// Returns the only namespace that was looked at; `None` for all.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    pub fn pods_of(&self, workload: &Owner) -> &[Arc<RunningPod>] {
        self.pods_of_key(&workload_key(workload))
    }

    pub fn pods_of_key(&self, workload: &WorkloadKey) -> &[Arc<RunningPod>] {
        self.by_workload.get(workload).map_or(&[], |of| &of.running)
    }

    /// Counts the pods of a workload that are being deleted.
    pub fn count_terminating(&self, workload: &WorkloadKey) -> usize {
        self.by_workload.get(workload).map_or(0, |of| of.terminating)
    }

    /// Returns the pods that no known workload made.
    pub fn bare(&self) -> &[Arc<RunningPod>] {
        &self.bare
    }
}

impl PodCounts {
    /// Counts pods, and compares each with a new pod that has these facts.
    pub fn count(pods: &[Arc<RunningPod>], facts: &Facts<'_>, consequence: &Consequence<'_>) -> Self {
        let PodComparison { pods, with_sidecar, differing, is_certain } =
            PodComparison::compare(pods, facts, consequence);
        Self { pods, with_sidecar, differing: is_certain.then_some(differing.len()) }
    }
}

impl<'c> Sum<&'c PodCounts> for PodCounts {
    /// Adds counts up. The differing pods are unknown if those of any workload with pods are.
    fn sum<I: Iterator<Item = &'c PodCounts>>(counts: I) -> Self {
        let zero = Self { pods: 0, with_sidecar: 0, differing: Some(0) };
        counts.filter(|one| one.pods > 0).fold(zero, |sum, one| Self {
            pods: sum.pods + one.pods,
            with_sidecar: sum.with_sidecar + one.with_sidecar,
            differing: sum.differing.zip(one.differing).map(|(left, right)| left + right),
        })
    }
}
