//! Describes the effect of a suspension before it is created.

use jiff::Timestamp;

use crate::cli::snapshot::ClusterSnapshot;
use crate::cli::times::format_instant;
use crate::decision::decide;
use crate::decision::facts::RunningPod;
use crate::decision::reason::{DecisionRule as Reason, RuleOutcome};
use crate::features::status::running::RunningPods;
use crate::features::suspension::targets::{SuspensionTargets, find_targets};
use crate::features::suspension::traffic::plan_routing;
use crate::kubernetes::inventory::rule_kind::RuleKind;
use crate::kubernetes::inventory::rules::ParsedRule;
use crate::kubernetes::resources::suspension_fields::SuspensionPeriod;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Limit of the workloads that are named.
const MOST_NAMED: usize = 10;

/// Sentences about a new suspension, and its obstacles.
#[derive(Debug, Default)]
pub(super) struct SuspensionSummary {
    /// Sentences, in the order in which they are printed.
    pub(super) lines: Vec<String>,
    /// Obstacles, a sentence each; with any of them, nothing is created.
    pub(super) obstacles: Vec<String>,
}

impl SuspensionSummary {
    pub(super) fn new(snapshot: &ClusterSnapshot, draft: &SuspensionObject) -> Self {
        let mut summary = Self::default();
        let Ok(period) = draft.period(snapshot.rule_limits.longest_suspension) else { return summary };
        summary.lines.push(format!("{} {}", describe_subject(draft), describe_period(&period, snapshot.now)));
        if period.is_shortened {
            summary.lines.push("The installation's maximum ends it earlier than was asked for.".to_owned());
        }
        if draft.suspends_traffic() {
            summary.add_traffic(snapshot, draft);
        } else {
            summary.add_injection(snapshot, draft, &period);
        }
        summary
    }

    fn add_injection(&mut self, snapshot: &ClusterSnapshot, draft: &SuspensionObject, period: &SuspensionPeriod) {
        let ClusterSnapshot { inventory, now, rule_limits: terms, .. } = snapshot;
        let targets = find_targets(inventory, draft, terms, *now);
        let SuspensionTargets { workloads, unknown, overlapping: also } = &targets;
        let of_namespaces = match targets.namespaces().len() {
            1 => String::new(),
            namespaces => format!(" of {namespaces} namespaces"),
        };
        match workloads.len() {
            0 if !snapshot.problems.is_empty() => {
                self.lines.push("Whom it hits is not known, since not everything could be read.".to_owned());
            }
            0 if *unknown == 0 => {
                self.lines.push("It matches no workload at present; it holds for those that come.".to_owned())
            }
            count => self.lines.push(format!("New pods of {count} workloads{of_namespaces} get no sidecar:")),
        }
        let named = workloads.iter().take(MOST_NAMED);
        self.lines.extend(named.map(|one| {
            format!("  {} in {}", crate::kernel::object_ref::ObjectRef::new(&*one.kind, &one.name), one.namespace)
        }));
        if workloads.len() > MOST_NAMED {
            self.lines.push(format!("  and {} more", workloads.len() - MOST_NAMED));
        }
        if *unknown > 0 {
            self.lines.push(format!("Of {unknown} more it cannot be told, since their pod templates are not read."));
        }
        if inventory.pods.is_synced() {
            let running = RunningPods::from_inventory(inventory);
            let has_sidecar = |pod: &&std::sync::Arc<RunningPod>| pod.sidecar.is_some();
            let with: usize = workloads.iter().map(|one| running.pods_of(one).iter().filter(has_sidecar).count()).sum();
            if with > 0 {
                self.lines
                    .push(format!("{with} running pods keep the sidecar that they have, until they are replaced."));
            }
        }
        if !also.is_empty() {
            let also = also.join(", ");
            self.lines.push(format!("Some are suspended by {also} too; they are as long as any of them holds."));
        }
        self.add_refusals(snapshot, draft, period, &targets);
    }

    /// Counts workloads whose policy allows no exception: there, a suspension of a namespace has no effect.
    fn add_refusals(
        &mut self,
        snapshot: &ClusterSnapshot,
        draft: &SuspensionObject,
        period: &SuspensionPeriod,
        targets: &SuspensionTargets,
    ) {
        let ClusterSnapshot { inventory, now, rule_limits: terms, .. } = snapshot;
        let Ok((_, compiled)) = draft.compile(terms.longest_suspension) else { return };
        let kind =
            if draft.namespace.is_some() { RuleKind::SuspensionPolicy } else { RuleKind::ClusterSuspensionPolicy };
        let name = (draft.namespace.clone().unwrap_or_default().into(), draft.name.as_str().into());
        inventory.rules.insert(kind, name, ParsedRule::Suspension(compiled));
        let at = period.starts_at.max(*now);
        let mut refused = 0;
        let mut by = None;
        for workload in &targets.workloads {
            inventory.with_new_pod_facts(workload, |facts| {
                let decision = decide(facts, at);
                let is_ours = |rule: &Reason<'_>| matches!(rule, Reason::Suspension(one) if *one.name == *draft.name);
                let ours = decision.considered.iter().find(|one| is_ours(&one.rule));
                if let Some(RuleOutcome::Refused(policy)) = ours.map(|one| &one.outcome) {
                    refused += 1;
                    by.get_or_insert_with(|| policy.to_string());
                }
            });
        }
        if let Some(by) = by {
            let all = targets.workloads.len();
            let sentence = format!(
                "It has no effect on {refused} of {all} workloads: {by} allows no exception; a cluster suspension does it."
            );
            self.lines.push(sentence);
        }
    }

    fn add_traffic(&mut self, snapshot: &ClusterSnapshot, draft: &SuspensionObject) {
        for one in plan_routing(&snapshot.inventory, draft, snapshot.now) {
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

fn describe_subject(draft: &SuspensionObject) -> String {
    let what = if draft.suspends_traffic() { "traffic" } else { "injection" };
    format!("{} suspends {what}", draft.describe())
}

fn describe_period(SuspensionPeriod { starts_at, ends_at, .. }: &SuspensionPeriod, now: Timestamp) -> String {
    let from = if *starts_at > now { format!("from {} ", format_instant(*starts_at)) } else { String::new() };
    match ends_at {
        Some(end) => format!("{from}until {}", format_instant(*end)),
        None => format!("{from}until somebody ends it"),
    }
}
