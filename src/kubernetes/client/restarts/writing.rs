//! What restarts write: marks, templates and evictions.
//!
//! Guarantees: a workload is told to replace its pods together with the mark that says so, or after it, never before, and only
//! if it bears the mark that was read; pods go by eviction alone, so that budgets are asked.

use futures::FutureExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, EvictParams, PatchParams, Preconditions};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::run::{PARALLEL, answers};
use super::{Restarts, UNREAD, read};
use crate::features::restart::mark::{Mark, State};
use crate::features::restart::way::Way;
use crate::features::restart::workload::{Name, Workload};
use crate::kernel::api_error::ApiError;
use crate::kernel::names::{RESTART, RESTARTED_AT};
use crate::kernel::text::sanitized;
use crate::kubernetes::client::CALL_TIMEOUT;
use crate::kubernetes::client::call::answered;

/// Who owns the fields, as `managedFields` tell.
const FIELD_MANAGER: &str = "outrigger-restart";
/// How often a write is tried whose object others write too.
const TRIES: usize = 10;

/// What became of an eviction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evicted {
    /// The pod is on its way out.
    Yes,
    /// Something holds it at present, and what.
    Held(String),
}

/// Whether a write tells a workload to replace its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Template {
    Kept,
    Restarted,
}

impl Restarts {
    /// Puts a mark on a workload that bears none.
    ///
    /// # Errors
    ///
    /// When somebody else has marked it since, or it may not be written.
    pub async fn mark(&self, workload: &Workload, mark: &Mark, dry_run: bool) -> Result<Workload, ApiError> {
        self.change(workload, None, Some(mark), Template::Kept, dry_run).await
    }

    /// Takes a mark off a workload, if it still bears that one.
    ///
    /// # Errors
    ///
    /// When somebody else has marked it since, or it may not be written.
    pub async fn unmark(&self, workload: &Workload) -> Result<Workload, ApiError> {
        self.take_mark(workload, false).await
    }

    /// Whatever state the mark of that run is in by now.
    async fn take_mark(&self, workload: &Workload, dry_run: bool) -> Result<Workload, ApiError> {
        let is_same = |current: &Workload| {
            let runs = [current, workload].map(|one| one.mark.as_ref().map(|mark| mark.run.as_str()));
            runs[0] == runs[1]
        };
        let mut current = workload.clone();
        for _ in 0..TRIES {
            match self.change(&current, current.mark.as_ref(), None, Template::Kept, dry_run).await {
                Err(why @ ApiError::Changed(_)) => {
                    current = self.get(workload).await?;
                    if !is_same(&current) {
                        return Err(why);
                    }
                }
                taken => return taken,
            }
        }
        Err(ApiError::Unavailable("its restart changes it all the time".to_owned()))
    }

    /// Takes their marks off all of these, and tells which stay, and why. Nothing is left to do where one is gone, or bears
    /// another mark by now. A dry run tells of all that would stay, as long as it is answered; otherwise it ends soon after the first.
    pub async fn unmark_all(&self, workloads: &[Workload], dry_run: bool) -> Vec<(Name, ApiError)> {
        let mut stay = Vec::new();
        for some in workloads.chunks(PARALLEL) {
            let taken = answers(some.iter().map(|one| self.take_mark(one, dry_run).boxed())).await;
            let kept = |(one, taken): (&Workload, Result<Workload, ApiError>)| match taken {
                Ok(_) | Err(ApiError::NotFound(_) | ApiError::Changed(_)) => None,
                Err(why) => Some((one.name.clone(), why)),
            };
            stay.extend(some.iter().zip(taken).filter_map(kept));
            let is_over = |(_, why): &(Name, ApiError)| !matches!(why, ApiError::Forbidden(_) | ApiError::Invalid(_));
            if !stay.is_empty() && (!dry_run || stay.iter().any(is_over)) {
                break;
            }
        }
        stay
    }

    /// Marks a workload as one that is told to replace its pods, and does not tell it yet.
    ///
    /// # Errors
    ///
    /// When its mark is none of this run's any more, or it may not be written.
    pub async fn claim(&self, workload: &Workload, now: Timestamp) -> Result<Workload, ApiError> {
        let Some(rolling) = workload.mark_to_roll(now) else { return Err(changed(None)) };
        self.change(workload, workload.mark.as_ref(), Some(&rolling), Template::Kept, false).await
    }

    /// Takes a claim back, if nothing has begun of it.
    ///
    /// # Errors
    ///
    /// When it has, or it may not be written.
    pub async fn unclaim(&self, workload: &Workload, pending: &Mark) -> Result<Workload, ApiError> {
        self.change(workload, workload.mark.as_ref(), Some(pending), Template::Kept, false).await
    }

