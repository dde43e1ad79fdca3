//! Everything that a change is about to do: what is written on each subject, and what new pods get for it.
//!
//! Cost: one pass over the workloads of the subjects' namespaces, with three decisions for each that is concerned.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::change::{Asked, Place, Refusal};
use super::edit::Edit;
use super::prospect::{Changing, Name, Prospect};
use super::subject::Subject;
use crate::decision::facts::{Facts, Owner};
use crate::features::explain::about::{of_new_pod, of_unmarked_pod};
use crate::features::preview::comparison::{Difference, OfNamespace, Origin, Preview, origins};
use crate::features::status::running::RunningPods;
use crate::kubernetes::inventory::Inventory;

/// What is about to happen to one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The subject.
    pub subject: Subject,
    /// What is written on it.
    pub edit: Edit,
    /// What its own new pods get; of a namespace, a pod that says nothing itself and that no workload makes.
    pub own: Prospect,
    /// What new pods of others get that it is also about: of a namespace everything in it.
    pub others: Vec<Prospect>,
}

impl Planned {
    /// What somebody would write who keeps the object in a file.
    pub fn by_hand(&self) -> String {
        let fields: Vec<_> = self.edit.fields.iter().map(ToString::to_string).collect();
        format!("on {}, under {}, {}", self.subject.named(), self.edit.path.join("."), fields.join(", "))
    }
}

/// Plans a change of these subjects, without looking at what one means for another.
///
/// # Errors
///
/// When something cannot be written on one of them; then nothing should be.
pub fn plan(
    inventory: &Inventory,
    asked: &Asked,
    subjects: Vec<Subject>,
    now: Timestamp,
) -> Result<Vec<Planned>, Refusal> {
    let edits = subjects.iter().map(|subject| Edit::of(asked, subject, inventory)).collect::<Result<Vec<_>, _>>()?;
    let running = RunningPods::of(inventory);
    let looking = Looking { inventory, asked, now, running: &running, index: Index::of(&subjects) };
    let mut others = looking.concerned(&subjects, &edits);
    let planned = subjects.into_iter().zip(edits).enumerate().map(|(position, (subject, edit))| {
        let mut others = std::mem::take(&mut others[position]);
        let itself = |one: &Prospect| one.kind == subject.kind() && one.name == subject.name();
        let own = match others.iter().position(itself) {
            Some(position) => others.remove(position),
            None => looking.own(&subject, &edit),
        };
        if asked.place == Place::PodTemplate {
            others.clear();
        }
        Planned { subject, edit, own, others }
    });
    Ok(planned.collect())
}

/// The same as a preview, for whoever looks for what else there is to know of a change.
pub fn preview_of(planned: &[Planned]) -> Preview {
    let mut by_namespace: BTreeMap<&str, Vec<Difference>> = BTreeMap::new();
    for one in planned.iter().flat_map(|one| [&one.own].into_iter().chain(&one.others)).filter(|one| one.is_change()) {
        let Prospect { namespace, kind, name, before, after, running, .. } = one;
        let pods = running.as_ref().map(|running| running.pods);
        let (kind, name, before, after) = (kind.clone(), name.clone(), before.clone(), after.clone());
        by_namespace.entry(namespace).or_default().push(Difference { kind, name, pods, before, after });
    }
    let of_namespace =
        |(name, workloads): (&str, Vec<Difference>)| OfNamespace { namespace: name.to_owned(), workloads };
    let namespaces = by_namespace.into_iter().map(of_namespace).collect();
    Preview { namespaces, ..Preview::default() }
}

struct Looking<'l> {
    inventory: &'l Inventory,
    asked: &'l Asked,
    now: Timestamp,
    running: &'l RunningPods,
    index: Index,
}

/// A group, a kind, a namespace and a name.
type Key = (Arc<str>, Arc<str>, Arc<str>, Box<str>);

fn key_of(Owner { group, kind, namespace, name, .. }: &Owner) -> Key {
    (Arc::clone(group), Arc::clone(kind), Arc::clone(namespace), name.clone())
}

/// Where each subject stands in its list.
struct Index {
    workloads: HashMap<Key, usize>,
    namespaces: HashMap<String, usize>,
    concerned: HashSet<String>,
}

impl Index {
    fn of(subjects: &[Subject]) -> Self {
        let mut index = Self { workloads: HashMap::new(), namespaces: HashMap::new(), concerned: HashSet::new() };
        for (position, subject) in subjects.iter().enumerate() {
            index.concerned.insert(subject.namespace().to_owned());
            match subject {
                Subject::Workload(owner) => {
                    index.workloads.insert(key_of(owner), position);
                }
                Subject::Namespace(namespace) => {
                    index.namespaces.insert(namespace.name.to_string(), position);
                }
            }
        }
        index
    }

    /// The subjects that new pods with these facts hang on.
    fn positions(&self, facts: &Facts<'_>) -> Vec<usize> {
        let of_owner = |owner: &Arc<Owner>| self.workloads.get(&key_of(owner)).copied();
        let namespace = self.namespaces.get(&*facts.pod.namespace).copied();
        facts.owners.chain.iter().filter_map(of_owner).chain(namespace).collect()
    }
}

impl Looking<'_> {
    /// For each subject the prospects of everything that new pods come from and that it is about.
    fn concerned(&self, subjects: &[Subject], edits: &[Edit]) -> Vec<Vec<Prospect>> {
        let mut found: Vec<Vec<Prospect>> = subjects.iter().map(|_| Vec::new()).collect();
        let known = self.inventory.pods.is_synced();
        for origin in origins(self.inventory).iter().filter(|one| self.index.concerned.contains(one.namespace())) {
            let pods = known.then(|| Origin::running(origin, self.running));
            let of = Name { namespace: origin.namespace(), kind: origin.kind(), name: origin.name() };
            origin.about(self.inventory, |facts| {
                for position in self.index.positions(facts) {
                    let changing = self.changing(&subjects[position], &edits[position]);
                    found[position].push(changing.prospect(of, facts, pods));
                }
            });
        }
        found
    }

    /// What a subject's own new pods get where no template of its own tells.
    fn own(&self, subject: &Subject, edit: &Edit) -> Prospect {
        let changing = self.changing(subject, edit);
        let of = Name { namespace: subject.namespace(), kind: subject.kind(), name: subject.name() };
        match subject {
            Subject::Namespace(namespace) => {
                of_unmarked_pod(self.inventory, &namespace.name, |facts| changing.prospect(of, facts, None))
            }
            Subject::Workload(owner) => {
                let pods = self.inventory.pods.is_synced().then(|| self.running.of_workload(owner));
                of_new_pod(self.inventory, owner, |facts| changing.prospect(of, facts, pods))
            }
        }
    }

    fn changing<'c>(&'c self, subject: &'c Subject, edit: &'c Edit) -> Changing<'c> {
        Changing { asked: self.asked, subject, edit, now: self.now }
    }
}
