//! Writes for restarts: marks, templates and evictions.
//!
//! Guarantees: the template changes together with the rolling mark or after it, never before, and only under the mark
//! that was read. Pods go only by eviction, so budgets are respected.

use futures::FutureExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, EvictParams, PatchParams, Preconditions};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::run::{MAX_PARALLEL, join_bounded};
use super::{RestartClient, SKIPPED_FIELDS, read_workload};
use crate::features::restart::mark::{MarkState, RestartMark};
use crate::features::restart::strategy::RolloutStrategy;
use crate::features::restart::workload::{NamespacedWorkload, WorkloadSnapshot};
use crate::kernel::api_error::ApiError;
use crate::kernel::names::{RESTART, RESTARTED_AT};
use crate::kernel::text::sanitize;
use crate::kubernetes::client::CALL_TIMEOUT;
use crate::kubernetes::client::call::call_api;

/// Owner of our fields in `managedFields`.
const FIELD_MANAGER: &str = "outrigger-restart";
/// Number of attempts to write an object that others write too.
const TRIES: usize = 10;

/// Result of an eviction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvictionResult {
    /// The pod is ending.
    Evicted,
    /// Something holds the pod at present. Holds the reason.
    Held(String),
}

/// Change of the pod template in a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TemplateChange {
    Keep,
    Restart,
}

impl RestartClient {
    /// Adds a mark to an unmarked workload. Fails with [`ApiError::Changed`] if it has a mark by now.
    pub async fn add_mark(
        &self,
        workload: &WorkloadSnapshot,
        mark: &RestartMark,
        dry_run: bool,
    ) -> Result<WorkloadSnapshot, ApiError> {
        self.write_mark(workload, None, Some(mark), TemplateChange::Keep, dry_run).await
    }

    /// Removes the mark of a workload. Fails with [`ApiError::Changed`] if another restart has marked it by now.
    pub async fn remove_mark(&self, workload: &WorkloadSnapshot) -> Result<WorkloadSnapshot, ApiError> {
        self.remove_mark_of_run(workload, false).await
    }

    /// Removes the mark of the run, whatever its phase is by now.
    async fn remove_mark_of_run(
        &self,
        workload: &WorkloadSnapshot,
        dry_run: bool,
    ) -> Result<WorkloadSnapshot, ApiError> {
        let is_same = |current: &WorkloadSnapshot| {
            let runs = [current, workload].map(|one| one.mark.as_ref().map(|mark| mark.run.as_str()));
            runs[0] == runs[1]
        };
        let mut current = workload.clone();
        for _ in 0..TRIES {
            match self.write_mark(&current, current.mark.as_ref(), None, TemplateChange::Keep, dry_run).await {
                Err(why @ ApiError::Changed(_)) => {
                    current = self.get_workload(workload).await?;
                    if !is_same(&current) {
                        return Err(why);
                    }
                }
                taken => return taken,
            }
        }
        Err(ApiError::Unavailable("its restart changes it all the time".to_owned()))
    }

    /// Removes the marks of these workloads, and returns those that keep theirs, with the error. A workload that is
    /// gone or has another mark counts as done. A dry run reports all failures, as long as the API server answers.
    /// Otherwise it ends soon after the first failure.
    pub async fn remove_marks(
        &self,
        workloads: &[WorkloadSnapshot],
        dry_run: bool,
    ) -> Vec<(NamespacedWorkload, ApiError)> {
        let mut stay = Vec::new();
        for some in workloads.chunks(MAX_PARALLEL) {
            let taken = join_bounded(some.iter().map(|one| self.remove_mark_of_run(one, dry_run).boxed())).await;
            let kept = |(one, taken): (&WorkloadSnapshot, Result<WorkloadSnapshot, ApiError>)| match taken {
                Ok(_) | Err(ApiError::NotFound(_) | ApiError::Changed(_)) => None,
                Err(why) => Some((one.name.clone(), why)),
            };
            stay.extend(some.iter().zip(taken).filter_map(kept));
            let is_over = |(_, why): &(NamespacedWorkload, ApiError)| {
                !matches!(why, ApiError::Forbidden(_) | ApiError::Invalid(_))
            };
            if !stay.is_empty() && (!dry_run || stay.iter().any(is_over)) {
                break;
            }
        }
        stay
    }

    /// Marks a workload as rolling, and leaves its template alone.
    pub async fn claim(&self, workload: &WorkloadSnapshot, now: Timestamp) -> Result<WorkloadSnapshot, ApiError> {
        let Some(rolling) = workload.rolling_mark(now) else { return Err(mark_changed(None)) };
        self.write_mark(workload, workload.mark.as_ref(), Some(&rolling), TemplateChange::Keep, false).await
    }

    /// Returns a claimed workload to the pending phase. Fails with [`ApiError::Changed`] if its roll-out has begun.
    pub async fn release_claim(
        &self,
        workload: &WorkloadSnapshot,
        pending: &RestartMark,
    ) -> Result<WorkloadSnapshot, ApiError> {
        self.write_mark(workload, workload.mark.as_ref(), Some(pending), TemplateChange::Keep, false).await
    }

