//! What PodDisruptionBudgets allow. A roll-out does not ask them, so whoever starts one does.
//!
//! Limits: a budget is taken to cover a workload by the labels of its pod template; labels that only a webhook adds are not
//! seen.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{Selector, SelectorExt};

use super::workload::Workload;
use crate::kernel::text::Clean;

/// A PodDisruptionBudget.
#[derive(Debug, Clone)]
pub struct Budget {
    namespace: String,
    name: String,
    selector: Option<Selector>,
    allowed: i64,
    healthy: i64,
    desired: i64,
    is_current: bool,
}

impl From<&PodDisruptionBudget> for Budget {
    fn from(budget: &PodDisruptionBudget) -> Self {
        let PodDisruptionBudget { metadata, spec, status } = budget;
        let selector = spec.as_ref().and_then(|spec| spec.selector.clone());
        let count = |number: Option<i32>| number.unwrap_or(0).into();
        let status = status.as_ref();
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            selector: selector.and_then(|selector| selector.try_into().ok()),
            allowed: count(status.and_then(|status| status.disruptions_allowed)),
            healthy: count(status.and_then(|status| status.current_healthy)),
            desired: count(status.and_then(|status| status.desired_healthy)),
            is_current: status.and_then(|status| status.observed_generation) >= metadata.generation,
        }
    }
}

impl Budget {
    /// Whether it is about the pods of a workload.
    pub fn covers(&self, workload: &Workload) -> bool {
        self.namespace == workload.name.namespace
            && self.selector.as_ref().is_some_and(|selector| selector.matches(&workload.pod_labels))
    }

    /// Whether a roll-out of a workload has to ask it. One whose new pods are ready before its old ones end takes nothing from any
    /// budget, and an eviction asks by itself.
    pub fn limits(&self, workload: &Workload) -> bool {
        workload.way.down() > 0 && self.covers(workload)
    }

    /// How many pods may be taken down now.
    pub fn allowed(&self) -> i64 {
        if self.is_current { self.allowed } else { 0 }
    }

    /// A sentence for why none may.
    pub fn refusal(&self) -> String {
        let Self { name, healthy, desired, is_current, .. } = self;
        let name = Clean(name);
        if !is_current {
            return format!("PodDisruptionBudget {name} has just changed, and says nothing yet");
        }
        format!(
            "PodDisruptionBudget {name} allows no disruption: {healthy} pods are healthy, and it asks for {desired}"
        )
    }

    /// A sentence for why none may while another restart takes down pods of this workload.
    pub fn refusal_beside(&self, other: &Workload) -> String {
        let run = other.mark.as_ref().map(|mark| mark.run.as_str()).unwrap_or_default();
        format!(
            "restart {run} replaces pods of {}, which PodDisruptionBudget {} covers too; if it is not under way any more, \
             `outrigger restart --resume {run} -n {namespace}` goes on with it, and --forget gives it up",
            other.name,
            Clean(&self.name),
            namespace = Clean(&self.namespace)
        )
    }
}
