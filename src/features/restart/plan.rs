//! Whom a restart is about, and whom it passes over.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::pods::PodSeen;
use super::telling::Told;
use super::way::{Reason, Way};
use super::workload::{Name, Workload};
use crate::decision::selector::Selector;
use crate::features::status::states::Standing;
use crate::kernel::text::Clean;
use crate::kernel::text::nearest;

/// Who is meant.
#[derive(Debug, Clone)]
pub enum Chosen {
    /// All workloads.
    All,
    /// Those with these labels.
    Labelled(Selector),
    /// These.
    Named(Vec<Name>),
    /// These, as far as they are still to be had: what their new pods get has been changed already.
    Changed(Vec<Name>),
    /// These and these bare pods, since they drift.
    Drifted(BTreeSet<Name>),
}

/// What is to be restarted, and what is not.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// They are, in this order.
    pub workloads: Vec<Workload>,
    /// They are not, and why.
    pub skipped: Vec<Told>,
    /// Pods that nobody would make again; never touched.
    pub bare_pods: Vec<String>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unplanned {
    /// There is no such workload.
    #[error("there is no {name} in namespace {}{}", Clean(&name.namespace), or(meant.as_deref()))]
    Unknown {
        /// Its name.
        name: Name,
        /// The nearest that there is.
        meant: Option<String>,
    },
    /// It has a workload above it, which would undo what is done to it.
    #[error("{made} is made by {by}; restart that")]
    Made {
        /// It.
        made: String,
        /// The one above.
        by: String,
    },
    /// Some belong to restarts that are not over.
    #[error("{count} of them, such as {example}, belong to restart {run}, which is not over")]
    Taken {
        /// Such a restart.
        run: String,
        /// One of its workloads.
        example: Name,
        /// How many do.
        count: usize,
    },
}

impl Chosen {
    /// Those whose running pods are not as a new one would be.
    pub fn drifting(all: Vec<Standing>) -> Self {
        let drifts = |one: &Standing| one.actual.as_ref().is_some_and(|actual| !actual.differing.is_empty());
        let name = |Standing { namespace, kind, name, .. }: Standing| Name { namespace, kind, name };
        Self::Drifted(all.into_iter().filter(drifts).map(name).collect())
    }
}

/// Plans a restart of those that are chosen, but for the excepted.
///
/// # Errors
///
/// Where one that is named is not there, or some are in the hands of another restart.
pub fn plan(all: Vec<Workload>, pods: &[PodSeen], chosen: &Chosen, except: &[Name]) -> Result<Plan, Unplanned> {
    let mut plan = Plan { bare_pods: bare_pods(pods, chosen), ..Plan::default() };
    plan.skipped = unfit(&all, chosen, except)?;
    let is_named = matches!(chosen, Chosen::Named(_) | Chosen::Changed(_));
    let read: BTreeSet<String> = all.iter().map(|one| one.uid.clone()).collect();
    for workload in all {
        if !is_chosen(&workload, chosen) || except.contains(&workload.name) {
            continue;
        }
        let why = match (workload.way, above(&workload, &read)) {
            (Way::Never(Reason::FinishedJob), _) if !is_named => continue,
            (Way::Never(reason @ (Reason::Job | Reason::FinishedJob)), _) => reason.to_string(),
            (_, Above::Read) => continue,
            // Most likely one of a Deployment's old ones.
            (Way::Never(Reason::NoPods), Above::Unread(_)) if !is_named => continue,
            (_, Above::Unread(above)) => format!("it is made by {above}, which could not be read"),
            (Way::Never(reason), Above::Nothing) => reason.to_string(),
            (_, Above::Nothing) => match (chosen, &workload.mark) {
                (Chosen::Changed(_), Some(mark)) => format!("restart {} has it, which is not over", mark.run),
                _ => {
                    plan.workloads.push(workload);
                    continue;
                }
            },
        };
        plan.skipped.push(Told { workload: workload.name, why });
    }
    plan.workloads.sort_by(|left, right| left.name.cmp(&right.name));
    plan.skipped.sort_by(|left, right| left.workload.cmp(&right.workload));
    free(&plan.workloads)?;
    Ok(plan)
}

/// What makes a workload, and is restarted in its stead.
enum Above {
    Nothing,
    Read,
    /// It is not among those that were read, and so may be any.
    Unread(String),
}

