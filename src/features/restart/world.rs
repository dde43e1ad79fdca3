//! Contents of a namespace as a restart needs them, and the reads of workloads, pods, budgets and marks.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use thiserror::Error;

use super::mark::{MarkState, mark_changed};
use super::pods::PodSnapshot;
use super::report::describe_api_error;
use super::strategy::RolloutStrategy;
use super::wave::DisruptionBudget;
use super::workload::{NamespacedWorkload, WorkloadSnapshot};
use crate::features::status::states::{WorkloadStatus, workload_statuses_in};
use crate::kernel::api_error::ApiError;
use crate::kernel::names::RESTART;
use crate::kernel::text::{CleanText, nearest_word, suggestion};
use crate::kubernetes::client::restarts::{RestartClient, WITH_SPEC, WITHOUT_SPEC};
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::{OwnerKind, OwnerKinds, controller_of};

/// Everything that the plan of a restart depends on.
#[derive(Debug, Default)]
pub struct RestartWorld {
    pub namespace: String,
    pub workloads: Vec<WorkloadSnapshot>,
    pub pods: Vec<PodSnapshot>,
    /// Workloads and bare pods that drift. Empty unless the request asks for them.
    pub drifted: BTreeSet<NamespacedWorkload>,
    /// Kinds of workloads that could not be read, a sentence each.
    pub left_out: Vec<String>,
}

/// Reason why a namespace cannot be read.
#[derive(Debug, Error)]
pub enum RestartReadError {
    #[error("there is no namespace {}{}", CleanText(.namespace), suggestion(.nearest.as_deref()))]
    NoNamespace { namespace: String, nearest: Option<String> },
    #[error("cannot read the workloads: {}", describe_api_error(.0))]
    Workloads(ApiError),
    #[error("cannot tell what PodDisruptionBudgets allow: {}", describe_api_error(.0))]
    Budgets(ApiError),
}

impl RestartWorld {
    /// Reads a namespace that has to exist.
    pub async fn read_existing(
        restarts: &RestartClient,
        kinds: &OwnerKinds,
        namespace: &str,
    ) -> Result<Self, RestartReadError> {
        if let Some(others) = restarts.namespaces_if_missing(namespace).await.map_err(RestartReadError::Workloads)? {
            let nearest = nearest_word(namespace, others.iter().map(String::as_str)).map(str::to_owned);
            return Err(RestartReadError::NoNamespace { namespace: namespace.to_owned(), nearest });
        }
        Self::read(restarts, kinds, namespace).await
    }

    /// Reads a namespace. A missing one appears empty.
    pub async fn read(restarts: &RestartClient, kinds: &OwnerKinds, namespace: &str) -> Result<Self, RestartReadError> {
        let listed = restarts.list_workloads(kinds, namespace).await;
        let (workloads, left_out) = listed.map_err(RestartReadError::Workloads)?;
        let pods = restarts.list_pods(namespace).await.map_err(RestartReadError::Workloads)?;
        // Checks the right now rather than in the middle of the restart.
        restarts.list_budgets(namespace).await.map_err(RestartReadError::Budgets)?;
        Ok(Self { namespace: namespace.to_owned(), workloads, pods, drifted: BTreeSet::new(), left_out })
    }
}

/// Lists the workloads and bare pods of a namespace whose running pods differ from a new pod.
pub fn drifted_workloads(inventory: &Inventory, now: Timestamp, namespace: &str) -> BTreeSet<NamespacedWorkload> {
    let drifts = |one: &WorkloadStatus| one.actual.as_ref().is_some_and(|actual| !actual.differing.is_empty());
    let name =
        |WorkloadStatus { namespace, kind, name, .. }: WorkloadStatus| NamespacedWorkload { namespace, kind, name };
    workload_statuses_in(inventory, now, Some(namespace)).into_iter().filter(drifts).map(name).collect()
}

impl RestartClient {
    /// Lists the workloads of a namespace, with a sentence for each kind that may not be listed.
    ///
    /// # Errors
    ///
    /// If no kind may be listed, or a list fails for another reason: the result would look as if those workloads did
    /// not exist.
    pub async fn list_workloads(
        &self,
        kinds: &OwnerKinds,
        namespace: &str,
    ) -> Result<(Vec<WorkloadSnapshot>, Vec<String>), ApiError> {
        let (mut workloads, mut problems) = (Vec::new(), Vec::new());
        let (mut readable_kinds, mut forbidden) = (0, None);
        // One after another: at most one page is in memory.
        for kind in kinds.iter().filter(|kind| kind.has_template()) {
            match self.list_workloads_of_kind(kind, namespace).await {
                Ok(found) => {
                    readable_kinds += 1;
                    workloads.extend(found);
                }
                // A kind that the cluster does not have is not worth a word.
                Err(ApiError::NotFound(_)) => {}
                Err(why @ ApiError::Forbidden(_)) => {
                    problems.push(format!("{} are left out: {why}", kind.plural));
                    forbidden = Some(why);
                }
                Err(ApiError::Unavailable(why)) => {
                    return Err(ApiError::Unavailable(format!("{} cannot be listed: {why}", kind.plural)));
                }
                Err(why) => return Err(why),
            }
        }
        match forbidden {
            Some(why) if readable_kinds == 0 => Err(why),
            _ => Ok((workloads, problems)),
        }
    }

