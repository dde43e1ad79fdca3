//! Intake of the routing objects of one kind.

use std::collections::HashSet;

use tracing::info;

use super::{ClusterIntake, IntakeKind, JsonObject, KindIntake};
use crate::kubernetes::intake::follow::WatchFailure;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::routing::{RoutingKind, object_key};

pub(crate) struct RoutingIntake<'i> {
    pub(crate) inventory: &'i Inventory,
    pub(crate) kind: RoutingKind,
}

impl KindIntake for RoutingIntake<'_> {
    type Object = JsonObject;
    type Batch = HashSet<Box<str>>;

    fn stage(&self, listed: &mut Self::Batch, object: JsonObject) -> Result<(), String> {
        // Of an object that cannot be read, its earlier state is better than nothing.
        listed.insert(object_key(&object.metadata));
        let inserted = self.inventory.routing.insert(self.kind, &object.metadata, &object.json);
        inserted.map_err(|why| object.describe_error(self.kind.as_str(), &why))
    }

    fn commit(&self, listed: Self::Batch) {
        self.inventory.routing.retain(self.kind, &listed);
    }
}

impl ClusterIntake for RoutingIntake<'_> {
    fn kind(&self) -> IntakeKind {
        IntakeKind::Routing(self.kind)
    }

    fn remove(&self, object: &JsonObject) {
        self.inventory.routing.remove(self.kind, &object.metadata);
    }

    fn absent(&self, failure: WatchFailure) -> bool {
        let Some(why) = failure.reason() else { return false };
        // A kind that we may not list stays unknown, and keeps traffic from being suspended.
        if failure == WatchFailure::Absent {
            self.inventory.routing.set_absent(self.kind);
        }
        let [group, _, plural, _] = self.kind.names();
        info!(group, "{plural} are not watched: {why}");
        true
    }

    fn unlisted(&self, is_served: bool) -> Option<&'static str> {
        if !is_served {
            self.inventory.routing.set_absent(self.kind);
        }
        is_served.then_some("obstacles to a suspension of traffic are unknown")
    }
}
