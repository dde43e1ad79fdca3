//! Who is in the mesh: of every workload what its new pods would get, what its running pods have, and what follows.
//!
//! Every workload kind counts, and every pod is looked at. Cost: one decision for each workload.

use crate::features::status::difference::differs;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::running::RunningPods;
use crate::decision::decide;
use crate::decision::effect::{Consequence, Outcome, consequence};
use crate::decision::facts::RunningPod;
use crate::decision::mesh::{Injector, Place};
use crate::decision::reason::Rule;
use crate::features::drift::since::{Ages, Since};
use crate::features::explain::explanation::{EffectTold, RuleName};
use crate::features::preview::comparison::{Origin, origins_with};
use crate::kernel::text::sanitized;
use crate::kubernetes::inventory::Inventory;

/// How a workload stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[schemars(rename = "WorkloadState")]
pub enum State {
    /// Its new pods get a sidecar, or bring one, and all that run have it.
    InMesh,
    /// Its new pods get none, and none that runs has one.
    OutIntended,
    /// Its new pods get a sidecar, and some were created without one though that was so already.
    OutUnexpected,
    /// Its running pods are not as new ones would be, and no webhook is known to have missed one that was to get a sidecar.
    PendingRestart,
    /// Some of its pods are as new ones would be, and some are not.
    Mixed,
    /// What is decided cannot have its effect.
    Unreachable,
    /// Injection is suspended for it.
    Suspended,
    /// It has no pods.
    NoPods,
    /// What its new pods would get, or what its pods have, cannot be told.
    Unknown,
}

impl State {
    /// All of them, the most worrying first.
    pub const ALL: [Self; 9] = [
        Self::OutUnexpected,
        Self::Unreachable,
        Self::Mixed,
        Self::PendingRestart,
        Self::Suspended,
        Self::Unknown,
        Self::InMesh,
        Self::OutIntended,
        Self::NoPods,
    ];

    /// The words for it.
    pub fn words(self) -> &'static str {
        match self {
            Self::InMesh => "in mesh",
            Self::OutIntended => "out (intended)",
            Self::OutUnexpected => "out (unexpected)",
            Self::PendingRestart => "pending restart",
            Self::Mixed => "mixed",
            Self::Unreachable => "unreachable",
            Self::Suspended => "suspended",
            Self::NoPods => "no pods",
            Self::Unknown => "unknown",
        }
    }
}

/// How one workload, or a pod that no known workload made, stands.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WorkloadStanding")]
pub struct Standing {
    /// Its namespace.
    pub namespace: String,
    /// Its kind; `Pod` for a pod that no known workload made.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// Why, in one sentence.
    pub why: String,
    /// What is decided for its new pods.
    pub desired: Desired,
    /// What the injector will do with them.
    pub effect: EffectTold,
    /// What its running pods have; absent where pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<Actual>,
}

/// What is decided for new pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Desired {
    /// What is to happen.
    pub action: &'static str,
    /// The rule that wins.
    pub rule: RuleName,
    /// Why, in one sentence.
    pub reason: String,
    /// Until when that holds, where the rule itself ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What running pods have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Actual {
    /// Pods that have not run to their end.
    pub pods: usize,
    /// Those of them with a sidecar.
    pub with_sidecar: usize,
    /// The names of those that are not as a new pod would be; empty where that cannot be told.
    pub differing: Vec<String>,
}

/// How all of a namespace stand.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NamespaceStanding")]
pub struct OfNamespace {
    /// Its name.
    pub namespace: String,
    /// Those of its labels that the mesh's injector reads.
    pub injection_labels: BTreeMap<String, String>,
    /// What the injector does with a pod of it that says nothing itself.
    pub unmarked_pods: EffectTold,
    /// How many of each state.
    pub totals: Totals,
    /// Its workloads, the most worrying first.
    pub workloads: Vec<Standing>,
}

/// How many of each state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// All of them.
    pub workloads: usize,
    /// By state; a state of which there is none is left out.
    pub by_state: BTreeMap<State, usize>,
    /// Running pods.
    pub pods: usize,
    /// Those with a sidecar.
    pub with_sidecar: usize,
}

