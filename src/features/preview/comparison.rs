//! Comparison of new pods before and after a change of the rules.
//!
//! Running pods never change. They are counted because new pods take their place.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::decision::effect::EffectOutcome;
use crate::features::new_pod::NewPodOutcome;
use crate::features::pod_source::PodSource;
use crate::kernel::text::sanitize;

/// Changes for new pods, by namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Preview {
    /// Number of changes.
    pub summary: PreviewSummary,
    /// Namespaces with changes, sorted by name.
    pub namespaces: Vec<NamespacePreview>,
}

/// Number of changes for new pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviewSummary {
    /// Number of workloads compared, and of pods without a workload.
    pub workloads: usize,
    /// Number of workloads whose new pods would be different.
    pub changed: usize,
    /// Number of workloads that another rule would decide, with the same result.
    pub other_rule: usize,
    /// Number of workloads whose new pods would get a sidecar and get none now.
    pub gaining: usize,
    /// Number of workloads whose new pods would get no sidecar and get one now.
    pub losing: usize,
    /// Number of workloads whose new pods would ask for a sidecar that no injector gives.
    pub unreachable: usize,
    /// Number of running pods; absent if pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<usize>,
    /// Number of running pods of the changed workloads; absent if pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_pods: Option<usize>,
}

/// Changes in one namespace.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "PreviewOfNamespace")]
pub struct NamespacePreview {
    /// Name of the namespace.
    pub namespace: String,
    /// Workloads whose new pods would be different.
    pub workloads: Vec<WorkloadDifference>,
}

/// Change for the new pods of one workload.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Difference")]
pub struct WorkloadDifference {
    /// Kind of the workload; `Pod` for a pod without a known workload.
    pub kind: String,
    /// Name of the workload.
    pub name: String,
    /// Number of running pods; absent if pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<usize>,
    /// Outcome for a new pod now.
    pub before: NewPodOutcome,
    /// Outcome for a new pod after the change.
    pub after: NewPodOutcome,
}

impl Preview {
    /// Compares the outcomes of each source before and after a change.
    pub fn compare<'o>(outcomes: impl Iterator<Item = (&'o PodSource, NewPodOutcome, NewPodOutcome)>) -> Self {
        let mut summary = PreviewSummary { pods: Some(0), changed_pods: Some(0), ..PreviewSummary::default() };
        let mut namespaces: BTreeMap<&str, Vec<WorkloadDifference>> = BTreeMap::new();
        let sum = |sum: Option<usize>, more: Option<usize>| sum.zip(more).map(|(sum, more)| sum + more);
        for (source, before, after) in outcomes {
            summary.workloads += 1;
            summary.pods = sum(summary.pods, source.pods);
            if before.is_equivalent(&after) {
                summary.other_rule += usize::from(before.rule != after.rule);
                continue;
            }
            summary.changed += 1;
            summary.changed_pods = sum(summary.changed_pods, source.pods);
            summary.gaining += usize::from(before.becomes(&after, EffectOutcome::Injected));
            summary.losing += usize::from(after.becomes(&before, EffectOutcome::Injected));
            summary.unreachable += usize::from(before.becomes(&after, EffectOutcome::Unreachable));
            let (kind, name) = (sanitize(source.kind()), sanitize(source.name()));
            let difference = WorkloadDifference { kind, name, pods: source.pods, before, after };
            namespaces.entry(source.namespace()).or_default().push(difference);
        }
        summary.changed_pods = summary.changed_pods.filter(|_| summary.pods.is_some());
        let namespace_preview = |(name, workloads): (&str, Vec<WorkloadDifference>)| NamespacePreview {
            namespace: sanitize(name),
            workloads,
        };
        Self { summary, namespaces: namespaces.into_iter().map(namespace_preview).collect() }
    }
}
