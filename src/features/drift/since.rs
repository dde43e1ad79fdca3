//! Since when it is decided as it is, and what that tells of running pods that are not as a new one would be: a webhook missed
//! them, or they are older.
//!
//! A receipt tells of a pod what was decided for it; without one the time of its creation tells, against that of everything that
//! the answer hangs on, as far as the API server tells when it was written.
//! Limits: times are in whole seconds. The API server does not tell when a label was taken away; whoever watches has seen it.
//! Of a rule that is gone nothing is known but by receipts, nor when an injector was configured otherwise.

use std::sync::Arc;

use jiff::Timestamp;

use crate::decision::Decision;
use crate::decision::effect::{Consequence, Outcome};
use crate::decision::facts::{Facts, RunningPod};
use crate::decision::policy::Matching;
use crate::decision::reason::{Outcome as Became, Rule, Source};
use crate::features::status::difference::key_of;
use crate::kubernetes::inventory::Inventory;

/// What tells of pods of one origin since when they differ.
#[derive(Debug)]
pub(crate) struct Since<'s> {
    outcome: Outcome,
    /// The receipt that a new pod gets.
    receipt: Option<&'s str>,
    /// When the rule that wins was written last.
    written: Option<Timestamp>,
    /// Since when, at the latest, the answer is what it is.
    settled: Option<Timestamp>,
}

/// How many pods that differ came to that in which way; of the others it cannot be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ages {
    /// They were created when it was decided as it is now.
    pub(crate) missed: usize,
    /// They were created when it was decided otherwise.
    pub(crate) older: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Missed,
    Older,
    Untold,
}

impl<'s> Since<'s> {
    /// What tells it where this is decided, and follows.
    pub(crate) fn of(
        inventory: &Inventory,
        facts: &'s Facts<'_>,
        decision: &Decision<'_>,
        follows: &'s Consequence<'_>,
    ) -> Self {
        let written = written(inventory, &decision.rule);
        let brought = facts.pod.receipt().map(|receipt| receipt.0);
        Self {
            outcome: follows.effect.outcome,
            receipt: follows.marks.receipt.after(brought),
            written,
            settled: written.and_then(|written| settled(written, facts, decision)),
        }
    }

    /// Of these pods, which differ.
    pub(crate) fn ages<'p>(&self, pods: impl IntoIterator<Item = &'p Arc<RunningPod>>) -> Ages {
        let mut ages = Ages::default();
        for pod in pods {
            match self.age(pod) {
                Age::Missed => ages.missed += 1,
                Age::Older => ages.older += 1,
                Age::Untold => {}
            }
        }
        ages
    }

    fn age(&self, pod: &RunningPod) -> Age {
        // A sidecar of another revision may be that to which a name led when the pod was created.
        let is_opposite = pod.sidecar.is_none() == (self.outcome == Outcome::Injected);
        let Some(receipt) = pod.pod.receipt() else { return self.age_by_time(pod.created_at, is_opposite) };
        if Some(receipt.0) != self.receipt {
            return Age::Older;
        }
        // We were asked, and the injector was not.
        if is_opposite && self.outcome == Outcome::Injected { Age::Missed } else { Age::Untold }
    }

    fn age_by_time(&self, created: Option<Timestamp>, is_opposite: bool) -> Age {
        let Some(created) = created else { return Age::Untold };
        match (self.written, self.settled) {
            (Some(written), _) if created < written => Age::Older,
            (_, Some(settled)) if settled < created && is_opposite => Age::Missed,
            (Some(_) | None, _) => Age::Untold,
        }
    }
}

impl Ages {
    /// Who did not do what is decided, if some were missed.
    pub(crate) fn unasked(outcome: Outcome) -> &'static str {
        match outcome {
            Outcome::Injected => "the webhooks were not asked, or did not answer",
            // The injector itself was, or there would be no sidecar.
            Outcome::NotInjected | Outcome::Unreachable | Outcome::Unknown => {
                "our webhook was not asked, or did not answer"
            }
        }
    }
}

/// When this rule was written last, where the API server tells.
fn written(inventory: &Inventory, rule: &Rule<'_>) -> Option<Timestamp> {
    match rule {
        Rule::Policy(policy) => {
            let (kind, name) = key_of(policy);
            inventory.standings.get(kind, &name).and_then(|standing| standing.since)
        }
        Rule::Override(own) => match &own.source {
            Source::Workload(owner) => owner.wish().since,
            Source::Namespace(name) => inventory.namespaces.get(name).and_then(|entry| entry.namespace().wish.since),
            Source::Pod | Source::Marker(_) | Source::Legacy(_) | Source::UncountedOwner(_) => None,
        },
        Rule::Safety(_) | Rule::Suspension(_) | Rule::Nothing | Rule::Unknown(..) => None,
    }
}

/// The latest of what the answer hangs on, beside the rule: labels, the template, and what came before the rule and has ended.
fn settled(written: Timestamp, facts: &Facts<'_>, decision: &Decision<'_>) -> Option<Timestamp> {
    let namespace = facts.namespace.as_ref().ok().and_then(|namespace| namespace.labelled_at);
    // As everywhere, the outermost owner with a template is the workload.
    let template = facts.owners.chain.iter().rev().find_map(|owner| owner.template.as_ref());
    let template = template.and_then(|template| template.written_at);
    if let Rule::Policy(policy) = decision.rule {
        let Matching { namespace_selector, workload_selector, pod_selector, .. } = &policy.matching;
        let by_workload = !workload_selector.selects_all() || !pod_selector.selects_all();
        if (!namespace_selector.selects_all() && namespace.is_none()) || (by_workload && template.is_none()) {
            return None;
        }
    }
    let ended = decision.considered.iter().filter_map(|one| match one.outcome {
        Became::Ended(end) => Some(end),
        _ => None,
    });
    [Some(written), namespace, template].into_iter().flatten().chain(ended).max()
}