/// How every workload stands, in order of namespaces, kinds and names.
pub fn standings(inventory: &Inventory, now: Timestamp) -> Vec<Standing> {
    standings_within(inventory, now, None)
}

/// The same of one namespace, or of all.
pub fn standings_within(inventory: &Inventory, now: Timestamp, namespace: Option<&str>) -> Vec<Standing> {
    let running = RunningPods::within(inventory, namespace);
    let origins = origins_with(inventory, &running);
    origins.iter().map(|origin| standing_of(inventory, now, origin, &running)).collect()
}

/// How one of them stands, with these pods.
pub fn standing_of(inventory: &Inventory, now: Timestamp, origin: &Origin, running: &RunningPods) -> Standing {
    let pods = running.are_known().then(|| origin.running(running));
    Looking { inventory, now }.standing(origin, pods)
}

/// The same by namespace, with what the namespaces' own labels do; namespaces without workloads are among them.
pub fn by_namespace(inventory: &Inventory, standings: Vec<Standing>) -> Vec<OfNamespace> {
    let mut of: BTreeMap<String, Vec<Standing>> = BTreeMap::new();
    for entry in inventory.namespaces.all() {
        of.insert(entry.namespace().name.to_string(), Vec::new());
    }
    for one in standings {
        of.entry(one.namespace.clone()).or_default().push(one);
    }
    of.into_iter().map(|(namespace, workloads)| of_namespace(inventory, namespace, workloads)).collect()
}

/// How all of one namespace stand.
pub fn of_namespace(inventory: &Inventory, namespace: String, mut workloads: Vec<Standing>) -> OfNamespace {
    let worry = |state: State| State::ALL.iter().position(|one| *one == state);
    workloads.sort_by(|left, right| {
        (worry(left.state), &left.kind, &left.name).cmp(&(worry(right.state), &right.kind, &right.name))
    });
    let totals = Totals::of(&workloads);
    let injection_labels = injection_labels(inventory, &namespace);
    let unmarked_pods = crate::features::explain::about::of_unmarked_pod(inventory, &namespace, |facts| {
        EffectTold::from(&crate::decision::effect::left_alone(facts).effect)
    });
    OfNamespace { namespace, injection_labels, unmarked_pods, totals, workloads }
}

/// The labels, or annotations, of a namespace that this mesh's injector reads.
fn injection_labels(inventory: &Inventory, name: &str) -> BTreeMap<String, String> {
    let Some(entry) = inventory.namespaces.get(name) else { return BTreeMap::new() };
    let (namespace, mesh) = (entry.namespace(), inventory.settings.mesh);
    let keys = match mesh.injector {
        Injector::Istio { .. } => vec!["istio-injection", "istio.io/rev", "istio.io/dataplane-mode"],
        Injector::Linkerd { .. } | Injector::Unread => Vec::new(),
    };
    let label = |key: &str| Some((key.to_owned(), sanitized(namespace.labels.get(key)?)));
    let marker = (mesh.marker_place == Place::Annotation).then_some(namespace.marker.as_deref()).flatten();
    let marker = marker.map(|value| (mesh.marker_key.to_owned(), sanitized(value)));
    keys.into_iter().filter_map(label).chain(marker).collect()
}

impl Totals {
    /// Counts.
    pub fn of<'s>(standings: impl IntoIterator<Item = &'s Standing>) -> Self {
        let mut totals = Self::default();
        for Standing { state, actual, .. } in standings {
            totals.workloads += 1;
            *totals.by_state.entry(*state).or_default() += 1;
            if let Some(Actual { pods, with_sidecar, .. }) = actual {
                totals.pods += pods;
                totals.with_sidecar += with_sidecar;
            }
        }
        totals
    }
}

struct Looking<'l> {
    inventory: &'l Inventory,
    now: Timestamp,
}

