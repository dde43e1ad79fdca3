//! Body of a request to restart.

use schemars::JsonSchema;
use serde::Deserialize;

use super::plan::refusal_problem;
use crate::api::limits::MAX_RESTART_TIMEOUT;
use crate::api::problem::ApiProblem;
use crate::decision::selector::Selector;
use crate::features::restart::plan::RestartTargets;
use crate::features::restart::request::{MAX_AT_ONCE, RestartIntent, RestartPace, RestartRequest};
use crate::features::restart::workload::NamespacedWorkload;
use crate::kernel::duration::parse_duration;
use crate::kernel::text::{CleanText, did_you_mean};
use crate::kubernetes::inventory::owner_kind::OwnerKinds;
use crate::kubernetes::resources::label_selector::LabelSelector;
use crate::kubernetes::resources::suspension_fields::lasts;

/// Workloads to restart, given by exactly one of workloads, selector, drifted, all and resume.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("examples" = [
    {"drifted": true},
    {"selector": {"matchLabels": {"app": "web"}}, "except": [{"kind": "Deployment", "name": "web-canary"}]},
    {"resume": "3f2a9c01", "except": [{"kind": "Deployment", "name": "stuck"}], "timeout": "10m"},
]))]
#[schemars(rename = "RestartWanted")]
pub(super) struct RestartRequestBody {
    /// Workloads given by name.
    #[schemars(length(min = 1))]
    workloads: Option<Vec<NamedWorkload>>,
    /// Labels of the workloads themselves. Must require something: use all for all workloads.
    #[schemars(extend("minProperties" = 1))]
    selector: Option<LabelSelector>,
    /// Restart the workloads whose running pods differ from what a new pod would get.
    drifted: Option<bool>,
    /// Restart all workloads of the namespace.
    all: Option<bool>,
    /// Run of an unfinished restart to resume.
    #[schemars(length(min = 1, max = 63))]
    resume: Option<String>,
    /// Workloads to leave out. Each must exist. With resume, they lose its mark and stay as they are. Not allowed with workloads.
    except: Option<Vec<NamedWorkload>>,
    /// Number of workloads to restart at once, 5 by default. The next follow when all of them are ready.
    #[schemars(range(min = 1, max = 1000))]
    at_once: Option<u16>,
    /// Time after which a workload without progress halts the restart, in hours, minutes and seconds: 5m by default, 1h at
    /// most.
    #[serde(default)]
    #[schemars(schema_with = "lasts")]
    timeout: Option<String>,
}

/// Workload given by name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WorkloadNamed")]
pub(super) struct NamedWorkload {
    /// Kind of the workload, such as Deployment.
    #[schemars(length(min = 1, max = 63))]
    kind: String,
    /// Name of the workload.
    #[schemars(length(min = 1, max = 253))]
    name: String,
}

impl RestartRequestBody {
    /// Validates the combination and the ranges of the fields, and resolves the kinds.
    pub(super) fn validate(
        self,
        kinds: &OwnerKinds,
        namespace: &str,
    ) -> Result<(RestartRequest, RestartPace), ApiProblem> {
        let Self { workloads, selector, drifted, all, resume, except, at_once, timeout } = self;
        let pace = validate_pace(at_once, timeout.as_deref())?;
        let resolve = |named| resolve_names(kinds, namespace, named);
        let intent = match (workloads, selector, [drifted, all].map(Option::unwrap_or_default), resume) {
            (Some(workloads), None, [false, false], None) if !workloads.is_empty() => {
                RestartIntent::Start(RestartTargets::Named(resolve(workloads)?))
            }
            (None, Some(selector), [false, false], None) => {
                RestartIntent::Start(RestartTargets::Labelled(compile_selector(&selector)?))
            }
            (None, None, [true, false], None) => RestartIntent::Start(RestartTargets::Drifted),
            (None, None, [false, true], None) => RestartIntent::Start(RestartTargets::All),
            (None, None, [false, false], Some(run)) => RestartIntent::Resume(Some(run)),
            _ => {
                let one = "give exactly one of workloads, selector, drifted, all and resume";
                return Err(ApiProblem::new(422, one));
            }
        };
        let request = RestartRequest::new(intent, resolve(except.unwrap_or_default())?);
        Ok((request.map_err(|why| refusal_problem(&why))?, pace))
    }
}

fn validate_pace(at_once: Option<u16>, timeout: Option<&str>) -> Result<RestartPace, ApiProblem> {
    let mut pace = RestartPace::default();
    if let Some(at_once) = at_once {
        if !(1..=MAX_AT_ONCE).contains(&at_once) {
            let why = format!("atOnce is {at_once}, which is not between 1 and {MAX_AT_ONCE}");
            return Err(ApiProblem::new(422, why));
        }
        pace.at_once = at_once.into();
    }
    if let Some(timeout) = timeout {
        let timeout = parse_duration(timeout).ok().map(jiff::SignedDuration::unsigned_abs);
        pace.timeout = timeout.filter(|timeout| *timeout <= MAX_RESTART_TIMEOUT).ok_or_else(|| {
            ApiProblem::new(422, "timeout is not a positive duration of at most 1h, such as 5m or 90s")
        })?;
    }
    Ok(pace)
}

/// Resolves the names of workloads. The plan checks that they exist.
fn resolve_names(
    kinds: &OwnerKinds,
    namespace: &str,
    named: Vec<NamedWorkload>,
) -> Result<Vec<NamespacedWorkload>, ApiProblem> {
    let name = |NamedWorkload { kind: typed, name }: NamedWorkload| {
        let Some(kind) = kinds.iter().find(|one| one.kind.eq_ignore_ascii_case(&typed)) else {
            let hint = did_you_mean(&typed, kinds.iter().map(|one| one.kind.as_str()));
            return Err(ApiProblem::new(422, format!("\"{}\" is no kind that makes pods{hint}", CleanText(&typed))));
        };
        Ok(NamespacedWorkload { namespace: namespace.to_owned(), kind: kind.kind.clone(), name })
    };
    named.into_iter().map(name).collect()
}

fn compile_selector(selector: &LabelSelector) -> Result<Selector, ApiProblem> {
    if selector.is_empty() {
        let why = "selector requires nothing, and would select all; send {\"all\": true} to restart all";
        return Err(ApiProblem::new(422, why));
    }
    selector.compile("selector").map_err(|flaw| ApiProblem::new(422, flaw.to_string()))
}
