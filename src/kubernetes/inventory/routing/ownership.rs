//! Ownership of routing objects: made for a suspension, or somebody else's.
//!
//! Two marks say that an object is ours, and either is enough: removing one must not make the object foreign, because
//! we could then neither repair nor remove it. The marks are:
//!
//! - The suspension is the object's controller by an ownerReference.
//! - The object has no controller, and its annotation [`MADE_FOR`] names the suspension by UID and the object by its
//!   own namespace and name. A copy of the object has another name, so the copied annotation does not count.
//!
//! Guarantee: nobody gets us to touch an object that they may not touch themselves. A mark is in the object, so only
//! somebody who may write the object can make it. They can have the object deleted anyway: the garbage collector
//! follows an ownerReference to an absent owner. A suspension in force would write the same object again in its place.
//! Names, hosts and statuses are no marks, since people who may write something else can write them.
//!
//! Limit: an object that has lost both marks was taken over by somebody, and is left to them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::kernel::names::{CLUSTER_SUSPENSION_POLICY, GROUP, MADE_FOR, SUSPENSION_POLICY};

/// Returns the value of the annotation [`MADE_FOR`] on the object of this name that is made for the suspension of this
/// UID.
pub fn made_for_annotation(uid: &str, namespace: &str, name: &str) -> String {
    format!("{uid}/{namespace}/{name}")
}

pub(super) fn suspension_uid(metadata: &ObjectMeta) -> Option<&str> {
    let mut owners = metadata.owner_references.iter().flatten();
    match owners.find(|owner| owner.controller == Some(true)) {
        Some(controller) => is_suspension(controller).then_some(&controller.uid),
        None => annotated_uid(metadata),
    }
}

fn is_suspension(owner: &OwnerReference) -> bool {
    let group = owner.api_version.split_once('/').map(|(group, _)| group);
    group == Some(GROUP) && [SUSPENSION_POLICY.kind, CLUSTER_SUSPENSION_POLICY.kind].contains(&owner.kind.as_str())
}

fn annotated_uid(metadata: &ObjectMeta) -> Option<&str> {
    let ObjectMeta { annotations, namespace, name, .. } = metadata;
    let place = made_for_annotation("", namespace.as_deref()?, name.as_deref()?);
    annotations.as_ref()?.get(MADE_FOR)?.strip_suffix(&place).filter(|uid| !uid.is_empty())
}