impl Looking<'_> {
    fn standing(&self, origin: &Origin, pods: Option<&[Arc<RunningPod>]>) -> Standing {
        origin.about(self.inventory, |facts| {
            let decision = decide(facts, self.now);
            let follows = consequence(facts, &decision);
            let desired = Desired {
                action: decision.action.as_str(),
                rule: (&decision.rule).into(),
                reason: decision.rule.sentence().to_string(),
                until: decision.until,
            };
            let differing: Vec<_> =
                pods.unwrap_or_default().iter().filter(|pod| differs(pod, facts, &follows)).collect();
            let told = Told {
                rule: &decision.rule,
                follows: &follows,
                pods,
                differing: &differing,
                bring: facts.pod.has_sidecar,
                ages: Since::of(self.inventory, facts, &decision, &follows).ages(differing.iter().copied()),
            };
            let (state, why) = told.state();
            let named = |pod: &&Arc<RunningPod>| sanitized(&pod.name);
            let actual = pods.map(|pods| Actual {
                pods: pods.len(),
                with_sidecar: pods.iter().filter(|pod| pod.sidecar.is_some()).count(),
                differing: differing.iter().map(named).collect(),
            });
            Standing {
                namespace: sanitized(origin.namespace()),
                kind: sanitized(origin.kind()),
                name: sanitized(origin.name()),
                state,
                why,
                desired,
                effect: (&follows.effect).into(),
                actual,
            }
        })
    }
}

struct Told<'t> {
    rule: &'t Rule<'t>,
    follows: &'t Consequence<'t>,
    pods: Option<&'t [Arc<RunningPod>]>,
    differing: &'t [&'t Arc<RunningPod>],
    ages: Ages,
    /// Whether new pods bring a sidecar.
    bring: bool,
}

impl Told<'_> {
    fn state(&self) -> (State, String) {
        let Self { rule, follows, pods, differing, ages: Ages { missed, .. }, bring } = self;
        let outcome = follows.effect.outcome;
        let Some(pods) = pods else { return (State::Unknown, "its pods are not known".to_owned()) };
        let (all, count) = (pods.len(), differing.len());
        let with = pods.iter().filter(|pod| pod.sidecar.is_some()).count();
        let have = format!("{with} of {all} pods have a sidecar");
        if matches!(rule, Rule::Suspension(_)) {
            return (State::Suspended, format!("new pods get no sidecar while it lasts; {have}"));
        }
        match outcome {
            Outcome::Unreachable => return (State::Unreachable, follows.effect.why.to_string()),
            Outcome::Unknown => return (State::Unknown, follows.effect.why.to_string()),
            Outcome::Injected | Outcome::NotInjected => {}
        }
        if all == 0 {
            return (State::NoPods, "no pod of it runs".to_owned());
        }
        match (outcome, count) {
            (Outcome::Injected, 0) => (State::InMesh, have),
            (_, 0) if with > 0 => {
                let state = if with == all { State::InMesh } else { State::Mixed };
                let tells = if *bring { "" } else { "nothing tells whether they " };
                (state, format!("{have}, and {tells}bring it themselves"))
            }
            (_, 0) => (State::OutIntended, have),
            (Outcome::Injected, _) if *missed > 0 && with < all => {
                let sentence = format!(
                    "{missed} of {all} pods were created after that was decided, and are not as a new pod would be"
                );
                (State::OutUnexpected, format!("{sentence}: {}", Ages::unasked(outcome)))
            }
            (_, count) if count == all => {
                (State::PendingRestart, format!("{have}, and none is as a new pod would be: {}", self.cause()))
            }
            (_, count) => {
                let sentence = format!("{have}, and {count} are not as a new pod would be");
                let cause = if *missed > 0 { format!(": {}", self.cause()) } else { String::new() };
                (State::Mixed, sentence + &cause)
            }
        }
    }

    fn cause(&self) -> String {
        let Self { follows, differing, ages: Ages { missed, older }, .. } = self;
        match (missed, older) {
            (0, older) if *older == differing.len() => "they are older".to_owned(),
            (0, _) => "they are older, or a webhook was not asked".to_owned(),
            (missed, _) => {
                format!("{missed} created after that was decided, {}", Ages::unasked(follows.effect.outcome))
            }
        }
    }
}