    /// Tells a workload to replace its pods, and marks it so, in one write.
    ///
    /// # Errors
    ///
    /// When its mark is none of this run's any more, or it may not be written.
    pub async fn roll(&self, workload: &Workload, now: Timestamp) -> Result<Workload, ApiError> {
        let Some(rolling) = workload.mark_to_roll(now) else { return Err(changed(None)) };
        let rolled = self.change(workload, workload.mark.as_ref(), Some(&rolling), Template::Restarted, false).await?;
        if rolled.rolling_since().is_some() {
            return Ok(rolled);
        }
        // Then none of its pods could be told from an old one.
        self.unmark(&rolled).await?;
        Err(ApiError::Invalid("its pod template keeps no annotation, so it cannot be restarted by one".to_owned()))
    }

    /// Evicts a pod, if budgets let it go.
    ///
    /// # Errors
    ///
    /// When it may not be evicted.
    pub async fn evict(&self, namespace: &str, name: &str, uid: &str) -> Result<Evicted, ApiError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        // A StatefulSet gives the successor of a pod its name.
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let delete = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let params = EvictParams { delete_options: Some(delete), ..EvictParams::default() };
        let Ok(evicted) = timeout(CALL_TIMEOUT, pods.evict(name, &params)).await else {
            return Err(ApiError::Unavailable("the API server does not answer".to_owned()));
        };
        match evicted {
            // 429 is a budget that allows none at present, 500 two budgets over one pod.
            Err(kube::Error::Api(status)) if [429, 500].contains(&status.code) => {
                Ok(Evicted::Held(sanitized(&status.message)))
            }
            evicted => match answered(async { evicted }).await {
                Ok(_) | Err(ApiError::NotFound(_) | ApiError::Changed(_)) => Ok(Evicted::Yes),
                Err(why) => Err(why),
            },
        }
    }

    /// Changes the mark of a workload, and its pod template with it, if it bears this mark, or none, in the state that was read;
    /// tries again where others write it too.
    async fn change(
        &self,
        workload: &Workload,
        mark: Option<&Mark>,
        wanted: Option<&Mark>,
        template: Template,
        dry_run: bool,
    ) -> Result<Workload, ApiError> {
        let Workload { name, kind, .. } = workload;
        let api = self.api(&name.namespace, kind);
        let manager = Some(FIELD_MANAGER.to_owned());
        let params = PatchParams { dry_run, field_manager: manager, ..PatchParams::default() };
        let mut current = workload.clone();
        for _ in 0..TRIES {
            let found = current.mark.as_ref();
            // A write of which nobody heard that it was done is found done when it is tried again.
            if found == wanted && (template == Template::Kept || current.rolling_since().is_some()) {
                return Ok(current);
            }
            let is_turned_back = wanted.is_some_and(|wanted| wanted.state == State::Pending);
            if found != mark || (is_turned_back && current.rolling_since().is_some()) {
                return Err(changed(found));
            }
            if let (Template::Restarted, Way::Never(reason)) = (template, current.way) {
                return Err(ApiError::Changed(reason.to_string()));
            }
            let patch = patch(&current, wanted, template);
            match self.trimmed(api.resource_url(), UNREAD).patch(&name.name, &params, patch).await {
                Err(ApiError::Changed(_)) => current = self.get(workload).await?,
                written => return stored(read(kind, &written?), wanted),
            }
        }
        Err(ApiError::Changed("others write it all the time".to_owned()))
    }
}

/// What is written of a workload in the state that was read: its mark, and what replaces its pods.
fn patch(workload: &Workload, mark: Option<&Mark>, template: Template) -> Value {
    let Workload { uid, version, way, .. } = workload;
    let labels = json!({RESTART: mark.map(Mark::written)});
    let mut patch = json!({"metadata": {"uid": uid, "resourceVersion": version, "labels": labels}});
    let state = mark.map(|mark| mark.state);
    if let (Template::Restarted, Some(State::Rolling { since })) = (template, state) {
        let at = since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        patch["spec"] = match way {
            Way::Rollout => json!({"restartAt": at}),
            _ => json!({"template": {"metadata": {"annotations": {RESTARTED_AT: at}}}}),
        };
    }
    patch
}

/// What was stored, if its mark is the one that was written.
fn stored(found: Option<Workload>, wanted: Option<&Mark>) -> Result<Workload, ApiError> {
    let why = match found {
        Some(found) if found.mark.as_ref() == wanted => return Ok(found),
        Some(_) => format!("its label {RESTART} does not stay as it is written; an admission policy changes it"),
        None => "it has no pod template any more".to_owned(),
    };
    Err(ApiError::Invalid(why))
}

/// Somebody else has changed its mark.
pub(super) fn changed(mark: Option<&Mark>) -> ApiError {
    ApiError::Changed(match mark {
        Some(mark) => format!("restart {} has it", mark.run),
        None => "somebody took it out of this restart".to_owned(),
    })
}
