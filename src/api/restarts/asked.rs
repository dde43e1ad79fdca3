//! What is asked for, as it is sent.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::api::problem::Problem;
use crate::decision::selector::Selector;
use crate::kubernetes::client::restarts::run::Pace;
use crate::kubernetes::resources::label_selector::LabelSelector;
use crate::kubernetes::resources::suspending::{lasting, lasts};

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

/// Whose pods to replace: exactly one of workloads, selector, drifted, all and resume says so.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("examples" = [
    {"drifted": true},
    {"selector": {"matchLabels": {"app": "web"}}, "except": [{"kind": "Deployment", "name": "web-canary"}]},
    {"resume": "3f2a9c01", "except": [{"kind": "Deployment", "name": "stuck"}], "timeout": "10m"},
]))]
#[schemars(rename = "RestartWanted")]
pub(super) struct Wanted {
    /// These.
    #[schemars(length(min = 1))]
    workloads: Option<Vec<Named>>,
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
    except: Option<Vec<Named>>,
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
    Labelled(Selector),
    Drifted,
    All,
    /// What is left of this restart.
    Left(String),
}

/// Who is meant, who of them is not, and how fast.
pub(super) struct Checked {
    pub(super) whom: Whom,
    pub(super) except: Vec<Named>,
    pub(super) pace: Pace,
}

impl Wanted {
    /// Checks it.
    pub(super) fn checked(self) -> Result<Checked, Problem> {
        let Self { workloads, selector, drifted, all, resume, except, at_once, timeout } = self;
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
        let pace = Pace { at_once: at_once.into(), timeout, patience: PATIENCE };
        let (whom, except) = (whom(workloads, selector, [drifted, all], resume)?, except.unwrap_or_default());
        if matches!(whom, Whom::Named(_)) && !except.is_empty() {
            let why =
                "except goes with selector, drifted, all and resume; of workloads, name only those that are meant";
            return Err(Problem::new(422, why));
        }
        Ok(Checked { whom, except, pace })
    }
}

fn whom(
    workloads: Option<Vec<Named>>,
    selector: Option<LabelSelector>,
    drifted_and_all: [Option<bool>; 2],
    resume: Option<String>,
) -> Result<Whom, Problem> {
    match (workloads, selector, drifted_and_all.map(Option::unwrap_or_default), resume) {
        (Some(workloads), None, [false, false], None) if !workloads.is_empty() => Ok(Whom::Named(workloads)),
        (None, Some(selector), [false, false], None) => labelled(&selector),
        (None, None, [true, false], None) => Ok(Whom::Drifted),
        (None, None, [false, true], None) => Ok(Whom::All),
        (None, None, [false, false], Some(run)) => Ok(Whom::Left(run)),
        _ => {
            let one = "exactly one of workloads, selector, drifted, all and resume says whom to restart";
            Err(Problem::new(422, one))
        }
    }
}

fn labelled(selector: &LabelSelector) -> Result<Whom, Problem> {
    if selector.is_empty() {
        let why = "selector requires nothing, so it would select all; say {\"all\": true} where that is meant";
        return Err(Problem::new(422, why));
    }
    let selector = selector.compile("selector").map_err(|flaw| Problem::new(422, flaw.to_string()))?;
    Ok(Whom::Labelled(selector))
}
