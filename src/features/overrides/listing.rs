//! Every override that stands, and what becomes of it: told by the decisions that it is considered in.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::decision::decide;
use crate::decision::facts::{Facts, Pod, RequestKind};
use crate::decision::owner_override::{Until, Wish};
use crate::decision::reason::{Outcome, Override, PassedOver, Rule, Source};
use crate::decision::{Action, Decision};
use crate::features::preview::comparison::{Origin, origins_with};
use crate::features::status::running::RunningPods;
use crate::kernel::text::sanitized;
use crate::kubernetes::inventory::{Inventory, Question};

/// An override, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Override")]
pub struct Standing {
    /// The namespace that it is in, or on.
    pub namespace: String,
    /// On what kind of place it stands.
    pub place: Place,
    /// The object, such as `Deployment/web`; of a pod template its workload.
    pub object: String,
    /// The annotation or label.
    pub key: String,
    /// Its value, as written.
    pub value: String,
    /// What it asks for; none where the value is neither on nor off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'static str>,
    /// Its reason, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was written last, where the API server tells; of the mesh's own markers it is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Its end, as a time or as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// What becomes of it, in one word.
    pub outcome: &'static str,
    /// Why, in one sentence.
    pub why: String,
    /// The rule that refuses it, passes it over or comes before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// For how many workloads, and pods without one, that is so.
    pub workloads: usize,
}

/// On what an override stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(rename = "OverridePlace")]
pub enum Place {
    /// A namespace.
    Namespace,
    /// A workload's own metadata.
    Workload,
    /// The template of a workload's pods.
    PodTemplate,
    /// A pod that no known workload made.
    Pod,
}

/// What becomes of each override, of the whole inventory.
pub fn standing(inventory: &Inventory, now: Timestamp) -> Vec<Standing> {
    standing_within(inventory, now, None)
}

/// The same of one namespace, or of all.
pub fn standing_within(inventory: &Inventory, now: Timestamp, within: Option<&str>) -> Vec<Standing> {
    let mut found = Vec::new();
    let mut occupied = BTreeSet::new();
    for origin in origins_with(inventory, &RunningPods::within(inventory, within)) {
        occupied.insert(origin.namespace().to_owned());
        found.extend(origin.about(inventory, |facts| of_facts(facts, now, Some(&origin))));
    }
    for entry in inventory.namespaces.all() {
        let namespace = entry.namespace();
        let is_wanted = within.is_none_or(|wanted| *namespace.name == *wanted);
        if is_wanted && namespace.wish.inject.is_some() && !occupied.contains(&*namespace.name) {
            // Nothing is in it yet; what a pod would meet is told.
            let pod = Pod { namespace: (&*namespace.name).into(), ..Pod::default() };
            let kind = &RequestKind::PodCreate;
            let question = Question { kind, pod: &pod, controller: None, requester_is_trusted: true };
            found.extend(of_facts(&inventory.facts_for(question, &[]), now, None));
        }
    }
    counted(found)
}

/// The same standing only once, counted.
fn counted(found: Vec<Standing>) -> Vec<Standing> {
    let mut counts: BTreeMap<Standing, usize> = BTreeMap::new();
    for one in found {
        let workloads = one.workloads;
        *counts.entry(Standing { workloads: 0, ..one }).or_default() += workloads;
    }
    counts.into_iter().map(|(one, workloads)| Standing { workloads, ..one }).collect()
}

fn of_facts(facts: &Facts<'_>, now: Timestamp, origin: Option<&Origin>) -> Vec<Standing> {
    let decision = decide(facts, now);
    let telling = Telling { facts, decision: &decision, origin };
    let considered = decision.considered.iter().filter_map(|one| match &one.rule {
        Rule::Override(Override { source: Source::UncountedOwner(_), .. }) => None,
        Rule::Override(own) => Some(telling.considered(own, &one.outcome)),
        Rule::Safety(_) | Rule::Suspension(_) | Rule::Policy(_) | Rule::Nothing | Rule::Unknown(..) => None,
    });
    let mut told: Vec<_> = considered.collect();
    if told.is_empty() && matches!(decision.rule, Rule::Safety(_)) {
        told.extend(telling.in_vain());
    }
    told
}

struct Telling<'t, 'f, 'a> {
    facts: &'t Facts<'a>,
    decision: &'t Decision<'f>,
    origin: Option<&'t Origin>,
}

