//! Running pods by the workload that made them.

use std::collections::HashMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::decision::effect::{Consequence, Outcome};
use crate::decision::facts::{Facts, Owner, RunningPod};
use crate::features::status::difference::differs;
use crate::kubernetes::inventory::Inventory;

/// Names a workload: its namespace, kind and name.
pub type WorkloadKey = (Arc<str>, Arc<str>, Box<str>);

/// Running pods by workload; those that are being deleted are none any more.
#[derive(Debug, Default)]
pub struct RunningPods {
    by_workload: HashMap<WorkloadKey, OfWorkload>,
    bare: Vec<Arc<RunningPod>>,
    namespace: Option<Box<str>>,
    are_known: bool,
}

#[derive(Debug, Default)]
struct OfWorkload {
    running: Vec<Arc<RunningPod>>,
    leaving: usize,
}

/// What a workload's running pods have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Pods that have not run to their end.
    pub pods: usize,
    /// Those of them with a sidecar.
    pub with_sidecar: usize,
    /// Those of them whose sidecar is not what a new pod would get; unknown where the effect is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differing: Option<usize>,
}

/// The key of a workload.
pub fn key_of(workload: &Owner) -> WorkloadKey {
    (workload.namespace.clone(), workload.kind.clone(), workload.name.clone())
}

impl RunningPods {
    /// Sorts the inventory's pods by the outermost owner whose template made them.
    pub fn of(inventory: &Inventory) -> Self {
        Self::within(inventory, None)
    }

    /// The same of one namespace, or of all.
    pub fn within(inventory: &Inventory, namespace: Option<&str>) -> Self {
        let is_wanted =
            |pod: &RunningPod| !pod.is_finished && namespace.is_none_or(|wanted| pod.pod.namespace == wanted);
        let were_known = inventory.pods.is_synced();
        let pods = inventory.pods.those(is_wanted);
        // They may have been forgotten, or known at last, while they were gathered.
        let are_known = were_known && inventory.pods.is_synced();
        let mut running = Self { namespace: namespace.map(Into::into), are_known, ..Self::default() };
        for pod in pods {
            let of_workload = inventory.workload_of(&pod).map(|workload| running.by_workload.entry(key_of(&workload)));
            match (of_workload, pod.is_leaving) {
                (Some(of_workload), true) => of_workload.or_default().leaving += 1,
                (Some(of_workload), false) => of_workload.or_default().running.push(pod),
                (None, true) => {}
                (None, false) => running.bare.push(pod),
            }
        }
        running
    }

    /// Whether they are all that run.
    pub fn are_known(&self) -> bool {
        self.are_known
    }

    /// The namespace that they are of; of all without one.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The pods of a workload.
    pub fn of_workload(&self, workload: &Owner) -> &[Arc<RunningPod>] {
        self.of_key(&key_of(workload))
    }

    /// The pods of the workload of this name.
    pub fn of_key(&self, workload: &WorkloadKey) -> &[Arc<RunningPod>] {
        self.by_workload.get(workload).map_or(&[], |of| &of.running)
    }

    /// How many pods of the workload of this name are being deleted.
    pub fn leaving(&self, workload: &WorkloadKey) -> usize {
        self.by_workload.get(workload).map_or(0, |of| of.leaving)
    }

    /// Pods that no known workload made.
    pub fn bare(&self) -> &[Arc<RunningPod>] {
        &self.bare
    }
}

impl Counts {
    /// Counts pods against what follows for a new one with these facts.
    pub fn of(pods: &[Arc<RunningPod>], facts: &Facts<'_>, follows: &Consequence<'_>) -> Self {
        let can_be_told = matches!(follows.effect.outcome, Outcome::Injected | Outcome::NotInjected);
        Self {
            pods: pods.len(),
            with_sidecar: pods.iter().filter(|pod| pod.sidecar.is_some()).count(),
            differing: can_be_told.then(|| pods.iter().filter(|pod| differs(pod, facts, follows)).count()),
        }
    }
}
