//! Limits that PodDisruptionBudgets set. A roll-out does not ask the budgets, so a restart has to.
//!
//! Limits: a budget is matched with the labels of the pod template. Labels that only a webhook adds are not seen.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{Selector, SelectorExt};

use super::workload::WorkloadSnapshot;
use crate::kernel::text::CleanText;

/// State and selector of one PodDisruptionBudget.
#[derive(Debug, Clone)]
pub struct DisruptionBudget {
    namespace: String,
    name: String,
    selector: Option<Selector>,
    allowed: i64,
    healthy: i64,
    desired: i64,
    is_current: bool,
}

impl From<&PodDisruptionBudget> for DisruptionBudget {
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

impl DisruptionBudget {
    /// Returns whether the budget selects the pods of the workload.
    pub fn covers(&self, workload: &WorkloadSnapshot) -> bool {
        self.namespace == workload.name.namespace
            && self.selector.as_ref().is_some_and(|selector| selector.matches(&workload.pod_labels))
    }

    /// Returns whether a roll-out of the workload needs room in this budget. A roll-out needs none if its new pods
    /// are ready before its old pods end. An eviction asks the budget by itself.
    pub fn limits(&self, workload: &WorkloadSnapshot) -> bool {
        workload.strategy.pods_down() > 0 && self.covers(workload)
    }

    /// Returns the number of pods that may be taken down now. A status older than the budget's specification allows
    /// none.
    pub fn allowed_disruptions(&self) -> i64 {
        if self.is_current { self.allowed } else { 0 }
    }

    /// Explains in a sentence why the budget allows no disruption.
    pub fn refusal(&self) -> String {
        let Self { name, healthy, desired, is_current, .. } = self;
        let name = CleanText(name);
        if !is_current {
            return format!("PodDisruptionBudget {name} has just changed, and says nothing yet");
        }
        format!(
            "PodDisruptionBudget {name} allows no disruption: {healthy} pods are healthy, and it asks for {desired}"
        )
    }

    /// Explains in a sentence why the budget allows nothing while `other` takes down pods for another restart.
    pub fn refusal_because_of(&self, other: &WorkloadSnapshot) -> String {
        let run = other.mark.as_ref().map(|mark| mark.run.as_str()).unwrap_or_default();
        format!(
            "restart {run} replaces pods of {}, which PodDisruptionBudget {} covers too; if it has ended early, \
             resume it by `outrigger restart --resume {run} -n {namespace}`, or give it up by --forget",
            other.name,
            CleanText(&self.name),
            namespace = CleanText(&self.namespace)
        )
    }
}