impl Telling<'_, '_, '_> {
    fn considered(&self, own: &Override<'_>, outcome: &Outcome<'_>) -> Standing {
        let by = match outcome {
            Outcome::Refused(policy) | Outcome::PassedOver(PassedOver::Stripped(policy)) => Some(policy.to_string()),
            Outcome::Outranked => Some(self.decision.rule.to_string()),
            Outcome::Won
            | Outcome::NoMatch(_)
            | Outcome::NotYet(_)
            | Outcome::Ended(_)
            | Outcome::PassedOver(_)
            | Outcome::Would(_)
            | Outcome::Untold
            | Outcome::Unknown(_) => None,
        };
        Standing { outcome: outcome.as_str(), why: outcome.to_string(), by, ..self.standing(own) }
    }

    /// Our own annotations where a rule of safety keeps every override from being considered.
    fn in_vain(&self) -> Vec<Standing> {
        let Facts { pod, owners, .. } = self.facts;
        let of_owners = owners.chain.iter().map(|owner| (Source::Workload(owner), owner.wish()));
        let wishes = [(Source::Pod, &pod.annotations.wish)].into_iter().chain(of_owners);
        let told = wishes.filter_map(|(source, wish)| {
            let own = Override { source, value: wish.inject.as_deref()?, reason: wish.reason.as_deref() };
            let why = self.decision.rule.sentence().to_string();
            let by = Some(self.decision.rule.to_string());
            Some(Standing { outcome: "PassedOver", why, by, ..self.standing(&own) })
        });
        told.collect()
    }

    fn standing(&self, own: &Override<'_>) -> Standing {
        let Override { source, value, reason } = own;
        let (place, object) = self.place(source);
        let asks = match source {
            Source::Marker(_) | Source::Legacy(_) => self.facts.settings.mesh.reads(value),
            Source::Pod | Source::Workload(_) | Source::UncountedOwner(_) | Source::Namespace(_) => {
                ["true", "false"].contains(value).then_some(*value == "true")
            }
        };
        let until = self.wish(source).and_then(|wish| wish.until.as_ref()).map(|until| match until {
            Until::At(end) => end.to_string(),
            Until::Unreadable(text) => sanitized(text),
        });
        let since = match source {
            Source::Pod | Source::Workload(_) | Source::Namespace(_) => self.wish(source).and_then(|wish| wish.since),
            Source::Marker(_) | Source::Legacy(_) | Source::UncountedOwner(_) => None,
        };
        Standing {
            namespace: sanitized(&self.facts.pod.namespace),
            place,
            object,
            key: source.key().to_owned(),
            value: sanitized(value),
            action: asks.map(|on| if on { Action::Enable } else { Action::Disable }.as_str()),
            reason: reason.map(sanitized),
            since,
            until,
            outcome: "",
            why: String::new(),
            by: None,
            workloads: usize::from(self.origin.is_some()),
        }
    }

    fn place(&self, source: &Source<'_>) -> (Place, String) {
        let named = |kind: &str, name: &str| format!("{}/{}", sanitized(kind), sanitized(name));
        match (source, self.origin) {
            (Source::Namespace(name), _) => (Place::Namespace, named("Namespace", name)),
            (Source::Workload(owner), _) => (Place::Workload, named(&owner.kind, &owner.name)),
            (Source::UncountedOwner(owner), _) => (Place::Workload, named(&owner.kind, &owner.name)),
            (Source::Pod | Source::Marker(_) | Source::Legacy(_), Some(origin)) => {
                let place = if origin.kind() == "Pod" { Place::Pod } else { Place::PodTemplate };
                (place, named(origin.kind(), origin.name()))
            }
            (Source::Pod | Source::Marker(_) | Source::Legacy(_), None) => (Place::Pod, String::new()),
        }
    }

    fn wish<'w>(&'w self, source: &Source<'w>) -> Option<&'w Wish<'w>> {
        match source {
            Source::Pod | Source::Marker(_) | Source::Legacy(_) => Some(&self.facts.pod.annotations.wish),
            Source::Workload(owner) => Some(owner.wish()),
            Source::UncountedOwner(_) => None,
            Source::Namespace(_) => self.facts.namespace.as_ref().ok().map(|namespace| &namespace.wish),
        }
    }
}
