//! Mark of a restart on a workload that is not done yet: the run and the phase, and the writes that change them.
//!
//! The mark is a label, not an annotation. A Deployment's controller copies annotations to its ReplicaSets and never
//! removes them. `kubectl rollout undo` would restore them from there long after the end of the restart.
//!
//! Guarantees: the template changes together with the rolling mark or after it, never before, and only under the mark
//! that was read.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::strategy::RolloutStrategy;
use super::workload::WorkloadSnapshot;
use crate::kernel::api_error::ApiError;
use crate::kernel::names::{RESTART, RESTARTED_AT};
use crate::kubernetes::client::restarts::RestartClient;

/// Content of the label. A finished workload carries no mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartMark {
    /// Identifier of the run.
    pub run: String,
    /// Phase of this workload.
    pub state: MarkState,
    /// Number of workloads in the run when it began.
    pub of: usize,
}

/// Phase of a marked workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkState {
    /// The workload waits for its wave.
    Pending,
    /// The workload was told to replace its pods.
    Rolling {
        /// Time in the pod template, in whole seconds.
        since: Timestamp,
    },
}

impl RestartMark {
    /// Makes the mark of a workload that waits for its wave.
    pub fn pending(run: &str, of: usize) -> Self {
        Self { run: run.to_owned(), state: MarkState::Pending, of }
    }

    /// Makes the mark of a workload that is told to replace its pods now.
    #[must_use]
    pub fn to_rolling(&self, now: Timestamp) -> Self {
        let since = Timestamp::from_second(now.as_second()).expect("a time without its fraction is one");
        Self { state: MarkState::Rolling { since }, ..self.clone() }
    }

    /// Parses a label value. The text is untrusted: everyone who may write the workload can set it.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('.').collect();
        let (run, of, state) = match parts[..] {
            [run, "pending", of] => (run, of, MarkState::Pending),
            [run, "rolling", of, since] => {
                let since = Timestamp::from_second(since.parse().ok()?).ok()?;
                (run, of, MarkState::Rolling { since })
            }
            _ => return None,
        };
        let is_run = !run.is_empty() && run.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_run.then_some(Self { run: run.to_owned(), state, of: of.parse().ok()? })
    }

    /// Formats the label value, as [`RestartMark::parse`] reads it.
    pub fn label_value(&self) -> String {
        let Self { run, state, of } = self;
        match state {
            MarkState::Pending => format!("{run}.pending.{of}"),
            MarkState::Rolling { since } => format!("{run}.rolling.{of}.{}", since.as_second()),
        }
    }
}

/// Number of attempts to write an object that others write too.
const TRIES: usize = 10;

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
    pub(crate) async fn remove_mark_of_run(
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
        Err(ApiError::Unavailable("its restart keeps changing it".to_owned()))
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
        Err(ApiError::Invalid("its pod template keeps no annotation, which a restart needs".to_owned()))
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
            match self.patch_object(kind, (&name.namespace, &name.name), patch, dry_run).await {
                Err(ApiError::Changed(_)) => current = self.get_workload(workload).await?,
                written => return check_stored(WorkloadSnapshot::from_dynamic(kind, &written?), new_mark),
            }
        }
        Err(ApiError::Changed("other writers keep changing it".to_owned()))
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
        Some(_) => format!("an admission policy changes its label {RESTART}, which a restart needs"),
        None => "its pod template is gone".to_owned(),
    };
    Err(ApiError::Invalid(why))
}

/// Makes the error for a mark that somebody else has changed.
pub(super) fn mark_changed(mark: Option<&RestartMark>) -> ApiError {
    ApiError::Changed(match mark {
        Some(mark) => format!("marked by restart {}", mark.run),
        None => "its mark of this restart was removed".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_a_forged_one_is_none() {
        let mark = RestartMark::pending("3f2a9c01", 200);
        assert_eq!(mark.label_value(), "3f2a9c01.pending.200");
        assert_eq!(RestartMark::parse(&mark.label_value()), Some(mark.clone()));
        let rolling = mark.to_rolling("2026-11-25T12:00:00.7Z".parse().unwrap());
        assert_eq!(rolling.label_value(), "3f2a9c01.rolling.200.1795608000");
        assert_eq!(RestartMark::parse(&rolling.label_value()), Some(rolling));
        for forged in [
            "yes",
            "3f2a9c01.done.200",
            "3f2a9c01.pending",
            "3f2a9c01.pending.200.1",
            "3f2a9c01.rolling.200",
            "3f2a9c01.rolling.200.99999999999999999999",
            "3f.2a.pending.1",
            ".pending.1",
            "\u{1b}.pending.1",
        ] {
            assert_eq!(RestartMark::parse(forged), None, "{forged:?}");
        }
    }
}