    /// Tells a workload to replace its pods, and marks it as rolling, in one write.
    pub async fn start_rollout(
        &self,
        workload: &WorkloadSnapshot,
        now: Timestamp,
    ) -> Result<WorkloadSnapshot, ApiError> {
        let Some(rolling) = workload.rolling_mark(now) else { return Err(mark_changed(None)) };
        let rolled =
            self.write_mark(workload, workload.mark.as_ref(), Some(&rolling), TemplateChange::Restart, false).await?;
        if rolled.rolling_since().is_some() {
            return Ok(rolled);
        }
        // Otherwise its new pods could not be told from the old ones.
        self.remove_mark(&rolled).await?;
        Err(ApiError::Invalid("its pod template keeps no annotation, so it cannot be restarted by one".to_owned()))
    }

    /// Evicts a pod, if its budgets allow it.
    pub async fn evict(&self, namespace: &str, name: &str, uid: &str) -> Result<EvictionResult, ApiError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        // A StatefulSet gives the successor of a pod the same name.
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let delete = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let params = EvictParams { delete_options: Some(delete), ..EvictParams::default() };
        let Ok(evicted) = timeout(CALL_TIMEOUT, pods.evict(name, &params)).await else {
            return Err(ApiError::Unavailable("the API server does not answer".to_owned()));
        };
        match evicted {
            // 429: a budget allows no eviction at present. 500: two budgets cover the pod.
            Err(kube::Error::Api(status)) if [429, 500].contains(&status.code) => {
                Ok(EvictionResult::Held(sanitize(&status.message)))
            }
            evicted => match call_api(async { evicted }).await {
                Ok(_) | Err(ApiError::NotFound(_) | ApiError::Changed(_)) => Ok(EvictionResult::Evicted),
                Err(why) => Err(why),
            },
        }
    }

    /// Changes the mark of a workload, and with it the pod template. Fails with [`ApiError::Changed`] if the workload
    /// does not bear the mark `mark`. Retries if others write the object too.
    async fn write_mark(
        &self,
        workload: &WorkloadSnapshot,
        mark: Option<&RestartMark>,
        new_mark: Option<&RestartMark>,
        template: TemplateChange,
        dry_run: bool,
    ) -> Result<WorkloadSnapshot, ApiError> {
        let WorkloadSnapshot { name, kind, .. } = workload;
        let api = self.api_of_kind(&name.namespace, kind);
        let manager = Some(FIELD_MANAGER.to_owned());
        let params = PatchParams { dry_run, field_manager: manager, ..PatchParams::default() };
        let mut current = workload.clone();
        for _ in 0..TRIES {
            let found = current.mark.as_ref();
            // A write whose answer was lost is found done when it is retried.
            if found == new_mark && (template == TemplateChange::Keep || current.rolling_since().is_some()) {
                return Ok(current);
            }
            let is_release = new_mark.is_some_and(|new_mark| new_mark.state == MarkState::Pending);
            if found != mark || (is_release && current.rolling_since().is_some()) {
                return Err(mark_changed(found));
            }
            if let (TemplateChange::Restart, RolloutStrategy::Never(reason)) = (template, current.strategy) {
                return Err(ApiError::Changed(reason.to_string()));
            }
            let patch = mark_patch(&current, new_mark, template);
            match self.reader(api.resource_url(), SKIPPED_FIELDS).patch(&name.name, &params, patch).await {
                Err(ApiError::Changed(_)) => current = self.get_workload(workload).await?,
                written => return check_stored(read_workload(kind, &written?), new_mark),
            }
        }
        Err(ApiError::Changed("others write it all the time".to_owned()))
    }
}

/// Makes the merge patch of the mark and the template, on the version that was read.
fn mark_patch(workload: &WorkloadSnapshot, mark: Option<&RestartMark>, template: TemplateChange) -> Value {
    let WorkloadSnapshot { uid, resource_version, strategy, .. } = workload;
    let labels = json!({RESTART: mark.map(RestartMark::label_value)});
    let mut patch = json!({"metadata": {"uid": uid, "resourceVersion": resource_version, "labels": labels}});
    let state = mark.map(|mark| mark.state);
    if let (TemplateChange::Restart, Some(MarkState::Rolling { since })) = (template, state) {
        let at = since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        patch["spec"] = match strategy {
            RolloutStrategy::Rollout => json!({"restartAt": at}),
            _ => json!({"template": {"metadata": {"annotations": {RESTARTED_AT: at}}}}),
        };
    }
    patch
}

/// Returns the stored workload, if it bears the mark that was written.
fn check_stored(found: Option<WorkloadSnapshot>, new_mark: Option<&RestartMark>) -> Result<WorkloadSnapshot, ApiError> {
    let why = match found {
        Some(found) if found.mark.as_ref() == new_mark => return Ok(found),
        Some(_) => format!("its label {RESTART} does not stay as it is written; an admission policy changes it"),
        None => "it has no pod template any more".to_owned(),
    };
    Err(ApiError::Invalid(why))
}

/// Makes the error for a mark that somebody else has changed.
pub(super) fn mark_changed(mark: Option<&RestartMark>) -> ApiError {
    ApiError::Changed(match mark {
        Some(mark) => format!("restart {} has it", mark.run),
        None => "somebody took it out of this restart".to_owned(),
    })
}
