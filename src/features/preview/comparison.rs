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

/// What would change, by namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Preview {
    /// How much would change.
    pub summary: PreviewSummary,
    /// The namespaces in which something would change, by name.
    pub namespaces: Vec<NamespacePreview>,
}

/// How much would change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviewSummary {
    /// Workloads, and pods without one, that were looked at.
    pub workloads: usize,
    /// Those whose new pods would be different.
    pub changed: usize,
    /// Those that would be decided by another rule, to the same end.
    pub other_rule: usize,
    /// Those whose new pods would get a sidecar, and get none now.
    pub gaining: usize,
    /// Those whose new pods would get none, and get one now.
    pub losing: usize,
    /// Those that would become unreachable.
    pub unreachable: usize,
    /// Running pods of all of them; absent where pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<usize>,
    /// Running pods of those whose new pods would be different.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_pods: Option<usize>,
}

/// What would change in one namespace.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "PreviewOfNamespace")]
pub struct NamespacePreview {
    /// Its name.
    pub namespace: String,
    /// The workloads whose new pods would be different.
    pub workloads: Vec<WorkloadDifference>,
}

/// What would change for one workload.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Difference")]
pub struct WorkloadDifference {
    /// Its kind; `Pod` for a pod that no known workload made.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How many pods of it run; absent where pods are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<usize>,
    /// What a new pod gets now.
    pub before: NewPodOutcome,
    /// What a new pod would get.
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
