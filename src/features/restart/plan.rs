//! Plan of a restart: the workloads to restart, and those to pass over.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::pods::PodSnapshot;
use super::report::WorkloadReason;
use super::strategy::{NoRolloutReason, RolloutStrategy};
use super::workload::{NamespacedWorkload, WorkloadSnapshot};
use super::world::RestartWorld;
use crate::decision::selector::Selector;
use crate::kernel::text::{CleanText, nearest_word, suggestion};

/// Selection of the workloads to restart.
#[derive(Debug, Clone)]
pub enum RestartTargets {
    /// All workloads of the namespace.
    All,
    /// Workloads whose own labels match.
    Labelled(Selector),
    /// Workloads given by name. Each must exist.
    Named(Vec<NamespacedWorkload>),
    /// Workloads whose pods were just changed by a command. Missing ones are skipped, with a reason.
    Changed(Vec<NamespacedWorkload>),
    /// Workloads and bare pods whose running pods differ from new ones.
    Drifted,
}

/// Workloads of a restart, and everything that it leaves alone.
#[derive(Debug, Clone, Default)]
pub struct RestartPlan {
    /// Workloads to restart, in this order.
    pub workloads: Vec<WorkloadSnapshot>,
    /// Workloads passed over, with the reason.
    pub skipped: Vec<WorkloadReason>,
    /// Names of pods without a controller. Nobody would recreate them, so they are never touched.
    pub bare_pods: Vec<String>,
}

/// Reason why no plan is possible.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RestartRefusal {
    /// No workload has this name.
    #[error("there is no {name} in namespace {}{}", CleanText(&name.namespace), suggestion(nearest.as_deref()))]
    UnknownWorkload {
        name: NamespacedWorkload,
        /// Closest existing name, for a suggestion.
        nearest: Option<String>,
    },
    /// The workload has an owner that would undo a change to it.
    #[error("{workload} belongs to {owner}: restart {owner}")]
    HasOwner {
        /// Workload as typed by people, such as `replicaset/web-1`.
        workload: String,
        /// Owner to restart instead.
        owner: String,
    },
    /// Some workloads belong to another unfinished restart.
    #[error("restart {run} is unfinished, and holds {count} of the workloads, such as {example}")]
    OtherRestart {
        /// Identifier of that restart.
        run: String,
        /// One of the affected workloads.
        example: NamespacedWorkload,
        /// Number of affected workloads.
        count: usize,
    },
    /// No unfinished restart matches, or the choice is ambiguous. Holds a sentence.
    #[error("{0}")]
    UnknownRun(String),
    /// The request names workloads, and exceptions too.
    #[error("except does not go with names of workloads: name only the workloads to restart")]
    ExceptBesideNames,
}

impl RestartRefusal {
    /// Describes the refusal, and where another restart is in the way, how to resume and how to forget it.
    /// `remedies` gets the run and the namespace, and returns both.
    pub fn describe(&self, remedies: impl FnOnce(&str, &str) -> [String; 2]) -> String {
        let Self::OtherRestart { run, example, .. } = self else { return self.to_string() };
        let [resume, forget] = remedies(run, &example.namespace);
        format!("{self}: resume it by {resume}, or give it up by {forget}")
    }
}

/// Plans a restart of the selected workloads, without those in `except`.
///
/// # Errors
///
/// If a named workload does not exist, or another restart holds some of the selected workloads.
pub fn plan_restart(
    world: RestartWorld,
    targets: &RestartTargets,
    except: &[NamespacedWorkload],
) -> Result<RestartPlan, RestartRefusal> {
    let RestartWorld { workloads: all, pods, drifted, .. } = world;
    let mut plan = RestartPlan { bare_pods: bare_pods(&pods, targets, &drifted), ..RestartPlan::default() };
    plan.skipped = skip_unfit_targets(&all, targets, except)?;
    let is_named = matches!(targets, RestartTargets::Named(_) | RestartTargets::Changed(_));
    let read_uids: BTreeSet<String> = all.iter().map(|one| one.uid.clone()).collect();
    for workload in all {
        if !is_targeted(&workload, targets, &drifted) || except.contains(&workload.name) {
            continue;
        }
        let why = match (workload.strategy, find_owner(&workload, &read_uids)) {
            (RolloutStrategy::Never(NoRolloutReason::FinishedJob), _) if !is_named => continue,
            (RolloutStrategy::Never(reason @ (NoRolloutReason::Job | NoRolloutReason::FinishedJob)), _) => {
                reason.to_string()
            }
            (_, OwnerLookup::Listed) => continue,
            // Most likely an old ReplicaSet of a Deployment.
            (RolloutStrategy::Never(NoRolloutReason::NoPods), OwnerLookup::Unlisted(_)) if !is_named => continue,
            (_, OwnerLookup::Unlisted(above)) => format!("owned by {above}, which could not be read"),
            (RolloutStrategy::Never(reason), OwnerLookup::NoOwner) => reason.to_string(),
            (_, OwnerLookup::NoOwner) => match (targets, &workload.mark) {
                (RestartTargets::Changed(_), Some(mark)) => {
                    format!("marked by restart {}, which is unfinished", mark.run)
                }
                _ => {
                    plan.workloads.push(workload);
                    continue;
                }
            },
        };
        plan.skipped.push(WorkloadReason { workload: workload.name, why });
    }
    plan.workloads.sort_by(|left, right| left.name.cmp(&right.name));
    plan.skipped.sort_by(|left, right| left.workload.cmp(&right.workload));
    check_unmarked(&plan.workloads)?;
    Ok(plan)
}

/// Result of the search for an owner, which is restarted instead of the workload.
enum OwnerLookup {
    NoOwner,
    Listed,
    /// The owner was not read, so its kind is unknown. Holds its display name.
    Unlisted(String),
}

