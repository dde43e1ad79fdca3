//! Apply of a plan: the edit of one subject is written, with the rights of the given store.

use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

use super::plan::SubjectPlan;
use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::metadata_edit::field::MetadataField;
use crate::kubernetes::client::overrides::{
    OverrideWriteError, OverrideWriteOptions, OverrideWriteOutcome, OverrideWriteReport, OverrideWriter,
};

/// Place where overrides are written.
#[derive(Clone)]
pub enum OverrideStore {
    /// Cluster, with the rights of one caller.
    Cluster(OverrideWriter),
    /// Directory whose objects are edited by hand.
    Files,
}

/// Caller of a write, which decides how an option is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverrideCaller {
    Command,
    ApiRequest,
}

/// Outcome of the write. A dry run has the outcome that the write would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum OverrideOutcome {
    /// The object is changed.
    Written,
    /// The object had this override already.
    Unchanged,
    /// The object is not changed. A request to the API has a problem instead.
    #[schemars(skip)]
    Failed,
}

/// Override that was written, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedOverride {
    pub outcome: OverrideOutcome,
    /// Fields with their values before the write; none if the object was not read.
    pub previous: Option<Vec<MetadataField>>,
}

/// Reason why a plan was not applied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// The objects are files. The text says which edit to make by hand.
    #[error("the objects come from files; edit them by hand: {0}")]
    Files(String),
    #[error("{error}")]
    Write {
        error: OverrideWriteError,
        /// Resource as RBAC names it.
        resource: String,
    },
}

impl OverrideStore {
    /// Refuses a write to files.
    ///
    /// # Errors
    ///
    /// Fails if the objects are files, unless nothing is to be written.
    pub fn check_writable(&self, plan: &SubjectPlan, dry_run: bool) -> Result<(), ApplyError> {
        match self {
            Self::Files if !dry_run => Err(ApplyError::Files(plan.describe_by_hand())),
            Self::Files | Self::Cluster(_) => Ok(()),
        }
    }

    /// Writes the edit of one subject.
    ///
    /// # Errors
    ///
    /// Fails if others hold a field, the object is gone or changed, the write is refused, or the objects are files.
    pub async fn apply(
        &self,
        plan: &SubjectPlan,
        options: OverrideWriteOptions,
    ) -> Result<AppliedOverride, ApplyError> {
        self.check_writable(plan, options.dry_run)?;
        let Self::Cluster(writer) = self else {
            return Ok(AppliedOverride { outcome: OverrideOutcome::Written, previous: None });
        };
        match writer.write(&plan.edit, options).await {
            Ok(OverrideWriteReport { outcome, previous }) => {
                Ok(AppliedOverride { outcome: outcome.into(), previous: Some(previous) })
            }
            Err(error) => Err(ApplyError::Write { error, resource: plan.edit.target.resource_name() }),
        }
    }
}

impl ApplyError {
    /// Describes the error, and what the caller can do about it.
    pub fn describe(&self, caller: OverrideCaller) -> String {
        match self.hint(caller) {
            Some(hint) => format!("{self}; {hint}"),
            None => self.to_string(),
        }
    }

    fn hint(&self, caller: OverrideCaller) -> Option<String> {
        let is_command = caller == OverrideCaller::Command;
        match self {
            Self::Files(_) => {
                let option = if is_command { "--dry-run" } else { "dryRun=true" };
                Some(format!("{option} shows the effect"))
            }
            Self::Write { error: OverrideWriteError::Conflict(_), .. } => {
                let option = if is_command { "--force-conflicts" } else { "\"force\": true" };
                Some(format!("change the field there, or pass {option} to take it over"))
            }
            Self::Write { error: OverrideWriteError::Refused(ApiError::Forbidden(_)), resource } => {
                Some(format!("you need the rights to get and patch {resource}"))
            }
            Self::Write { error: OverrideWriteError::ObjectChanged(_) | OverrideWriteError::Refused(_), .. } => None,
        }
    }
}

impl From<OverrideWriteOutcome> for OverrideOutcome {
    fn from(outcome: OverrideWriteOutcome) -> Self {
        match outcome {
            OverrideWriteOutcome::Changed => Self::Written,
            OverrideWriteOutcome::Unchanged => Self::Unchanged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hint_names_the_option_of_the_caller() {
        let write = |error| ApplyError::Write { error, resource: "deployments.apps".to_owned() };
        let forbidden = write(OverrideWriteError::Refused(ApiError::Forbidden("no".to_owned())));
        for (error, command, request) in [
            (ApplyError::Files("x".to_owned()), "--dry-run shows", "dryRun=true shows"),
            (write(OverrideWriteError::Conflict(Vec::new())), "pass --force-conflicts", "pass \"force\": true"),
            (forbidden, "get and patch deployments.apps", "get and patch deployments.apps"),
        ] {
            let found = error.describe(OverrideCaller::Command);
            assert!(found.contains(command), "{found}");
            let found = error.describe(OverrideCaller::ApiRequest);
            assert!(found.contains(request), "{found}");
        }
        let changed = write(OverrideWriteError::ObjectChanged("there is no label a now".to_owned()));
        assert_eq!(changed.describe(OverrideCaller::Command), changed.to_string());
    }
}
