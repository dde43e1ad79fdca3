//! Contents of a namespace, as far as a restart needs them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use thiserror::Error;

use super::pods::PodSnapshot;
use super::report::describe_api_error;
use super::workload::{NamespacedWorkload, WorkloadSnapshot};
use crate::features::status::states::{WorkloadStatus, workload_statuses_in};
use crate::kernel::api_error::ApiError;
use crate::kernel::text::{CleanText, nearest_word, suggestion};
use crate::kubernetes::client::restarts::RestartClient;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;

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
