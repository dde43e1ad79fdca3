//! Prepares what a user asks for: a plan that can be applied, or a refusal. Pure.

use jiff::Timestamp;

use super::change::{SuspensionChange, SuspensionRefusal, draft_suspension, plan_change};
use super::request::{ChangeRequest, NewSuspension};
use super::traffic::{TrafficObstacle, plan_routing};
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rules::RuleLimits;
use crate::kubernetes::resources::stored_suspension::StoredSuspension;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Knowledge that plans and effects of suspensions depend on.
#[derive(Debug, Clone, Copy)]
pub struct SuspensionWorld<'w> {
    pub inventory: &'w Inventory,
    pub limits: RuleLimits,
    pub now: Timestamp,
}

/// New suspension that can be stored, unless there are obstacles.
#[derive(Debug, Clone, PartialEq)]
pub struct CreationPlan {
    pub draft: SuspensionObject,
    /// Obstacles to suspending the traffic. With any, the suspension is stored only if it exists already.
    pub obstacles: Vec<TrafficObstacle>,
    /// Whether the user gave the start.
    pub(super) has_start: bool,
}

/// Change of a suspension that can be stored, as long as the spec stays as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangePlan {
    pub(super) stored: StoredSuspension,
    /// Write at the time of the preparation. The write is planned again when the plan is applied.
    change: SuspensionChange,
    pub(super) request: ChangeRequest,
    pub(super) limits: RuleLimits,
}

impl SuspensionWorld<'_> {
    /// # Errors
    ///
    /// Refuses a spec that the API server would refuse too, and one that would be over before it begins.
    pub fn prepare_creation(&self, request: NewSuspension) -> Result<CreationPlan, SuspensionRefusal> {
        let has_start = request.spec.starts_at.is_some();
        let draft = draft_suspension(request, self.now, &self.limits)?;
        let services = match draft.suspends_traffic() {
            true => plan_routing(self.inventory, &draft, self.now),
            false => Vec::new(),
        };
        let obstacles = services.into_iter().filter_map(|service| service.routing.err()).collect();
        Ok(CreationPlan { draft, obstacles, has_start })
    }

    /// # Errors
    ///
    /// Refuses a change of a suspension that is over, and an extension that does not make it last longer.
    pub fn prepare_change(
        &self,
        stored: StoredSuspension,
        request: ChangeRequest,
    ) -> Result<ChangePlan, SuspensionRefusal> {
        let change = plan_change(&stored.object, request, self.now, &self.limits)?;
        Ok(ChangePlan { stored, change, request, limits: self.limits })
    }
}

impl ChangePlan {
    /// Returns the suspension as it will be; as it is, if it is deleted.
    pub fn changed_object(&self) -> &SuspensionObject {
        match &self.change {
            SuspensionChange::Write(changed) => changed,
            SuspensionChange::Delete => &self.stored.object,
        }
    }
}
