//! Plans of a request: the edit of each subject, and forecasts for the new pods that depend on it.
//!
//! Cost: one pass over the workloads of the subjects' namespaces, with three decisions for each affected workload.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::edit::plan_edit;
use super::forecast::{PodForecast, PodSourceName, SubjectChange};
use super::request::{OverrideMechanism, OverrideRefusal, OverrideRequest};
use super::subject::OverrideSubject;
use crate::decision::facts::{Facts, Owner};
use crate::features::pod_source::{PodSource, pod_sources};
use crate::features::preview::comparison::{NamespacePreview, Preview, WorkloadDifference};
use crate::features::preview::warnings::preview_warnings;
use crate::features::status::running::RunningPods;
use crate::kubernetes::client::metadata_edit::MetadataEdit;
use crate::kubernetes::inventory::Inventory;

/// Plan of a request, with one part for each subject.
#[derive(Debug, Clone, PartialEq)]
pub struct OverridePlan {
    pub subjects: Vec<SubjectPlan>,
    /// Side effects of the mesh that no decision shows, in one sentence each.
    pub warnings: Vec<String>,
}

/// Plan for one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct SubjectPlan {
    pub subject: OverrideSubject,
    pub edit: MetadataEdit,
    /// Forecast for the subject's own new pods; for a namespace, for a pod without a workload and without any marker.
    pub own_forecast: PodForecast,
    /// Forecasts for other workloads that the subject affects; for a namespace, everything in it.
    pub dependents: Vec<PodForecast>,
}

impl SubjectPlan {
    /// Returns the forecasts for all new pods that the subject affects.
    pub fn forecasts(&self) -> impl Iterator<Item = &PodForecast> + Clone {
        [&self.own_forecast].into_iter().chain(&self.dependents)
    }

    /// Describes the edit for somebody who keeps the object in a file.
    pub(super) fn describe_by_hand(&self) -> String {
        let fields: Vec<_> = self.edit.fields.iter().map(ToString::to_string).collect();
        format!("on {}, under {}, {}", self.subject.describe(), self.edit.metadata_path.join("."), fields.join(", "))
    }
}

/// Plans a request for these subjects. Effects of one subject on another are not considered.
///
/// # Errors
///
/// Fails if the edit of any subject is refused; then nothing should be written.
pub fn plan_overrides(
    inventory: &Inventory,
    request: &OverrideRequest,
    subjects: Vec<OverrideSubject>,
    now: Timestamp,
) -> Result<OverridePlan, OverrideRefusal> {
    let edits = subjects.iter().map(|subject| plan_edit(request, subject, inventory)).collect::<Result<Vec<_>, _>>()?;
    let running = RunningPods::from_inventory(inventory);
    let context =
        OverridePlanContext { inventory, request, now, running: &running, index: SubjectIndex::new(&subjects) };
    let mut dependents = context.forecast_dependents(&subjects, &edits);
    let plans = subjects.into_iter().zip(edits).enumerate().map(|(position, (subject, edit))| {
        let mut dependents = std::mem::take(&mut dependents[position]);
        let itself = |one: &PodForecast| one.kind == subject.kind() && one.name == subject.name();
        let own_forecast = match dependents.iter().position(itself) {
            Some(position) => dependents.remove(position),
            None => context.forecast_subject(&subject, &edit),
        };
        if request.mechanism == OverrideMechanism::PodTemplate {
            dependents.clear();
        }
        SubjectPlan { subject, edit, own_forecast, dependents }
    });
    let subjects: Vec<_> = plans.collect();
    let warnings = preview_warnings(&preview_subjects(&subjects), inventory);
    Ok(OverridePlan { subjects, warnings })
}

/// Returns the changed workloads of plans as a preview, from which the warnings are made.
fn preview_subjects(plans: &[SubjectPlan]) -> Preview {
    let mut by_namespace: BTreeMap<&str, Vec<WorkloadDifference>> = BTreeMap::new();
    for one in plans.iter().flat_map(SubjectPlan::forecasts).filter(|one| one.is_change()) {
        let PodForecast { namespace, kind, name, before, after, running, .. } = one;
        let pods = running.as_ref().map(|running| running.pods);
        let (kind, name, before, after) = (kind.clone(), name.clone(), before.clone(), after.clone());
        by_namespace.entry(namespace).or_default().push(WorkloadDifference { kind, name, pods, before, after });
    }
    let of_namespace =
        |(name, workloads): (&str, Vec<WorkloadDifference>)| NamespacePreview { namespace: name.to_owned(), workloads };
    let namespaces = by_namespace.into_iter().map(of_namespace).collect();
    Preview { namespaces, ..Preview::default() }
}

