//! Body of a request to restart.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::api::limits::{
    DEFAULT_AT_ONCE, DEFAULT_RESTART_TIMEOUT, MAX_AT_ONCE, MAX_RESTART_TIMEOUT, RESTART_PATIENCE,
};
use crate::api::problem::ApiProblem;
use crate::decision::selector::Selector;
use crate::kernel::duration::parse_duration;
use crate::kubernetes::client::restarts::run::RestartPace;
use crate::kubernetes::resources::label_selector::LabelSelector;
use crate::kubernetes::resources::suspension_fields::lasts;

/// Whose pods to replace: exactly one of workloads, selector, drifted, all and resume says so.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("examples" = [
    {"drifted": true},
    {"selector": {"matchLabels": {"app": "web"}}, "except": [{"kind": "Deployment", "name": "web-canary"}]},
    {"resume": "3f2a9c01", "except": [{"kind": "Deployment", "name": "stuck"}], "timeout": "10m"},
]))]
#[schemars(rename = "RestartWanted")]
pub(super) struct RestartRequest {
    /// These.
    #[schemars(length(min = 1))]
    workloads: Option<Vec<NamedWorkload>>,
    /// Those with these labels of their own; all says all.
    #[schemars(extend("minProperties" = 1))]
    selector: Option<LabelSelector>,
    /// Those whose running pods differ from what a new pod would get.
    drifted: Option<bool>,
    /// All of the namespace.
    all: Option<bool>,
    /// What this restart has not done yet.
    #[schemars(length(min = 1, max = 63))]
    resume: Option<String>,
    /// But not these, each of which is to be there; with resume they lose its mark and stay as they are. Not beside workloads.
    except: Option<Vec<NamedWorkload>>,
    /// How many workloads are restarted at once, 5 where it is left out; the next follow when all of them are ready.
    #[schemars(range(min = 1, max = 1000))]
    at_once: Option<u16>,
    /// How long a workload may go on without another of its pods coming up, 5m where it is left out and 1h at most, in hours,
    /// minutes and seconds.
    #[serde(default)]
    #[schemars(schema_with = "lasts")]
    timeout: Option<String>,
}

/// A workload.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WorkloadNamed")]
pub(super) struct NamedWorkload {
    /// Its kind, such as Deployment.
    #[schemars(length(min = 1, max = 63))]
    pub(super) kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub(super) name: String,
}

/// Selection of the workloads to restart.
#[derive(Debug)]
pub(super) enum RequestedTargets {
    Named(Vec<NamedWorkload>),
    Labelled(Selector),
    Drifted,
    All,
    /// Remaining work of this restart.
    Resume(String),
}

/// Selection, exceptions and pace of a valid request.
pub(super) struct ValidatedRestart {
    pub(super) targets: RequestedTargets,
    pub(super) except: Vec<NamedWorkload>,
    pub(super) pace: RestartPace,
}

impl RestartRequest {
    /// Validates the combination and the ranges of the fields.
    pub(super) fn validate(self) -> Result<ValidatedRestart, ApiProblem> {
        let Self { workloads, selector, drifted, all, resume, except, at_once, timeout } = self;
        let at_once = at_once.unwrap_or(DEFAULT_AT_ONCE);
        if !(1..=MAX_AT_ONCE).contains(&at_once) {
            return Err(ApiProblem::new(422, format!("atOnce is {at_once}, which is not between 1 and {MAX_AT_ONCE}")));
        }
        let timeout = timeout.map(|timeout| {
            let timeout = parse_duration(&timeout).ok().map(jiff::SignedDuration::unsigned_abs);
            let timeout = timeout.filter(|timeout| *timeout <= MAX_RESTART_TIMEOUT);
            timeout.ok_or_else(|| {
                ApiProblem::new(422, "timeout is not a positive duration of at most 1h, such as 5m or 90s")
            })
        });
        let timeout = timeout.transpose()?.unwrap_or(DEFAULT_RESTART_TIMEOUT);
        let pace = RestartPace { at_once: at_once.into(), timeout, patience: RESTART_PATIENCE };
        let (targets, except) =
            (requested_targets(workloads, selector, [drifted, all], resume)?, except.unwrap_or_default());
        if matches!(targets, RequestedTargets::Named(_)) && !except.is_empty() {
            let why =
                "except goes with selector, drifted, all and resume; of workloads, name only those that are meant";
            return Err(ApiProblem::new(422, why));
        }
        Ok(ValidatedRestart { targets, except, pace })
    }
}

fn requested_targets(
    workloads: Option<Vec<NamedWorkload>>,
    selector: Option<LabelSelector>,
    drifted_and_all: [Option<bool>; 2],
    resume: Option<String>,
) -> Result<RequestedTargets, ApiProblem> {
    match (workloads, selector, drifted_and_all.map(Option::unwrap_or_default), resume) {
        (Some(workloads), None, [false, false], None) if !workloads.is_empty() => {
            Ok(RequestedTargets::Named(workloads))
        }
        (None, Some(selector), [false, false], None) => labelled_targets(&selector),
        (None, None, [true, false], None) => Ok(RequestedTargets::Drifted),
        (None, None, [false, true], None) => Ok(RequestedTargets::All),
        (None, None, [false, false], Some(run)) => Ok(RequestedTargets::Resume(run)),
        _ => {
            let one = "exactly one of workloads, selector, drifted, all and resume says whom to restart";
            Err(ApiProblem::new(422, one))
        }
    }
}

fn labelled_targets(selector: &LabelSelector) -> Result<RequestedTargets, ApiProblem> {
    if selector.is_empty() {
        let why = "selector requires nothing, so it would select all; say {\"all\": true} where that is meant";
        return Err(ApiProblem::new(422, why));
    }
    let selector = selector.compile("selector").map_err(|flaw| ApiProblem::new(422, flaw.to_string()))?;
    Ok(RequestedTargets::Labelled(selector))
}
