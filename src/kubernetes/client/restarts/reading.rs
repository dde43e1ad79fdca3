//! What restarts read: workloads, pods and budgets of a namespace, and which others are restarted there.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::{DynamicObject, ListParams};

use super::{Restarts, UNREAD, read};
use crate::features::restart::budget::Budget;
use crate::features::restart::mark::State;
use crate::features::restart::pods::PodSeen;
use crate::features::restart::way::Way;
use crate::features::restart::workload::Workload;
use crate::kernel::api_error::ApiError;
use crate::kernel::names::RESTART;
use crate::kubernetes::client::call::answered;
use crate::kubernetes::client::trimmed::{MANAGED_FIELDS, Path};
use crate::kubernetes::inventory::owner_kind::{OwnerKind, OwnerKinds, controller_of};

/// What nobody asks of a pod.
const UNREAD_OF_PODS: &[Path] = &[MANAGED_FIELDS, &["spec"]];

impl Restarts {
    /// The namespaces that there are, as far as they may be listed, where this one is not among them. One that may not be
    /// read is taken to be there.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub async fn others_than(&self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        match answered(namespaces.get(name)).await {
            Ok(_) | Err(ApiError::Forbidden(_)) => Ok(None),
            Err(ApiError::NotFound(_)) => {
                let keep = |one: Namespace| one.metadata.name;
                let all =
                    self.trimmed(namespaces.resource_url(), &[MANAGED_FIELDS]).all(ListParams::default(), keep).await;
                Ok(Some(all.unwrap_or_default()))
            }
            Err(why) => Err(why),
        }
    }

    /// The workloads of a namespace, and a sentence for each kind that may not be listed.
    ///
    /// # Errors
    ///
    /// When no kind may be, or one cannot be for another reason: what it has would be taken for what is not there.
    pub async fn workloads(
        &self,
        kinds: &OwnerKinds,
        namespace: &str,
    ) -> Result<(Vec<Workload>, Vec<String>), ApiError> {
        let (mut workloads, mut problems) = (Vec::new(), Vec::new());
        let (mut answers, mut forbidden) = (0, None);
        // One after another: what is held meanwhile is a page of one.
        for kind in kinds.iter().filter(|kind| kind.has_template()) {
            match self.workloads_of(kind, namespace).await {
                Ok(found) => {
                    answers += 1;
                    workloads.extend(found);
                }
                // That a cluster has no such kind is nothing to tell.
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
            Some(why) if answers == 0 => Err(why),
            _ => Ok((workloads, problems)),
        }
    }

    async fn workloads_of(&self, kind: &OwnerKind, namespace: &str) -> Result<Vec<Workload>, ApiError> {
        let (api, kind) = (self.api(namespace, kind), kind.clone());
        let keep = move |object: DynamicObject| read(&kind, &object);
        self.trimmed(api.resource_url(), UNREAD).all(ListParams::default(), keep).await
    }

    /// The pods of a namespace that have not run to their end.
    ///
    /// # Errors
    ///
    /// When they may not be listed.
    pub async fn pods(&self, namespace: &str) -> Result<Vec<PodSeen>, ApiError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        self.trimmed(pods.resource_url(), UNREAD_OF_PODS).all(ListParams::default(), |pod: Pod| PodSeen::of(&pod)).await
    }

    /// The PodDisruptionBudgets of a namespace.
    ///
    /// # Errors
    ///
    /// When they may not be listed.
    pub async fn budgets(&self, namespace: &str) -> Result<Vec<Budget>, ApiError> {
        let budgets: Api<PodDisruptionBudget> = Api::namespaced(self.client.clone(), namespace);
        let keep = |budget: PodDisruptionBudget| Some(Budget::from(&budget));
        self.trimmed(budgets.resource_url(), &[MANAGED_FIELDS]).all(ListParams::default(), keep).await
    }

    /// The workloads of a namespace that other restarts than this one have marked as rolling, but for kinds that may not be read.
    ///
    /// # Errors
    ///
    /// When they cannot be told.
    pub async fn rolling_beside(
        &self,
        run: &str,
        kinds: &OwnerKinds,
        namespace: &str,
    ) -> Result<Vec<Workload>, ApiError> {
        let mut found = Vec::new();
        for kind in kinds.iter().filter(|kind| kind.has_template()) {
            found.extend(readable(self.rolling_of(run, kind, namespace).await)?.unwrap_or_default());
        }
        Ok(found)
    }

    async fn rolling_of(&self, run: &str, kind: &OwnerKind, namespace: &str) -> Result<Vec<Workload>, ApiError> {
        let (api, kind, run) = (self.api(namespace, kind), kind.clone(), run.to_owned());
        let is_other =
            move |one: &Workload| one.mark.as_ref().is_some_and(|mark| mark.run != run && mark.state != State::Pending);
        let keep = move |object: DynamicObject| read(&kind, &object).filter(|one| is_other(one));
        self.trimmed(api.resource_url(), UNREAD).all(ListParams::default().labels(RESTART), keep).await
    }

    /// A workload as it is now; one of its name that was made since is none.
    ///
    /// # Errors
    ///
    /// When it is gone, or may not be read.
    pub async fn get(&self, workload: &Workload) -> Result<Workload, ApiError> {
        let Workload { name, kind, uid, .. } = workload;
        let api = self.api(&name.namespace, kind);
        let object = self.trimmed(api.resource_url(), UNREAD).one(&name.name).await?;
        let found = read(kind, &object).filter(|found| found.uid == *uid);
        found.ok_or_else(|| ApiError::NotFound("it is gone".to_owned()))
    }

    /// The pods that a workload made.
    ///
    /// # Errors
    ///
    /// When they may not be listed.
    pub async fn pods_of(&self, workload: &Workload) -> Result<Vec<PodSeen>, ApiError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &workload.name.namespace);
        let params = ListParams::default();
        let params = match &workload.selector {
            Some(selector) => params.labels_from(selector),
            None => params,
        };
        let sets = match workload.way {
            Way::Rollout => Some(self.sets_of(workload).await?),
            _ => None,
        };
        let mut pods =
            self.trimmed(pods.resource_url(), UNREAD_OF_PODS).all(params, |pod: Pod| PodSeen::of(&pod)).await?;
        pods.retain(|pod| sets.as_ref().map_or_else(|| pod.is_of(workload), |sets| pod.is_of_sets(sets)));
        Ok(pods)
    }

    /// The UIDs of the ReplicaSets that a workload made.
    async fn sets_of(&self, workload: &Workload) -> Result<BTreeSet<String>, ApiError> {
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &workload.name.namespace);
        let above = workload.uid.clone();
        let keep = move |set: ReplicaSet| {
            controller_of(&set.metadata).filter(|owner| *owner.uid == *above).and(set.metadata.uid.clone())
        };
        let found = self.trimmed(sets.resource_url(), UNREAD_OF_PODS).all(ListParams::default(), keep).await?;
        Ok(found.into_iter().collect())
    }
}

/// What was read, if it is there and may be.
fn readable<T>(read: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(ApiError::NotFound(_) | ApiError::Forbidden(_)) => Ok(None),
        Err(why) => Err(why),
    }
}
