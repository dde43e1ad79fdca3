//! Effect of a suspension: its targets, and what its user may not expect.

use std::sync::Arc;

use super::prepare::SuspensionWorld;
use super::targets::{SuspensionTargets, find_targets};
use super::traffic::{ServiceSuspension, plan_routing};
use super::warning::SuspensionWarning;
use crate::decision::facts::Facts;
use crate::decision::reason::{DecisionRule, RuleOutcome};
use crate::decision::suspension::{InjectionSuspension, SuspensionSet};
use crate::decision::{Decision, decide};
use crate::features::status::running::RunningPods;
use crate::kubernetes::resources::suspension_fields::SuspensionPeriod;
use crate::kubernetes::resources::suspension_object::{SuspensionObject, SuspensionPhase};

/// Limit of the workloads that are named in lines.
const MOST_NAMED: usize = 10;

/// Effect of a suspension that exists, or is to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct SuspensionEffect {
    /// Period; `None` if the suspension is invalid.
    pub period: Option<SuspensionPeriod>,
    pub subject: SubjectEffect,
    pub warnings: Vec<SuspensionWarning>,
}

/// Effect on the pods, or on the traffic.
#[derive(Debug, Clone, PartialEq)]
pub enum SubjectEffect {
    Injection(SuspensionTargets),
    Traffic(Vec<ServiceSuspension>),
}

impl SuspensionEffect {
    /// Determines the effect. The inventory does not change.
    pub fn new(world: &SuspensionWorld<'_>, suspension: &SuspensionObject) -> Self {
        let period = suspension.period(world.limits.longest_suspension).ok();
        let mut warnings = Vec::new();
        if period.is_some_and(|period| period.is_shortened) {
            warnings.push(SuspensionWarning::Shortened);
        }
        let subject = if suspension.suspends_traffic() {
            SubjectEffect::Traffic(plan_routing(world.inventory, suspension, world.now))
        } else {
            let targets = find_targets(world.inventory, suspension, &world.limits, world.now);
            warnings.extend(describe_targets(world, &targets));
            warnings.extend(sidecars_that_stay(world, &targets, period));
            warnings.extend(overlapping(&targets));
            warnings.extend(refused_targets(world, &targets, suspension));
            SubjectEffect::Injection(targets)
        };
        Self { period, subject, warnings }
    }

    /// Returns the targets in lines of text.
    pub fn lines(&self) -> Vec<String> {
        match &self.subject {
            SubjectEffect::Injection(targets) => targets_in_lines(targets),
            SubjectEffect::Traffic(services) => services.iter().flat_map(service_in_lines).collect(),
        }
    }
}

fn describe_targets(world: &SuspensionWorld<'_>, targets: &SuspensionTargets) -> Vec<SuspensionWarning> {
    let mut warnings = Vec::new();
    let caches = world.inventory.cache_states();
    if let Some((unread, _)) = caches.into_iter().find(|(_, is_synced)| !is_synced) {
        warnings.push(SuspensionWarning::TargetsUnknown { unread });
    } else if targets.workloads.is_empty() && targets.unknown == 0 {
        warnings.push(SuspensionWarning::NoTargets);
    }
    if targets.unknown > 0 {
        warnings.push(SuspensionWarning::TemplatesUnread { workloads: targets.unknown });
    }
    warnings
}

/// Counts running pods with a sidecar, unless the suspension is over or pods are not read.
fn sidecars_that_stay(
    world: &SuspensionWorld<'_>,
    targets: &SuspensionTargets,
    period: Option<SuspensionPeriod>,
) -> Option<SuspensionWarning> {
    if targets.workloads.is_empty() || period?.phase(world.now) == SuspensionPhase::Over {
        return None;
    }
    let namespaces = targets.namespaces();
    let only = namespaces.first().copied().filter(|_| namespaces.len() == 1);
    let running = RunningPods::in_namespace(world.inventory, only);
    if !running.are_known() {
        return None;
    }
    let pods = targets.workloads.iter().flat_map(|workload| running.pods_of(workload));
    let pods = pods.filter(|pod| pod.sidecar.is_some()).count();
    (pods > 0).then_some(SuspensionWarning::SidecarsStay { pods })
}

fn overlapping(SuspensionTargets { overlapping, .. }: &SuspensionTargets) -> Option<SuspensionWarning> {
    (!overlapping.is_empty()).then(|| SuspensionWarning::Overlapping { others: overlapping.clone() })
}

/// Counts targets whose cluster policy allows no exception. Such a policy refuses only suspensions of a namespace.
fn refused_targets(
    world: &SuspensionWorld<'_>,
    targets: &SuspensionTargets,
    suspension: &SuspensionObject,
) -> Option<SuspensionWarning> {
    let SuspensionWorld { inventory, limits, now } = world;
    suspension.namespace.as_ref()?;
    let (_, compiled) = suspension.compile(limits.longest_suspension).ok()?;
    let at = compiled.starts_at.max(*now);
    // Other suspensions do not matter for what a policy refuses.
    let only_this = Arc::new(SuspensionSet::new(vec![compiled]));
    let mut refusals = Vec::new();
    for workload in &targets.workloads {
        inventory.with_new_pod_facts(workload, |facts| {
            let facts = Facts { suspensions: Ok(Arc::clone(&only_this)), ..facts.clone() };
            refusals.extend(refusing_policy(&decide(&facts, at), suspension));
        });
    }
    let (refused, targets) = (refusals.len(), targets.workloads.len());
    let policy = refusals.into_iter().next()?;
    Some(SuspensionWarning::RefusedByPolicy { policy, refused, targets })
}

/// Returns the policy that refuses this suspension in a decision.
fn refusing_policy(decision: &Decision<'_>, suspension: &SuspensionObject) -> Option<String> {
    let is_ours = |rule: &DecisionRule<'_>| match rule {
        DecisionRule::Suspension(InjectionSuspension { name, namespace, .. }) => {
            **name == *suspension.name && namespace.as_deref() == suspension.namespace.as_deref()
        }
        _ => false,
    };
    match &decision.considered.iter().find(|one| is_ours(&one.rule))?.outcome {
        RuleOutcome::Refused(policy) => Some(policy.to_string()),
        _ => None,
    }
}

fn targets_in_lines(targets: &SuspensionTargets) -> Vec<String> {
    let count = targets.workloads.len();
    if count == 0 {
        return Vec::new();
    }
    let of_namespaces = match targets.namespaces().len() {
        1 => String::new(),
        namespaces => format!(" of {namespaces} namespaces"),
    };
    let named = targets.workloads.iter().take(MOST_NAMED);
    let mut lines = vec![format!("New pods of {count} workloads{of_namespaces} get no sidecar:")];
    lines.extend(named.map(|one| format!("  {}/{} in {}", one.kind.to_lowercase(), one.name, one.namespace)));
    if count > MOST_NAMED {
        lines.push(format!("  and {} more", count - MOST_NAMED));
    }
    lines
}

/// Describes the routing of a service; a service with an obstacle has none.
fn service_in_lines(ServiceSuspension { namespace, service, routing }: &ServiceSuspension) -> Vec<String> {
    let Ok(routing) = routing else { return Vec::new() };
    let objects = routing.destination_rule.iter().chain([&routing.virtual_service]);
    let kinds: Vec<_> = objects.filter_map(|object| object["kind"].as_str()).collect();
    let mut lines = vec![format!("Service {namespace}/{service}: {} are written. Not reached:", kinds.join(" and "))];
    lines.extend(routing.not_reached.iter().map(|sentence| format!("  {sentence}")));
    lines
}
