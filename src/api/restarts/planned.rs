//! What a restart is about to do, read with the rights of whoever asks.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;

use super::asked::{Named, Whom};
use crate::api::problem::Problem;
use crate::api::reading::beside;
use crate::api::{Api, PATIENCE};
use crate::features::restart::left::{Left, unfinished_run};
use crate::features::restart::mark::Mark;
use crate::features::restart::plan::{Chosen, Plan, Unplanned, plan};
use crate::features::restart::pods::PodSeen;
use crate::features::restart::telling::Told;
use crate::features::restart::workload::{Name, Workload};
use crate::features::status::states::standings_within;
use crate::kernel::api_error::ApiError;
use crate::kernel::ids::fresh_id;
use crate::kernel::text::Clean;
use crate::kernel::text::nearest;
use crate::kubernetes::client::restarts::Restarts;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;

/// A namespace may take so long to read.
const READING: Duration = Duration::from_secs(60);
/// Under this name all restarts take turns at looking, as if they were one user.
const RESTARTS: &str = "outrigger:restarts";

/// What is to be done, and what is not.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RestartPlan")]
pub(super) struct Planned {
    /// They are restarted, in this order.
    workloads: Vec<Name>,
    /// They are not, and why.
    skipped: Vec<Told>,
    /// They are left as they are, since that is asked for; of a restart that is gone on with they lose its mark.
    excepted: Vec<Name>,
    /// Pods that nobody would make again; never touched.
    bare_pods: Vec<String>,
    /// Kinds of workloads that could not be read, a sentence each.
    left_out: Vec<String>,
    /// Of a dry run: those that whoever asks may not write, and why.
    pub(super) refused: Vec<Told>,
}

/// What there is in a namespace.
pub(super) struct Found {
    pub(super) workloads: Vec<Workload>,
    pods: Vec<PodSeen>,
    pub(super) left_out: Vec<String>,
}

/// The name of the run, what it is to do, and what is told of it.
pub(super) async fn planned(
    api: &Arc<Api>,
    found: Found,
    namespace: &str,
    (whom, except): (Whom, Vec<Named>),
) -> Result<(String, Left, Planned), Problem> {
    let kinds = &api.inventory.owner_kinds;
    let except = names(kinds, namespace, except)?;
    let chosen = match whom {
        Whom::Left(run) => return left(found, namespace, &run, &except),
        Whom::All => Chosen::All,
        Whom::Labelled(selector) => Chosen::Labelled(selector),
        Whom::Drifted => drifted(api, namespace).await?,
        Whom::Named(named) => Chosen::Named(names(kinds, namespace, named)?),
    };
    let Found { workloads, pods, left_out } = found;
    let plan = plan(workloads, &pods, &chosen, &except).map_err(|why| unplanned(&why))?;
    let Plan { workloads, skipped, bare_pods } = plan;
    let names = names_of(&workloads);
    let planned = Planned { workloads: names, skipped, excepted: except, bare_pods, left_out, refused: Vec::new() };
    Ok((fresh_id()[..8].to_owned(), workloads.into(), planned))
}

/// Reads what there is, one namespace at a time for each user: how much that is, whoever may write there decides.
pub(super) async fn read_in_turn(
    api: &Api,
    user: &str,
    restarts: &Restarts,
    namespace: &str,
) -> Result<Found, Problem> {
    let Ok(_turn) = timeout(PATIENCE, api.planning.next(user)).await else {
        return Err(Problem::new(503, "too many restarts are being planned; try again in a minute"));
    };
    let found = timeout(READING, found(restarts, &api.inventory.owner_kinds, namespace)).await;
    found.unwrap_or_else(|_| {
        let (seconds, namespace) = (READING.as_secs(), Clean(namespace));
        let why = format!("namespace {namespace} cannot be read within {seconds} s; `outrigger restart` has the time");
        Err(Problem::new(503, why))
    })
}

async fn found(restarts: &Restarts, kinds: &OwnerKinds, namespace: &str) -> Result<Found, Problem> {
    if let Some(others) = restarts.others_than(namespace).await? {
        let meant = or(nearest(namespace, others.iter().map(String::as_str)));
        return Err(Problem::not_found(format!("there is no namespace {}{meant}", Clean(namespace))));
    }
    let (workloads, left_out) = restarts.workloads(kinds, namespace).await.map_err(unread_by_caller)?;
    let pods = restarts.pods(namespace).await.map_err(unread_by_caller)?;
    // Found out now rather than in the middle.
    restarts.budgets(namespace).await.map_err(unread_by_caller)?;
    Ok(Found { workloads, pods, left_out })
}

