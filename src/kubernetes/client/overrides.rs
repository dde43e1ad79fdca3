//! Writes overrides on objects, with the rights of the given client.
//!
//! Guarantees: an edit is written in one request, to exactly the object and the version of it that was read. Fields that others
//! hold with another value are not touched unless the options say so. Nothing is written if the values that the plan relied on
//! have changed. Rights needed: get and patch of the object.

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::Value;
use thiserror::Error;

use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::call::{call_api, resource};
use crate::kubernetes::client::metadata_edit::field::MetadataField;
use crate::kubernetes::client::metadata_edit::field_ownership::{FieldConflict, WritePlan, WriteStrategy};
use crate::kubernetes::client::metadata_edit::{EditTarget, MetadataEdit};

/// Attempts on an object that somebody else changes meanwhile: controllers write the status of workloads all the time.
const MAX_ATTEMPTS: usize = 8;

/// Writer of overrides; cheap to clone.
#[derive(Clone)]
pub struct OverrideWriter {
    client: Client,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OverrideWriteOptions {
    /// Take over fields that others hold.
    pub force_conflicts: bool,
    /// Let the API server check the write, and store nothing.
    pub dry_run: bool,
}

/// Outcome of a write that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverrideWriteOutcome {
    Changed,
    /// All fields had their values already.
    Unchanged,
}

/// Outcome of a write, with the values before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideWriteReport {
    pub outcome: OverrideWriteOutcome,
    /// Fields with their values before the write.
    pub previous: Vec<MetadataField>,
}

/// Reason why an edit was not written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OverrideWriteError {
    /// Others hold a field with another value.
    #[error("{}", describe_conflicts(.0))]
    Conflict(Vec<FieldConflict>),
    /// A value that the plan relied on has changed.
    #[error("{0}; read the object again, and repeat the command")]
    ObjectChanged(String),
    /// The API server refuses the write, or does not answer.
    #[error(transparent)]
    Refused(#[from] ApiError),
}

impl OverrideWriter {
    /// Creates a writer with the rights of this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Writes an edit on its object; retries while others change the object.
    ///
    /// # Errors
    ///
    /// Fails if others hold a field, the object is gone or changed, or the API server refuses the write.
    pub async fn write(
        &self,
        edit: &MetadataEdit,
        options: OverrideWriteOptions,
    ) -> Result<OverrideWriteReport, OverrideWriteError> {
        let api = self.api(&edit.target);
        let mut attempt = 1;
        loop {
            match Self::try_write(&api, edit, options).await {
                Err(OverrideWriteError::Refused(ApiError::Changed(_))) if attempt < MAX_ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }

    async fn try_write(
        api: &Api<DynamicObject>,
        edit: &MetadataEdit,
        options: OverrideWriteOptions,
    ) -> Result<OverrideWriteReport, OverrideWriteError> {
        let name = edit.target.name.as_str();
        let object = call_api(api.get(name)).await?;
        let metadata = object.metadata.clone();
        let value = serde_json::to_value(object).expect("an object is JSON");
        if let Some(change) = edit.unexpected_change(&value) {
            return Err(OverrideWriteError::ObjectChanged(change));
        }
        let WritePlan { conflicts, strategy, applied_fields } = WritePlan::new(edit, &metadata, &value);
        if !conflicts.is_empty() && !options.force_conflicts {
            return Err(OverrideWriteError::Conflict(conflicts));
        }
        let current = |field: &MetadataField| edit.current_value(&value, field).map(str::to_owned);
        let previous: Vec<_> =
            edit.fields.iter().map(|field| MetadataField { value: current(field), ..field.clone() }).collect();
        let uid = metadata.uid.unwrap_or_default();
        let version = metadata.resource_version.unwrap_or_default();
        // Holders were read in the very version that is changed, so force takes nothing from others unnoticed.
        let (parameters, patch): (_, Patch<Value>) = match strategy {
            WriteStrategy::Skip => {
                return Ok(OverrideWriteReport { outcome: OverrideWriteOutcome::Unchanged, previous });
            }
            WriteStrategy::Apply => (
                PatchParams::apply(edit.field_manager).force(),
                Patch::Apply(edit.apply_configuration(&applied_fields, &uid, &version)),
            ),
            WriteStrategy::Merge => {
                let manager = Some(edit.field_manager.to_owned());
                let parameters = PatchParams { field_manager: manager, ..PatchParams::default() };
                (parameters, Patch::Merge(edit.merge_patch(&uid, &version)))
            }
        };
        let parameters = PatchParams { dry_run: options.dry_run, ..parameters };
        call_api(api.patch(name, &parameters, &patch)).await?;
        Ok(OverrideWriteReport { outcome: OverrideWriteOutcome::Changed, previous })
    }

    fn api(&self, target: &EditTarget) -> Api<DynamicObject> {
        let EditTarget { group, version, plural, kind, namespace, .. } = target;
        let resource = resource(group, version, kind, plural);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }
}

fn describe_conflicts(conflicts: &[FieldConflict]) -> String {
    let describe =
        |FieldConflict { field, managers }: &FieldConflict| format!("{field} is held by {}", managers.join(" and by "));
    let all: Vec<_> = conflicts.iter().map(describe).collect();
    format!("{}, which would write it again", all.join(", "))
}