    async fn list_workloads_of_kind(
        &self,
        kind: &OwnerKind,
        namespace: &str,
    ) -> Result<Vec<WorkloadSnapshot>, ApiError> {
        let of_kind = kind.clone();
        let keep = move |object| WorkloadSnapshot::from_dynamic(&of_kind, &object);
        self.list_objects(kind, namespace, ListParams::default(), keep).await
    }

    /// Lists the pods of a namespace that have not ended.
    pub async fn list_pods(&self, namespace: &str) -> Result<Vec<PodSnapshot>, ApiError> {
        let keep = |pod: Pod| PodSnapshot::from_pod(&pod);
        self.list_built_in(namespace, WITHOUT_SPEC, ListParams::default(), keep).await
    }

    /// Lists the PodDisruptionBudgets of a namespace.
    pub async fn list_budgets(&self, namespace: &str) -> Result<Vec<DisruptionBudget>, ApiError> {
        let keep = |budget: PodDisruptionBudget| Some(DisruptionBudget::from(&budget));
        self.list_built_in(namespace, WITH_SPEC, ListParams::default(), keep).await
    }

    /// Lists the workloads that other restarts have marked as rolling. Kinds that may not be read are left out.
    pub async fn list_other_rolling(
        &self,
        run: &str,
        kinds: &OwnerKinds,
        namespace: &str,
    ) -> Result<Vec<WorkloadSnapshot>, ApiError> {
        let mut found = Vec::new();
        for kind in kinds.iter().filter(|kind| kind.has_template()) {
            found.extend(readable_or_none(self.list_rolling_of_kind(run, kind, namespace).await)?.unwrap_or_default());
        }
        Ok(found)
    }

    async fn list_rolling_of_kind(
        &self,
        run: &str,
        kind: &OwnerKind,
        namespace: &str,
    ) -> Result<Vec<WorkloadSnapshot>, ApiError> {
        let (of_kind, run) = (kind.clone(), run.to_owned());
        let is_other = move |one: &WorkloadSnapshot| {
            one.mark.as_ref().is_some_and(|mark| mark.run != run && mark.state != MarkState::Pending)
        };
        let keep = move |object| WorkloadSnapshot::from_dynamic(&of_kind, &object).filter(is_other.clone());
        self.list_objects(kind, namespace, ListParams::default().labels(RESTART), keep).await
    }

    /// Reads the workload again. A new object with the same name counts as gone.
    pub async fn get_workload(&self, workload: &WorkloadSnapshot) -> Result<WorkloadSnapshot, ApiError> {
        let WorkloadSnapshot { name, kind, uid, .. } = workload;
        let object = self.get_object(kind, &name.namespace, &name.name).await?;
        let found = WorkloadSnapshot::from_dynamic(kind, &object).filter(|found| found.uid == *uid);
        found.ok_or_else(|| ApiError::NotFound("gone".to_owned()))
    }

    /// Reads the workload again. Fails with [`ApiError::Changed`] if it no longer bears the mark of the run.
    pub(super) async fn get_workload_of_run(
        &self,
        workload: &WorkloadSnapshot,
        run: &str,
    ) -> Result<WorkloadSnapshot, ApiError> {
        let current = self.get_workload(workload).await?;
        let is_ours = current.mark.as_ref().is_some_and(|mark| mark.run == run);
        if is_ours { Ok(current) } else { Err(mark_changed(current.mark.as_ref())) }
    }

    /// Lists the pods of a workload.
    pub async fn list_pods_of(&self, workload: &WorkloadSnapshot) -> Result<Vec<PodSnapshot>, ApiError> {
        let params = ListParams::default();
        let params = match &workload.selector {
            Some(selector) => params.labels_from(selector),
            None => params,
        };
        let sets = match workload.strategy {
            RolloutStrategy::Rollout => Some(self.list_replica_set_uids(workload).await?),
            _ => None,
        };
        let keep = |pod: Pod| PodSnapshot::from_pod(&pod);
        let mut pods = self.list_built_in(&workload.name.namespace, WITHOUT_SPEC, params, keep).await?;
        pods.retain(|pod| sets.as_ref().map_or_else(|| pod.is_owned_by(workload), |sets| pod.is_owned_by_any(sets)));
        Ok(pods)
    }

    /// Lists the UIDs of a workload's ReplicaSets.
    async fn list_replica_set_uids(&self, workload: &WorkloadSnapshot) -> Result<BTreeSet<String>, ApiError> {
        let above = workload.uid.clone();
        let keep = move |set: ReplicaSet| {
            controller_of(&set.metadata).filter(|owner| *owner.uid == *above).and(set.metadata.uid.clone())
        };
        let found = self.list_built_in(&workload.name.namespace, WITHOUT_SPEC, ListParams::default(), keep).await?;
        Ok(found.into_iter().collect())
    }
}

/// Turns a missing or forbidden object into `None`.
fn readable_or_none<T>(read: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(ApiError::NotFound(_) | ApiError::Forbidden(_)) => Ok(None),
        Err(why) => Err(why),
    }
}