/// The workloads of those kinds and names; whether they are there, the plan finds out.
fn names(kinds: &OwnerKinds, namespace: &str, named: Vec<Named>) -> Result<Vec<Name>, Problem> {
    let name = |Named { kind: typed, name }: Named| {
        let Some(kind) = kinds.iter().find(|one| one.kind.eq_ignore_ascii_case(&typed)) else {
            let meant = or(nearest(&typed, kinds.iter().map(|one| one.kind.as_str())));
            return Err(Problem::new(422, format!("\"{}\" is no kind that makes pods{meant}", Clean(&typed))));
        };
        Ok(Name { namespace: namespace.to_owned(), kind: kind.kind.clone(), name })
    };
    named.into_iter().map(name).collect()
}

/// Those whose running pods are not as a new one would be, by what is known here.
async fn drifted(api: &Arc<Api>, namespace: &str) -> Result<Chosen, Problem> {
    let namespace = namespace.to_owned();
    let look = move |api: &Api| {
        let unread = api.inventory.unread();
        if !unread.is_empty() {
            let unread = unread.join(", ");
            let why =
                format!("what drifts cannot be told yet, since {unread} are still being read; try again in a moment");
            return Err(Problem::new(503, why));
        }
        let all = standings_within(&api.inventory, api.clock.now(), Some(&namespace));
        Ok(Chosen::drifting(all))
    };
    beside(api, RESTARTS, look).await
}

fn left(found: Found, namespace: &str, run: &str, except: &[Name]) -> Result<(String, Left, Planned), Problem> {
    let Found { workloads, left_out, .. } = found;
    let run = unfinished_run(&workloads, namespace, Some(run)).map_err(|why| Problem::new(422, why.to_string()))?;
    let left = Left::of(workloads, &run, except).map_err(|why| unplanned(&why))?;
    let (workloads, excepted) = (names_of(&left.workloads), names_of(&left.excepted));
    Ok((run, left, Planned { workloads, excepted, left_out, ..Planned::default() }))
}

pub(super) fn names_of(workloads: &[Workload]) -> Vec<Name> {
    workloads.iter().map(|one| one.name.clone()).collect()
}

fn unplanned(why: &Unplanned) -> Problem {
    match why {
        Unplanned::Unknown { .. } | Unplanned::Made { .. } => Problem::new(422, why.to_string()),
        Unplanned::Taken { run, example, .. } => {
            let forget = format!("POST /api/v1/namespaces/{}/restarts/{run}/forget", example.namespace);
            Problem::new(409, format!("{why}: go on with it by {{\"resume\": \"{run}\"}}, or give it up by {forget}"))
        }
    }
}

/// Those that may not be written, asked by dry runs.
pub(super) async fn refused(restarts: &Restarts, run: &str, left: &Left) -> Vec<Told> {
    let Left { workloads, excepted } = left;
    let mark = Mark::pending(run, workloads.len());
    let mut refused = Vec::new();
    for workload in workloads.iter().filter(|one| one.mark.is_none()) {
        if let Err(why) = restarts.mark(workload, &mark, true).await {
            refused.push(Told { workload: workload.name.clone(), why: why.to_string() });
        }
    }
    refused.extend(still_marked(restarts, excepted).await);
    refused
}

/// Those off which the mark may not be taken, asked by dry runs.
pub(super) async fn still_marked(restarts: &Restarts, workloads: &[Workload]) -> Vec<Told> {
    let stay = restarts.unmark_all(workloads, true).await;
    stay.into_iter().map(|(workload, why)| Told { workload, why: why.to_string() }).collect()
}

/// Whoever may not write the first is told so before anything begins.
pub(super) async fn refused_by_the_first(restarts: &Restarts, run: &str, first: &Workload) -> Result<(), Problem> {
    match restarts.mark(first, &Mark::pending(run, 1), true).await {
        Err(why @ (ApiError::Forbidden(_) | ApiError::Unauthorized(_))) => Err(unread_by_caller(why)),
        // What else there is, the restart itself tells.
        Ok(_) | Err(_) => Ok(()),
    }
}

pub(super) fn unread_by_caller(why: ApiError) -> Problem {
    match why {
        ApiError::Forbidden(why) => {
            Problem::new(403, format!("{why}; the ClusterRoles outrigger-restart and edit grant what a restart needs"))
        }
        why => why.into(),
    }
}

fn or(meant: Option<&str>) -> String {
    meant.map(|meant| format!("; did you mean {}?", Clean(meant))).unwrap_or_default()
}
