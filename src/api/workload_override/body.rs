//! Body of a request to write or remove an override.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::api::problem::ApiProblem;
use crate::features::overrides::request::{OverrideAction, OverrideMechanism, OverrideRequest, OverrideTerm};
use crate::kernel::duration::{DURATION_GRAMMAR, parse_duration};
use crate::kubernetes::resources::suspension_fields::lasts;

/// Request to write or remove an override.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("example" = {"action": "Disable", "reason": "the proxy crashes in a loop", "for": "2h"}))]
#[schemars(rename = "OverrideRequest")]
pub(super) struct WorkloadOverrideRequest {
    /// `Enable` and `Disable` write the override, `Remove` removes it.
    action: OverrideAction,
    /// Reason, shown wherever the override is; some policies require one.
    #[schemars(length(min = 1, max = 256))]
    reason: Option<String>,
    /// End of the override; afterwards policies and the namespace decide.
    until: Option<Time>,
    /// Length instead of an end, such as 3d, 2h30m or 90s.
    #[serde(default)]
    #[schemars(schema_with = "lasts")]
    r#for: Option<String>,
    /// Take over fields that other field managers hold.
    #[serde(default)]
    pub(super) force: bool,
}

impl WorkloadOverrideRequest {
    /// Checks the body.
    pub(super) fn into_request(self, now: Timestamp) -> Result<OverrideRequest, ApiProblem> {
        let Self { action, reason, until, r#for, force: _ } = self;
        let term = match (until, r#for) {
            (Some(_), Some(_)) => {
                return Err(ApiProblem::new(422, "until and for exclude each other; give at most one of them"));
            }
            (Some(Time(until)), None) => Some(OverrideTerm::Until(until)),
            (None, Some(duration)) => {
                let duration = parse_duration(&duration)
                    .map_err(|_| ApiProblem::new(422, format!("for is not {DURATION_GRAMMAR}")))?;
                Some(OverrideTerm::For(duration))
            }
            (None, None) => None,
        };
        Ok(OverrideRequest::new(action, OverrideMechanism::Annotations, reason, term, now)?)
    }
}
