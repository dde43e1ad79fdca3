//! Intake of the objects of one owner kind.

use std::collections::HashSet;

use tracing::info;

use super::templates::StandaloneTemplates;
use super::{ClusterIntake, IntakeKind, KindIntake, MetadataObject};
use crate::decision::facts::Owner;
use crate::kubernetes::client::workload::WatchedWorkload;
use crate::kubernetes::intake::follow::WatchFailure;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::{KindAvailability, OwnerKind};

pub(crate) struct OwnerIntake<'i> {
    pub(crate) inventory: &'i Inventory,
    pub(crate) kind: &'i OwnerKind,
    /// Templates that are read one by one, where objects come without their spec.
    pub(crate) templates: Option<&'i StandaloneTemplates<'i>>,
}

impl<'i> OwnerIntake<'i> {
    pub(crate) fn new(inventory: &'i Inventory, kind: &'i OwnerKind) -> Self {
        Self { inventory, kind, templates: None }
    }

    fn owner(&self, WatchedWorkload { metadata, spec }: WatchedWorkload) -> Owner {
        match self.templates {
            Some(templates) => templates.owner(&metadata),
            None => self.kind.workload(&metadata, spec, self.inventory.settings.mesh),
        }
    }
}

impl KindIntake for OwnerIntake<'_> {
    type Object = WatchedWorkload;
    type Batch = HashSet<Box<str>>;

    fn stage(&self, listed: &mut Self::Batch, object: WatchedWorkload) -> Result<(), String> {
        let uid: Box<str> = object.metadata.uid.as_deref().unwrap_or_default().into();
        self.inventory.insert_owner(uid.clone(), self.owner(object));
        listed.insert(uid);
        Ok(())
    }

    fn commit(&self, listed: Self::Batch) {
        let Self { inventory, kind, templates } = self;
        inventory.retain_owners(&listed, |owner| *owner.kind == *kind.kind && *owner.group == *kind.group);
        inventory.owner_kinds.set_availability(kind, KindAvailability::Filled);
        if let Some(templates) = templates {
            templates.forget_missing();
        }
    }
}

impl ClusterIntake for OwnerIntake<'_> {
    fn kind(&self) -> IntakeKind {
        IntakeKind::Owners(self.kind.clone())
    }

    fn remove(&self, object: &WatchedWorkload) {
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        if let Some(templates) = self.templates {
            templates.forget(uid);
        }
        self.inventory.remove_owner(uid);
    }

    fn absent(&self, failure: WatchFailure) -> bool {
        let Self { inventory, kind, .. } = self;
        let Some(why) = failure.reason() else { return false };
        // Missing owners of an optional kind must not keep us from deciding; a chain then ends before them, and says so.
        let optional = !["apps", "batch", ""].contains(&kind.group.as_str());
        if optional {
            info!(group = kind.group, "{} are not watched: {why}", kind.plural);
            inventory.owner_kinds.set_availability(kind, KindAvailability::Absent);
        }
        optional
    }

    /// A cluster without this kind is no problem to report.
    fn unlisted(&self, is_served: bool) -> Option<&'static str> {
        let availability = if is_served { KindAvailability::Filling } else { KindAvailability::Absent };
        self.inventory.owner_kinds.set_availability(self.kind, availability);
        is_served.then_some("decisions leave out these owners, and the owners above them")
    }
}

impl From<MetadataObject> for WatchedWorkload {
    fn from(MetadataObject { metadata }: MetadataObject) -> Self {
        Self { metadata, spec: Default::default() }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::runtime::watcher::Event;

    use super::*;
    use crate::decision::facts::DecisionSettings;
    use crate::kubernetes::inventory::owner_kind::OwnerKinds;

    fn replica_set(uid: &str) -> WatchedWorkload {
        let metadata = ObjectMeta { uid: Some(uid.to_owned()), name: Some(uid.to_owned()), ..ObjectMeta::default() };
        WatchedWorkload { metadata, spec: Default::default() }
    }

    #[test]
    fn what_a_new_list_no_longer_holds_is_forgotten_at_its_end_and_not_before() {
        let inventory = Inventory::new(DecisionSettings::usual(), OwnerKinds::default(), Vec::new());
        let kind = inventory.owner_kinds.find("apps", "ReplicaSet").expect("it is built in").clone();
        let other = inventory.owner_kinds.find("batch", "Job").expect("it is built in");
        inventory.owners.insert("job", other.owner(&ObjectMeta::default(), None));
        let (intake, mut listed) = (OwnerIntake::new(&inventory, &kind), HashSet::new());
        let mut keep = |event| intake.take_event(&mut listed, event).unwrap();
        let known = || ["a", "b", "job"].map(|uid| inventory.owners.get(uid).is_some());
        [Event::Init, Event::InitApply(replica_set("a")), Event::InitDone].into_iter().for_each(&mut keep);
        assert_eq!(known(), [true, false, true]);
        [Event::Init, Event::InitApply(replica_set("b"))].into_iter().for_each(&mut keep);
        assert_eq!(known(), [true, true, true], "until the list is complete, what was known stays known");
        keep(Event::InitDone);
        assert_eq!(known(), [false, true, true], "and another kind's objects are none of its business");
        keep(Event::Delete(replica_set("b")));
        assert_eq!(known(), [false, false, true]);
    }

    #[test]
    fn a_list_forgets_nothing_of_a_kind_of_the_same_name_in_another_group() {
        let other: OwnerKind = "apps.kruise.io/v1beta1/statefulsets/StatefulSet".parse().unwrap();
        let inventory =
            Inventory::new(DecisionSettings::usual(), OwnerKinds::default().with_kinds([other.clone()]), Vec::new());
        let ours = inventory.owner_kinds.find("apps", "StatefulSet").expect("it is built in").clone();
        for (kind, objects) in [(ours, vec![replica_set("web")]), (other, vec![])] {
            let (intake, mut listed) = (OwnerIntake::new(&inventory, &kind), HashSet::new());
            let events = objects.into_iter().map(Event::InitApply);
            for event in std::iter::once(Event::Init).chain(events).chain([Event::InitDone]) {
                intake.take_event(&mut listed, event).unwrap();
            }
        }
        assert!(inventory.owners.get("web").is_some());
    }
}
