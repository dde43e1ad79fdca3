//! Whom it is about, by the path.

use crate::api::problem::Problem;
use crate::api::reading::Asked as Request;
use crate::api::session::Other;
use crate::decision::facts::Owner;
use crate::features::overrides::subject::{Subject, is_copy, workloads};
use crate::kernel::text::Clean;
use crate::kernel::text::nearest;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::{OwnerKind, Served};

/// A namespace, or a workload in it by kind and name.
pub(super) struct Whom {
    namespace: String,
    workload: Option<(String, String)>,
}

impl Whom {
    pub(super) fn of(request: &Request) -> Self {
        let namespace = request.part("namespace").unwrap_or_default();
        Self { namespace, workload: request.part("kind").zip(request.part("name")) }
    }

    /// How it is recorded.
    pub(super) fn other(&self) -> Other {
        match &self.workload {
            Some((kind, name)) => Other::of(kind, &self.namespace, Some(name)),
            None => Other::of("Namespace", &self.namespace, Some(&self.namespace)),
        }
    }

    /// Where somebody has to be allowed to see the workloads, and which one.
    pub(super) fn right(&self) -> (&str, Option<&str>) {
        (&self.namespace, self.workload.as_ref().map(|(_, name)| name.as_str()))
    }

    /// What is known by that name.
    pub(super) fn subject(&self, inventory: &Inventory) -> Result<Subject, Problem> {
        match &self.workload {
            None => self.namespace(inventory),
            Some((kind, name)) => self.workload(inventory, kind_named(inventory, kind)?, name),
        }
    }

    fn namespace(&self, inventory: &Inventory) -> Result<Subject, Problem> {
        if let Some(found) = Subject::namespace_named(inventory, &self.namespace) {
            return Ok(found);
        }
        if !inventory.namespaces.is_synced() {
            return Err(Problem::new(503, "the namespaces are still being read; try again in a moment"));
        }
        let known = inventory.namespaces.all();
        let meant = nearest(&self.namespace, known.iter().map(|entry| &*entry.namespace().name));
        Err(Problem::not_found(format!("there is no namespace {}{}", Clean(&self.namespace), or(meant))))
    }

    fn workload(&self, inventory: &Inventory, kind: &OwnerKind, name: &str) -> Result<Subject, Problem> {
        let namespace = self.namespace.as_str();
        let is_there = |owner: &Owner| *owner.namespace == *namespace;
        let is_it = |owner: &Owner| *owner.kind == *kind.kind && *owner.group == *kind.group && *owner.name == *name;
        let known = workloads(inventory, is_there);
        if let Some(found) = known.iter().find(|owner| is_it(owner)) {
            return Ok(Subject::Workload(found.clone()));
        }
        let (wanted, namespace) = (format!("{}/{}", kind.kind.to_lowercase(), Clean(name)), Clean(namespace));
        let copies = inventory.owners.all();
        if let Some(copy) = copies.iter().find(|owner| is_there(owner) && is_it(owner) && is_copy(owner)) {
            let above = copy.controller.as_ref().expect("a copy has a controller");
            let above = format!("{}/{}", above.kind.to_lowercase(), Clean(&above.name));
            return Err(Problem::new(422, format!("{wanted} is made by {above}; name that")));
        }
        let known: Vec<_> = known.iter().map(|owner| format!("{}/{}", owner.kind.to_lowercase(), owner.name)).collect();
        let meant = or(nearest(&wanted, known.iter().map(String::as_str)));
        Err(Problem::not_found(format!("there is no {wanted} in namespace {namespace}{meant}")))
    }
}

/// A kind in any letters, as the path has it.
fn kind_named<'i>(inventory: &'i Inventory, typed: &str) -> Result<&'i OwnerKind, Problem> {
    let kinds = &inventory.owner_kinds;
    let can_have = |kind: &&OwnerKind| kind.group != "gateway.networking.k8s.io";
    let Some(found) = kinds.iter().filter(can_have).find(|one| one.kind.eq_ignore_ascii_case(typed)) else {
        let meant = or(nearest(typed, kinds.iter().filter(can_have).map(|one| one.kind.as_str())));
        return Err(Problem::not_found(format!("\"{}\" is no kind that makes pods{meant}", Clean(typed))));
    };
    match kinds.served(&found.group, &found.kind) {
        Served::Yes => Ok(found),
        Served::NotYet => {
            Err(Problem::new(503, format!("{} are still being read; try again in a moment", found.plural)))
        }
        Served::No => {
            Err(Problem::not_found(format!("the cluster does not know the kind {} of {}", found.kind, found.group)))
        }
    }
}

fn or(meant: Option<&str>) -> String {
    meant.map(|meant| format!("; did you mean {}?", Clean(meant))).unwrap_or_default()
}