fn above(workload: &Workload, read: &BTreeSet<String>) -> Above {
    let Workload { controller: Some(controller), kind, .. } = workload else { return Above::Nothing };
    match (kind.group.as_str(), kind.kind.as_str()) {
        _ if read.contains(&*controller.uid) => Above::Read,
        // Their template is another's, and they roll nothing out: whoever made them would put others in their place. What rolls
        // out by itself may well be made by an operator of a kind that nobody told us of.
        ("apps", "ReplicaSet") | ("", "ReplicationController") => {
            let (kind, name) = (controller.kind.to_lowercase(), &controller.name);
            Above::Unread(format!("{}/{}", Clean(&kind), Clean(name)))
        }
        _ => Above::Nothing,
    }
}

fn is_chosen(workload: &Workload, chosen: &Chosen) -> bool {
    match chosen {
        Chosen::All => true,
        Chosen::Labelled(selector) => has_labels(selector, &workload.labels),
        Chosen::Named(names) | Chosen::Changed(names) => names.contains(&workload.name),
        Chosen::Drifted(names) => names.contains(&workload.name),
    }
}

fn has_labels(selector: &Selector, labels: &BTreeMap<String, String>) -> bool {
    selector.matches_by(|key| labels.get(key).map(String::as_str))
}

fn bare_pods(pods: &[PodSeen], chosen: &Chosen) -> Vec<String> {
    let is_meant = |pod: &&PodSeen| match chosen {
        Chosen::All => true,
        Chosen::Labelled(selector) => has_labels(selector, &pod.labels),
        Chosen::Named(_) | Chosen::Changed(_) => false,
        Chosen::Drifted(names) => names.iter().any(|name| name.kind == "Pod" && name.name == pod.name),
    };
    let bare = pods.iter().filter(|pod| pod.controller.is_none()).filter(is_meant);
    let mut names: Vec<String> = bare.map(|pod| Clean(&pod.name).to_string()).collect();
    names.sort();
    names
}

/// Those that are meant by name and cannot be restarted, where that is no reason to restart nobody.
fn unfit(all: &[Workload], chosen: &Chosen, except: &[Name]) -> Result<Vec<Told>, Unplanned> {
    check_there(all, except)?;
    let there = by_name(all);
    let fits = |name: &Name| {
        let workload = there.get(name).ok_or_else(|| unknown(&there, name))?;
        let above = all.iter().find(|one| workload.controller.as_ref().is_some_and(|above| *above.uid == one.uid));
        match above.filter(|above| !matches!(above.way, Way::Never(Reason::CronJob))) {
            Some(above) => Err(Unplanned::Made { made: name.to_string(), by: above.name.to_string() }),
            None => Ok(()),
        }
    };
    match chosen {
        Chosen::Named(names) => names.iter().try_for_each(fits).map(|()| Vec::new()),
        Chosen::Changed(names) => {
            let why = |name: &Name| match there.contains_key(name) {
                true => fits(name).err().map(|why| unfit_for(&why)),
                false => Some("it is gone, or makes no pods by a template".to_owned()),
            };
            let told = |name: &Name| Some(Told { workload: name.clone(), why: why(name)? });
            Ok(names.iter().filter_map(told).collect())
        }
        Chosen::All | Chosen::Labelled(_) | Chosen::Drifted(_) => Ok(Vec::new()),
    }
}

fn by_name(all: &[Workload]) -> BTreeMap<&Name, &Workload> {
    all.iter().map(|one| (&one.name, one)).collect()
}

fn unknown(there: &BTreeMap<&Name, &Workload>, name: &Name) -> Unplanned {
    let known: Vec<String> = there.keys().map(ToString::to_string).collect();
    let meant = nearest(&name.to_string(), known.iter().map(String::as_str)).map(str::to_owned);
    Unplanned::Unknown { name: name.clone(), meant }
}

/// Refuses names of what is not there.
pub(super) fn check_there(all: &[Workload], names: &[Name]) -> Result<(), Unplanned> {
    let there = by_name(all);
    let missing = names.iter().find(|name| !there.contains_key(name));
    missing.map_or(Ok(()), |name| Err(unknown(&there, name)))
}

fn or(meant: Option<&str>) -> String {
    meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default()
}

fn unfit_for(why: &Unplanned) -> String {
    match why {
        Unplanned::Made { by, .. } => format!("it is made by {by}; restart that"),
        Unplanned::Unknown { .. } | Unplanned::Taken { .. } => why.to_string(),
    }
}

/// Whether no other restart has any of them.
fn free(workloads: &[Workload]) -> Result<(), Unplanned> {
    let marked = || workloads.iter().filter_map(|one| Some((one, one.mark.as_ref()?)));
    let Some((example, mark)) = marked().next() else { return Ok(()) };
    let count = marked().filter(|(_, other)| other.run == mark.run).count();
    Err(Unplanned::Taken { run: mark.run.clone(), example: example.name.clone(), count })
}
