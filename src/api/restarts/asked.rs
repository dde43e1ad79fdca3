//! What is asked for, as it is sent.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::api::problem::Problem;
use crate::cluster::restarts::run::Pace;
use crate::resources::suspending::{lasting, lasts};

/// How long an API server that does not answer is asked on.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many are restarted at once where nothing else is asked for.
const USUAL: u16 = 5;
/// And at most.
const MOST: u16 = 1000;
/// How long one may go on without another pod coming up where nothing else is asked for.
const USUAL_TIMEOUT: Duration = Duration::from_secs(300);
/// And at most: there is not room for many, and each keeps its own until it is over.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);

/// Whose pods to replace: exactly one of workloads, drifted, all and resume says so.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("example" = {"drifted": true}))]
#[schemars(rename = "RestartWanted")]
pub(super) struct Wanted {
    /// These.
    #[schemars(length(min = 1))]
    workloads: Option<Vec<Named>>,
    /// Those whose running pods differ from what a new pod would get.
    drifted: Option<bool>,
    /// All of the namespace.
    all: Option<bool>,
    /// What this restart has not done yet.
    #[schemars(length(min = 1, max = 63))]
    resume: Option<String>,
    /// How many workloads are restarted at once, 5 where it is left out; the next follow when all of them are ready.
    #[schemars(range(min = 1, max = 1000))]
    at_once: Option<u16>,
    /// How long a workload may go on without another of its pods coming up, 5m where it is left out and 1h at most, in hours,
    /// minutes and seconds.
    #[schemars(schema_with = "lasts")]
    timeout: Option<String>,
}

/// A workload.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WorkloadNamed")]
pub(super) struct Named {
    /// Its kind, such as Deployment.
    #[schemars(length(min = 1, max = 63))]
    pub(super) kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub(super) name: String,
}

/// Who is meant.
#[derive(Debug)]
pub(super) enum Whom {
    Named(Vec<Named>),
    Drifted,
    All,
    /// What is left of this restart.
    Left(String),
}

impl Wanted {
    /// Who is meant, and how fast.
    pub(super) fn checked(self) -> Result<(Whom, Pace), Problem> {
        let Self { workloads, drifted, all, resume, at_once, timeout } = self;
        let at_once = at_once.unwrap_or(USUAL);
        if !(1..=MOST).contains(&at_once) {
            return Err(Problem::new(422, format!("atOnce is {at_once}, which is not between 1 and {MOST}")));
        }
        let timeout = timeout.map(|timeout| {
            let timeout = lasting(&timeout).map(jiff::SignedDuration::unsigned_abs);
            let timeout = timeout.filter(|timeout| *timeout <= LONGEST_TIMEOUT);
            timeout
                .ok_or_else(|| Problem::new(422, "timeout is not a positive duration of at most 1h, such as 5m or 90s"))
        });
        let timeout = timeout.transpose()?.unwrap_or(USUAL_TIMEOUT);
        let whom = match (workloads, drifted.unwrap_or_default(), all.unwrap_or_default(), resume) {
            (Some(workloads), false, false, None) if !workloads.is_empty() => Whom::Named(workloads),
            (None, true, false, None) => Whom::Drifted,
            (None, false, true, None) => Whom::All,
            (None, false, false, Some(run)) => Whom::Left(run),
            _ => {
                let one = "exactly one of workloads, drifted, all and resume says whom to restart";
                return Err(Problem::new(422, one));
            }
        };
        Ok((whom, Pace { at_once: at_once.into(), timeout, patience: PATIENCE }))
    }
}
