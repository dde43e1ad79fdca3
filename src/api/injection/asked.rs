//! What is asked for, as it is sent.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::Deserialize;

use super::refused;
use crate::api::problem::Problem;
use crate::features::overrides::change::{Asked, Change, Place};
use crate::kubernetes::resources::suspending::{lasting, lasts};

/// What is to become of the override.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("example" = {"action": "Disable", "reason": "the proxy crashes in a loop", "for": "2h"}))]
#[schemars(rename = "InjectionWanted")]
pub(super) struct Wanted {
    /// `Enable` and `Disable` write it, `Remove` takes it away.
    action: Change,
    /// Why, for whoever meets it; some policies want a reason.
    #[schemars(length(min = 1, max = 256))]
    reason: Option<String>,
    /// Until when; then policies and the namespace decide again.
    until: Option<Time>,
    /// How long instead, in hours, minutes and seconds.
    #[serde(default)]
    #[schemars(schema_with = "lasts")]
    r#for: Option<String>,
    /// Whether to take over what others hold, as the API server's managed fields tell.
    #[serde(default)]
    pub(super) force: bool,
}

impl Wanted {
    /// Checks it.
    pub(super) fn asked(self, now: Timestamp) -> Result<Asked, Problem> {
        let Self { action, reason, until, r#for, force: _ } = self;
        let until = match (until, r#for) {
            (Some(_), Some(_)) => {
                return Err(Problem::new(422, "at most one of until and for says how long it counts"));
            }
            (Some(Time(until)), None) => Some(until),
            (None, Some(lasts)) => {
                let lasts = lasting(&lasts).ok_or_else(|| {
                    Problem::new(422, "for is not a positive duration of at most 99999h, such as 3h, 2h30m or 90s")
                })?;
                Some(now.checked_add(lasts).unwrap_or(Timestamp::MAX))
            }
            (None, None) => None,
        };
        Asked::new(action, Place::Annotations, reason, until, now).map_err(refused)
    }
}
