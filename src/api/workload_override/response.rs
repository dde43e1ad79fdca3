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

/// What was written, or would be, and what new pods get for it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OverrideResponse {
    /// What was asked for.
    action: OverrideAction,
    /// Whether nothing was to be written.
    dry_run: bool,
    /// What came of it; of a dry run, what would.
    outcome: OverrideOutcome,
    /// What ties it to its entry of the audit log.
    audit_id: String,
    /// In which metadata of the object, from its root.
    at: String,
    /// The annotations; null where one goes.
    fields: Vec<MetadataField>,
    /// What its own new pods get, before and after; of a namespace, a pod that says nothing itself and that no workload makes.
    #[serde(flatten)]
    new_pods: PodForecast,
    /// What new pods of others get that it is also about: of a namespace everything in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    workloads: Option<DependentForecasts>,
    /// What is to be known of it.
    warnings: Vec<String>,
    /// Parts of the cluster that are not known here.
    unread: Vec<String>,
    /// Whether the answer is not complete without those.
    partial: bool,
}

/// The workloads of a namespace.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AffectedWorkloads")]
struct DependentForecasts {
    /// How many there are.
    count: usize,
    /// New pods of how many get something else from then on.
    changing: usize,
    /// New pods of how many do not get what is asked for.
    hindered: usize,
    /// Their running pods against what new ones get from then on; absent where pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<PodCounts>,
    /// The first of those that change or are hindered.
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