fn find_owner(workload: &WorkloadSnapshot, read_uids: &BTreeSet<String>) -> OwnerLookup {
    let WorkloadSnapshot { controller: Some(controller), kind, .. } = workload else { return OwnerLookup::NoOwner };
    match (kind.group.as_str(), kind.kind.as_str()) {
        _ if read_uids.contains(&*controller.uid) => OwnerLookup::Listed,
        // Their template belongs to the owner, and they roll nothing out: the owner would replace them. A kind with
        // its own roll-out may well belong to an operator of a kind unknown to us.
        ("apps", "ReplicaSet") | ("", "ReplicationController") => OwnerLookup::Unlisted(
            crate::kernel::object_ref::ObjectRef::new(&*controller.kind, &*controller.name).to_string(),
        ),
        _ => OwnerLookup::NoOwner,
    }
}

fn is_targeted(workload: &WorkloadSnapshot, targets: &RestartTargets, drifted: &BTreeSet<NamespacedWorkload>) -> bool {
    match targets {
        RestartTargets::All => true,
        RestartTargets::Labelled(selector) => matches_labels(selector, &workload.labels),
        RestartTargets::Named(names) | RestartTargets::Changed(names) => names.contains(&workload.name),
        RestartTargets::Drifted => drifted.contains(&workload.name),
    }
}

fn matches_labels(selector: &Selector, labels: &BTreeMap<String, String>) -> bool {
    selector.matches_by(|key| labels.get(key).map(String::as_str))
}

fn bare_pods(pods: &[PodSnapshot], targets: &RestartTargets, drifted: &BTreeSet<NamespacedWorkload>) -> Vec<String> {
    let is_meant = |pod: &&PodSnapshot| match targets {
        RestartTargets::All => true,
        RestartTargets::Labelled(selector) => matches_labels(selector, &pod.labels),
        RestartTargets::Named(_) | RestartTargets::Changed(_) => false,
        RestartTargets::Drifted => drifted.iter().any(|name| name.kind == "Pod" && name.name == pod.name),
    };
    let bare = pods.iter().filter(|pod| pod.controller.is_none()).filter(is_meant);
    let mut names: Vec<String> = bare.map(|pod| CleanText(&pod.name).to_string()).collect();
    names.sort();
    names
}

/// Checks targets given by name. Returns the skipped ones if the others can still be restarted.
fn skip_unfit_targets(
    all: &[WorkloadSnapshot],
    targets: &RestartTargets,
    except: &[NamespacedWorkload],
) -> Result<Vec<WorkloadReason>, RestartRefusal> {
    check_all_exist(all, except)?;
    let by_name = index_by_name(all);
    let fits = |name: &NamespacedWorkload| {
        let workload = by_name.get(name).ok_or_else(|| unknown_workload(&by_name, name))?;
        let above = all.iter().find(|one| workload.controller.as_ref().is_some_and(|above| *above.uid == one.uid));
        match above.filter(|above| !matches!(above.strategy, RolloutStrategy::Never(NoRolloutReason::CronJob))) {
            Some(above) => Err(RestartRefusal::HasOwner { workload: name.to_string(), owner: above.name.to_string() }),
            None => Ok(()),
        }
    };
    match targets {
        RestartTargets::Named(names) => names.iter().try_for_each(fits).map(|()| Vec::new()),
        RestartTargets::Changed(names) => {
            let why = |name: &NamespacedWorkload| match by_name.contains_key(name) {
                true => fits(name).err().map(|why| skip_reason(&why)),
                false => Some("gone, or without a pod template".to_owned()),
            };
            let reason = |name: &NamespacedWorkload| Some(WorkloadReason { workload: name.clone(), why: why(name)? });
            Ok(names.iter().filter_map(reason).collect())
        }
        RestartTargets::All | RestartTargets::Labelled(_) | RestartTargets::Drifted => Ok(Vec::new()),
    }
}

fn index_by_name(all: &[WorkloadSnapshot]) -> BTreeMap<&NamespacedWorkload, &WorkloadSnapshot> {
    all.iter().map(|one| (&one.name, one)).collect()
}

fn unknown_workload(
    by_name: &BTreeMap<&NamespacedWorkload, &WorkloadSnapshot>,
    name: &NamespacedWorkload,
) -> RestartRefusal {
    let known: Vec<String> = by_name.keys().map(ToString::to_string).collect();
    let nearest = nearest_word(&name.to_string(), known.iter().map(String::as_str)).map(str::to_owned);
    RestartRefusal::UnknownWorkload { name: name.clone(), nearest }
}

/// Refuses names of workloads that do not exist.
pub(super) fn check_all_exist(all: &[WorkloadSnapshot], names: &[NamespacedWorkload]) -> Result<(), RestartRefusal> {
    let by_name = index_by_name(all);
    let missing = names.iter().find(|name| !by_name.contains_key(name));
    missing.map_or(Ok(()), |name| Err(unknown_workload(&by_name, name)))
}

fn skip_reason(why: &RestartRefusal) -> String {
    match why {
        RestartRefusal::HasOwner { owner, .. } => format!("owned by {owner}: restart {owner}"),
        _ => why.to_string(),
    }
}

/// Refuses workloads that another restart has marked.
fn check_unmarked(workloads: &[WorkloadSnapshot]) -> Result<(), RestartRefusal> {
    let marked = || workloads.iter().filter_map(|one| Some((one, one.mark.as_ref()?)));
    let Some((example, mark)) = marked().next() else { return Ok(()) };
    let count = marked().filter(|(_, other)| other.run == mark.run).count();
    Err(RestartRefusal::OtherRestart { run: mark.run.clone(), example: example.name.clone(), count })
}
