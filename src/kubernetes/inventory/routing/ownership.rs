//! Whose a routing object is: of the suspension that it was made for, or somebody else's.
//!
//! Two marks say that it is ours, and either is enough, so that taking one away makes no object foreign that we then could not
//! put right nor remove: the suspension is its controller by an ownerReference; or nobody is its controller, and the annotation
//! [`MADE_FOR`] names the suspension by its UID and this object by its place, which a copy of it is not in.
//!
//! Guarantee: nobody gets us to touch what they may not touch themselves. A mark is in the object, so that only whoever may
//! write the object can make it, and they can have it deleted as it is: the garbage collector follows an ownerReference to
//! nobody. In its place a suspension in force would then write the same that it puts right there. Names, hosts and what a status says are no marks, since those are written by whoever may write something else.
//! Limit: where both are taken away at once, somebody has made it theirs, and it is left to them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::kernel::names::{GROUP, MADE_FOR};

/// What the annotation says on the object at this place that is made for the suspension of this UID.
pub fn mark(uid: &str, namespace: &str, name: &str) -> String {
    format!("{uid}/{namespace}/{name}")
}

/// The UID of the suspension that an object was made for.
pub(super) fn owner(metadata: &ObjectMeta) -> Option<&str> {
    let mut owners = metadata.owner_references.iter().flatten();
    match owners.find(|owner| owner.controller == Some(true)) {
        Some(controller) => is_suspension(controller).then_some(&controller.uid),
        None => marked(metadata),
    }
}

fn is_suspension(owner: &OwnerReference) -> bool {
    let group = owner.api_version.split_once('/').map(|(group, _)| group);
    group == Some(GROUP) && ["SuspensionPolicy", "ClusterSuspensionPolicy"].contains(&owner.kind.as_str())
}

fn marked(metadata: &ObjectMeta) -> Option<&str> {
    let ObjectMeta { annotations, namespace, name, .. } = metadata;
    let place = mark("", namespace.as_deref()?, name.as_deref()?);
    annotations.as_ref()?.get(MADE_FOR)?.strip_suffix(&place).filter(|uid| !uid.is_empty())
}