struct OverridePlanContext<'p> {
    inventory: &'p Inventory,
    request: &'p OverrideRequest,
    now: Timestamp,
    running: &'p RunningPods,
    index: SubjectIndex,
}

/// Group, kind, namespace and name.
type OwnerKey = (Arc<str>, Arc<str>, Arc<str>, Box<str>);

fn owner_key(Owner { group, kind, namespace, name, .. }: &Owner) -> OwnerKey {
    (Arc::clone(group), Arc::clone(kind), Arc::clone(namespace), name.clone())
}

/// Positions of subjects in their list.
struct SubjectIndex {
    workloads: HashMap<OwnerKey, usize>,
    namespaces: HashMap<String, usize>,
    namespace_names: HashSet<String>,
}

impl SubjectIndex {
    fn new(subjects: &[OverrideSubject]) -> Self {
        let mut index = Self { workloads: HashMap::new(), namespaces: HashMap::new(), namespace_names: HashSet::new() };
        for (position, subject) in subjects.iter().enumerate() {
            index.namespace_names.insert(subject.namespace().to_owned());
            match subject {
                OverrideSubject::Workload(owner) => {
                    index.workloads.insert(owner_key(owner), position);
                }
                OverrideSubject::Namespace(namespace) => {
                    index.namespaces.insert(namespace.name.to_string(), position);
                }
            }
        }
        index
    }

    /// Returns the positions of the subjects that affect new pods with these facts.
    fn find_subjects(&self, facts: &Facts<'_>) -> Vec<usize> {
        let of_owner = |owner: &Arc<Owner>| self.workloads.get(&owner_key(owner)).copied();
        let namespace = self.namespaces.get(&*facts.pod.namespace).copied();
        facts.owners.chain.iter().filter_map(of_owner).chain(namespace).collect()
    }
}

impl OverridePlanContext<'_> {
    /// Returns, for each subject, the forecasts of all workloads that it affects.
    fn forecast_dependents(&self, subjects: &[OverrideSubject], edits: &[MetadataEdit]) -> Vec<Vec<PodForecast>> {
        let mut forecasts: Vec<Vec<PodForecast>> = subjects.iter().map(|_| Vec::new()).collect();
        let known = self.inventory.pods.is_synced();
        for source in
            pod_sources(self.inventory).iter().filter(|one| self.index.namespace_names.contains(one.namespace()))
        {
            let pods = known.then(|| PodSource::running_pods(source, self.running));
            let name = PodSourceName { namespace: source.namespace(), kind: source.kind(), name: source.name() };
            source.with_facts(self.inventory, |facts| {
                for position in self.index.find_subjects(facts) {
                    let change = self.subject_change(&subjects[position], &edits[position]);
                    forecasts[position].push(change.forecast(name, facts, pods));
                }
            });
        }
        forecasts
    }

    /// Forecasts a subject's own new pods if it has no template of its own.
    fn forecast_subject(&self, subject: &OverrideSubject, edit: &MetadataEdit) -> PodForecast {
        let change = self.subject_change(subject, edit);
        let name = PodSourceName { namespace: subject.namespace(), kind: subject.kind(), name: subject.name() };
        match subject {
            OverrideSubject::Namespace(namespace) => {
                self.inventory.with_unmarked_pod_facts(&namespace.name, |facts| change.forecast(name, facts, None))
            }
            OverrideSubject::Workload(owner) => {
                let pods = self.inventory.pods.is_synced().then(|| self.running.pods_of(owner));
                self.inventory.with_new_pod_facts(owner, |facts| change.forecast(name, facts, pods))
            }
        }
    }

    fn subject_change<'c>(&'c self, subject: &'c OverrideSubject, edit: &'c MetadataEdit) -> SubjectChange<'c> {
        SubjectChange { request: self.request, subject, edit, now: self.now }
    }
}
