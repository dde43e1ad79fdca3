//! Whom a suspension hits, told before it is made.

use jiff::Timestamp;

use crate::cli::looking::Looked;
use crate::cli::times::told;
use crate::decision::decide;
use crate::decision::facts::RunningPod;
use crate::decision::reason::{Outcome, Rule as Reason};
use crate::features::explain::about::of_new_pod;
use crate::features::status::running::RunningPods;
use crate::features::suspension::traffic::routing_for;
use crate::features::suspension::whom::{Whom, whom};
use crate::kubernetes::inventory::rule_kind::RuleKind;
use crate::kubernetes::inventory::rules::Rule;
use crate::kubernetes::resources::suspending::Period;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// How many are named.
const MOST_NAMED: usize = 10;

/// What is to be told, and whether something stands in the way.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Sentences for people, in order.
    pub(super) lines: Vec<String>,
    /// What stands in the way, a sentence each; then nothing is done.
    pub(super) obstacles: Vec<String>,
}

impl Summary {
    pub(super) fn of(looked: &Looked, draft: &SuspensionObject) -> Self {
        let mut summary = Self::default();
        let Ok(period) = draft.period(looked.terms.longest_suspension) else { return summary };
        summary.lines.push(format!("{} {}", lead(draft), lasting(&period, looked.now)));
        if period.is_shortened {
            summary.lines.push("The installation's maximum ends it earlier than was asked for.".to_owned());
        }
        if draft.suspends_traffic() {
            summary.traffic(looked, draft);
        } else {
            summary.injection(looked, draft, &period);
        }
        summary
    }

    fn injection(&mut self, looked: &Looked, draft: &SuspensionObject, period: &Period) {
        let Looked { inventory, now, terms, .. } = looked;
        let found = whom(inventory, draft, terms, *now);
        let Whom { workloads, unknown, also } = &found;
        let of_namespaces = match found.namespaces().len() {
            1 => String::new(),
            namespaces => format!(" of {namespaces} namespaces"),
        };
        match workloads.len() {
            0 if !looked.problems.is_empty() => {
                self.lines.push("Whom it hits is not known, since not everything could be read.".to_owned());
            }
            0 if *unknown == 0 => {
                self.lines.push("It matches no workload at present; it holds for those that come.".to_owned())
            }
            count => self.lines.push(format!("New pods of {count} workloads{of_namespaces} get no sidecar:")),
        }
        let named = workloads.iter().take(MOST_NAMED);
        self.lines.extend(named.map(|one| format!("  {}/{} in {}", one.kind.to_lowercase(), one.name, one.namespace)));
        if workloads.len() > MOST_NAMED {
            self.lines.push(format!("  and {} more", workloads.len() - MOST_NAMED));
        }
        if *unknown > 0 {
            self.lines.push(format!("Of {unknown} more it cannot be told, since their pod templates are not read."));
        }
        if inventory.pods.is_synced() {
            let running = RunningPods::of(inventory);
            let has_sidecar = |pod: &&std::sync::Arc<RunningPod>| pod.sidecar.is_some();
            let with: usize =
                workloads.iter().map(|one| running.of_workload(one).iter().filter(has_sidecar).count()).sum();
            if with > 0 {
                self.lines
                    .push(format!("{with} running pods keep the sidecar that they have, until they are replaced."));
            }
        }
        if !also.is_empty() {
            let also = also.join(", ");
            self.lines.push(format!("Some are suspended by {also} too; they are as long as any of them holds."));
        }
        self.refused(looked, draft, period, &found);
    }

    /// A policy that allows no exception is not departed from by a suspension of a namespace.
    fn refused(&mut self, looked: &Looked, draft: &SuspensionObject, period: &Period, found: &Whom) {
        let Looked { inventory, now, terms, .. } = looked;
        let Ok((_, compiled)) = draft.compiled(terms.longest_suspension) else { return };
        let kind =
            if draft.namespace.is_some() { RuleKind::SuspensionPolicy } else { RuleKind::ClusterSuspensionPolicy };
        let name = (draft.namespace.clone().unwrap_or_default().into(), draft.name.as_str().into());
        inventory.rules.insert(kind, name, Rule::Suspension(compiled));
        let at = period.starts_at.max(*now);
        let mut refused = 0;
        let mut by = None;
        for workload in &found.workloads {
            of_new_pod(inventory, workload, |facts| {
                let decision = decide(facts, at);
                let is_ours = |rule: &Reason<'_>| matches!(rule, Reason::Suspension(one) if *one.name == *draft.name);
                let ours = decision.considered.iter().find(|one| is_ours(&one.rule));
                if let Some(Outcome::Refused(policy)) = ours.map(|one| &one.outcome) {
                    refused += 1;
                    by.get_or_insert_with(|| policy.to_string());
                }
            });
        }
        if let Some(by) = by {
            let all = found.workloads.len();
            let sentence = format!(
                "It has no effect on {refused} of {all} workloads: {by} allows no exception; a cluster suspension does it."
            );
            self.lines.push(sentence);
        }
    }

    fn traffic(&mut self, looked: &Looked, draft: &SuspensionObject) {
        for one in routing_for(&looked.inventory, draft, looked.now) {
            let named =
                if one.namespace.is_empty() { one.service } else { format!("{}/{}", one.namespace, one.service) };
            match one.routing {
                Err(obstacle) => self.obstacles.push(obstacle.sentence().to_owned()),
                Ok(routing) => {
                    let objects = routing.destination_rule.iter().chain([&routing.virtual_service]);
                    let kinds: Vec<_> = objects.filter_map(|object| object["kind"].as_str()).collect();
                    self.lines.push(format!("Service {named}: {} are written. Not reached:", kinds.join(" and ")));
                    self.lines.extend(routing.not_reached.iter().map(|sentence| format!("  {sentence}")));
                }
            }
        }
    }
}

fn lead(draft: &SuspensionObject) -> String {
    let what = if draft.suspends_traffic() { "traffic" } else { "injection" };
    format!("{} suspends {what}", draft.named())
}

fn lasting(Period { starts_at, ends_at, .. }: &Period, now: Timestamp) -> String {
    let from = if *starts_at > now { format!("from {} ", told(*starts_at)) } else { String::new() };
    match ends_at {
        Some(end) => format!("{from}until {}", told(*end)),
        None => format!("{from}until somebody ends it"),
    }
}
