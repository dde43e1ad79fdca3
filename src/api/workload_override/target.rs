//! Target of an override request, taken from the path.

use crate::api::extract::ApiRequest;
use crate::api::problem::ApiProblem;
use crate::api::session::AuditedObject;
use crate::decision::facts::Owner;
use crate::features::overrides::subject::{OverrideSubject, is_controlled_replica_set, overridable_workloads};
use crate::kernel::object_ref::ObjectRef;
use crate::kernel::text::CleanText;
use crate::kernel::text::nearest_word;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::{KindAvailability, OwnerKind};

/// Namespace, or a workload in it by kind and name.
pub(super) struct OverrideTarget {
    namespace: String,
    workload: Option<(String, String)>,
}

impl OverrideTarget {
    pub(super) fn from_request(request: &ApiRequest) -> Self {
        let namespace = request.path_part("namespace").unwrap_or_default();
        Self { namespace, workload: request.path_part("kind").zip(request.path_part("name")) }
    }

    /// Returns the object for the audit entry.
    pub(super) fn audited_object(&self) -> AuditedObject {
        match &self.workload {
            Some((kind, name)) => AuditedObject::new(kind, &self.namespace, Some(name)),
            None => AuditedObject::new("Namespace", &self.namespace, Some(&self.namespace)),
        }
    }

    /// Returns the namespace and the workload name that the caller needs a right for.
    pub(super) fn right_scope(&self) -> (&str, Option<&str>) {
        (&self.namespace, self.workload.as_ref().map(|(_, name)| name.as_str()))
    }

    /// Finds the subject in the inventory.
    pub(super) fn find_subject(&self, inventory: &Inventory) -> Result<OverrideSubject, ApiProblem> {
        match &self.workload {
            None => self.find_namespace(inventory),
            Some((kind, name)) => self.find_workload(inventory, find_kind(inventory, kind)?, name),
        }
    }

    fn find_namespace(&self, inventory: &Inventory) -> Result<OverrideSubject, ApiProblem> {
        if let Some(found) = OverrideSubject::find_namespace(inventory, &self.namespace) {
            return Ok(found);
        }
        if !inventory.namespaces.is_synced() {
            return Err(ApiProblem::new(503, "the namespaces are still being read; try again in a moment"));
        }
        let known = inventory.namespaces.all();
        let suggestion = nearest_word(&self.namespace, known.iter().map(|entry| &*entry.namespace().name));
        Err(ApiProblem::not_found(format!(
            "there is no namespace {}{}",
            CleanText(&self.namespace),
            did_you_mean(suggestion)
        )))
    }

    fn find_workload(
        &self,
        inventory: &Inventory,
        kind: &OwnerKind,
        name: &str,
    ) -> Result<OverrideSubject, ApiProblem> {
        let namespace = self.namespace.as_str();
        let in_namespace = |owner: &Owner| *owner.namespace == *namespace;
        let is_target =
            |owner: &Owner| *owner.kind == *kind.kind && *owner.group == *kind.group && *owner.name == *name;
        let known = overridable_workloads(inventory, in_namespace);
        if let Some(found) = known.iter().find(|owner| is_target(owner)) {
            return Ok(OverrideSubject::Workload(found.clone()));
        }
        let (missing, namespace) = (ObjectRef::new(&*kind.kind, name).to_string(), CleanText(namespace));
        let copies = inventory.owners.all();
        if let Some(copy) =
            copies.iter().find(|owner| in_namespace(owner) && is_target(owner) && is_controlled_replica_set(owner))
        {
            let controller = copy.controller.as_ref().expect("a copy has a controller");
            let controller = ObjectRef::new(&*controller.kind, &*controller.name);
            return Err(ApiProblem::new(422, format!("{missing} is made by {controller}; name that")));
        }
        let known: Vec<_> = known.iter().map(|owner| ObjectRef::new(&*owner.kind, &owner.name).to_string()).collect();
        let suggestion = did_you_mean(nearest_word(&missing, known.iter().map(String::as_str)));
        Err(ApiProblem::not_found(format!("there is no {missing} in namespace {namespace}{suggestion}")))
    }
}

/// Finds a kind by its name in the path, in upper or lower case.
fn find_kind<'i>(inventory: &'i Inventory, typed: &str) -> Result<&'i OwnerKind, ApiProblem> {
    let kinds = &inventory.owner_kinds;
    let can_have = |kind: &&OwnerKind| kind.group != "gateway.networking.k8s.io";
    let Some(found) = kinds.iter().filter(can_have).find(|one| one.kind.eq_ignore_ascii_case(typed)) else {
        let suggestion = did_you_mean(nearest_word(typed, kinds.iter().filter(can_have).map(|one| one.kind.as_str())));
        return Err(ApiProblem::not_found(format!("\"{}\" is no kind that makes pods{suggestion}", CleanText(typed))));
    };
    match kinds.availability(&found.group, &found.kind) {
        KindAvailability::Filled => Ok(found),
        KindAvailability::Filling => {
            Err(ApiProblem::new(503, format!("{} are still being read; try again in a moment", found.plural)))
        }
        KindAvailability::Absent => {
            Err(ApiProblem::not_found(format!("the cluster does not know the kind {} of {}", found.kind, found.group)))
        }
    }
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|suggestion| format!("; did you mean {}?", CleanText(suggestion))).unwrap_or_default()
}
