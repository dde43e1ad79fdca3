//! Response to a request to write or remove an override, and to its dry run.

use schemars::JsonSchema;
use serde::Serialize;

use super::PreparedOverride;
use crate::api::limits::LISTED_FORECASTS;
use crate::api::session::AuditedAttempt;
use crate::features::overrides::apply::OverrideOutcome;
use crate::features::overrides::forecast::PodForecast;
use crate::features::overrides::plan::SubjectPlan;
use crate::features::overrides::request::OverrideAction;
use crate::features::status::running::PodCounts;
use crate::kubernetes::client::metadata_edit::field::MetadataField;

/// Override that was written, or would be, with the forecast for new pods.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OverrideResponse {
    /// Requested action.
    action: OverrideAction,
    /// True for a dry run.
    dry_run: bool,
    /// Outcome of the write. A dry run has the outcome that the write would have.
    outcome: OverrideOutcome,
    /// Id of the entry in the audit log.
    audit_id: String,
    /// Path from the object's root to the metadata that holds the fields.
    at: String,
    /// Annotations with their new values; null for a removed one.
    fields: Vec<MetadataField>,
    /// Forecast for the subject's own new pods; for a namespace, for a pod without a workload and without any marker.
    #[serde(flatten)]
    new_pods: PodForecast,
    /// Forecasts for other affected workloads; for a namespace, everything in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    workloads: Option<DependentForecasts>,
    /// Side effects of the mesh, in one sentence each.
    warnings: Vec<String>,
    /// Parts of the cluster that are not known here.
    unread: Vec<String>,
    /// True if the answer is incomplete because of them.
    partial: bool,
}

/// Other workloads that an override affects.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AffectedWorkloads")]
struct DependentForecasts {
    /// Number of workloads.
    count: usize,
    /// Number of workloads whose new pods change.
    changing: usize,
    /// Number of workloads whose new pods do not get what was requested.
    hindered: usize,
    /// Counts of their running pods, compared with new pods after the change; absent if pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<PodCounts>,
    /// First workloads that change, or do not get what was requested.
    first: Vec<PodForecast>,
}

impl OverrideResponse {
    pub(super) fn new(
        attempt: &AuditedAttempt,
        action: OverrideAction,
        outcome: OverrideOutcome,
        prepared: PreparedOverride,
    ) -> Self {
        let PreparedOverride { plan, warnings, unread } = prepared;
        let SubjectPlan { subject: _, edit, own_forecast, dependents } = plan;
        Self {
            action,
            dry_run: attempt.dry_run,
            outcome,
            audit_id: attempt.id.clone(),
            at: edit.metadata_path.join("."),
            fields: edit.fields,
            new_pods: own_forecast,
            workloads: (!dependents.is_empty()).then(|| DependentForecasts::from_forecasts(dependents)),
            warnings,
            partial: !unread.is_empty(),
            unread,
        }
    }
}

impl DependentForecasts {
    fn from_forecasts(mut forecasts: Vec<PodForecast>) -> Self {
        let (count, running) = (forecasts.len(), forecasts.iter().map(|one| one.running.as_ref()).sum());
        let changing = forecasts.iter().filter(|one| one.is_change()).count();
        let hindered = forecasts.iter().filter(|one| one.hindrance.is_some()).count();
        forecasts.retain(|one| one.hindrance.is_some() || one.is_change());
        forecasts.sort_by_key(|one| one.hindrance.is_none());
        forecasts.truncate(LISTED_FORECASTS);
        Self { count, changing, hindered, running, first: forecasts }
    }
}
