//! The kinds of objects that can own pods, and what is kept of one.

use std::str::FromStr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::shared::shared;
use super::workload::WorkloadSpec;
use super::{LABELS, override_written_at, wish_of, written_at};
use crate::decision::facts::{Owner, OwnerReference, SelectorUse};
use crate::decision::mesh::Mesh;
use crate::decision::owner_override::Wish;
use crate::decision::selector::Labels;

/// A kind of object that can own pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerKind {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version that is watched.
    pub version: String,
    /// The resource's name in URLs.
    pub plural: String,
    /// The kind.
    pub kind: String,
    /// How much of an object is read by a watch.
    pub read: Read,
}

/// How much of an object is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// The metadata: there may be very many, and nearly each has an owner that says more.
    Metadata,
    /// Also the selector and the template of its pods.
    Spec,
}

/// The API group of the gateways that a controller of the mesh turns into pods.
const GATEWAYS: &str = "gateway.networking.k8s.io";

/// Whether a kind is there to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Served {
    /// It is, and its cache is being filled.
    NotYet = 0,
    /// It is, and its cache has been filled.
    Yes = 1,
    /// The cluster does not know the kind, or it is none of those we read.
    No = 2,
}

/// The kinds of an installation.
#[derive(Debug)]
pub struct OwnerKinds(Vec<Kept>);

#[derive(Debug)]
struct Kept {
    kind: OwnerKind,
    served: AtomicU8,
    /// How many of its templates are not read yet.
    unread: AtomicUsize,
}

impl From<OwnerKind> for Kept {
    fn from(kind: OwnerKind) -> Self {
        Self { kind, served: AtomicU8::new(Served::NotYet as u8), unread: AtomicUsize::new(0) }
    }
}

impl Default for OwnerKinds {
    /// The kinds of Kubernetes itself, gateways, and Argo Rollouts.
    fn default() -> Self {
        let kinds = [
            ("apps", "v1", "replicasets", "ReplicaSet", Read::Metadata),
            ("apps", "v1", "deployments", "Deployment", Read::Spec),
            ("apps", "v1", "statefulsets", "StatefulSet", Read::Spec),
            ("apps", "v1", "daemonsets", "DaemonSet", Read::Spec),
            ("batch", "v1", "jobs", "Job", Read::Metadata),
            ("batch", "v1", "cronjobs", "CronJob", Read::Spec),
            ("", "v1", "replicationcontrollers", "ReplicationController", Read::Spec),
            (GATEWAYS, "v1", "gateways", "Gateway", Read::Metadata),
        ];
        let kinds = kinds.map(|(group, version, plural, kind, read)| OwnerKind {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            kind: kind.to_owned(),
            read,
        });
        Self(kinds.into_iter().map(Kept::from).collect())
    }
}

impl OwnerKinds {
    /// These kinds and further ones.
    #[must_use]
    pub fn and(mut self, further: impl IntoIterator<Item = OwnerKind>) -> Self {
        for kind in further {
            if self.named(&kind.group, &kind.kind).is_none() {
                self.0.push(kind.into());
            }
        }
        self
    }

    /// The kinds.
    pub fn iter(&self) -> impl Iterator<Item = &OwnerKind> {
        self.0.iter().map(|kept| &kept.kind)
    }

    /// The kind of this group and name.
    pub fn named(&self, group: &str, kind: &str) -> Option<&OwnerKind> {
        self.iter().find(|one| one.group == group && one.kind == kind)
    }

    /// Whether objects of this kind can be in the inventory.
    pub fn served(&self, group: &str, kind: &str) -> Served {
        let kept = self.0.iter().find(|kept| kept.kind.kind == kind && kept.kind.group == group);
        match kept.map(|kept| kept.served.load(Ordering::Acquire)) {
            Some(0) => Served::NotYet,
            Some(1) => Served::Yes,
            _ => Served::No,
        }
    }

    /// Records whether a kind is there, and filled.
    pub fn set_served(&self, kind: &OwnerKind, served: Served) {
        for kept in self.0.iter().filter(|kept| kept.kind == *kind) {
            kept.served.store(served as u8, Ordering::Release);
        }
    }

    /// Records how many templates of a kind are not read yet.
    pub fn set_unread(&self, kind: &OwnerKind, unread: usize) {
        for kept in self.0.iter().filter(|kept| kept.kind == *kind) {
            kept.unread.store(unread, Ordering::Release);
        }
    }

    /// The kinds that are filled, and of which some templates are not read yet.
    pub(super) fn unread(&self) -> impl Iterator<Item = String> {
        let is_unread = |kept: &&Kept| {
            kept.served.load(Ordering::Acquire) == Served::Yes as u8 && kept.unread.load(Ordering::Acquire) > 0
        };
        self.0.iter().filter(is_unread).map(|kept| kept.kind.plural.clone())
    }

    /// The caches of those kinds that exist, and whether each is filled.
    pub(super) fn synced(&self) -> impl Iterator<Item = (String, bool)> {
        let states = self.0.iter().map(|kept| (kept.kind.plural.clone(), kept.served.load(Ordering::Acquire)));
        states
            .filter(|(_, state)| *state != Served::No as u8)
            .map(|(plural, state)| (plural, state == Served::Yes as u8))
    }
}

/// Where the managed fields of a workload tell of its pod template's metadata.
const TEMPLATE: [&str; 3] = ["f:spec", "f:template", "f:metadata"];
/// Where they tell of all that makes its pods what they are.
const WRITTEN: [&[&str]; 3] = [&LABELS, &["f:spec", "f:template"], &["f:spec", "f:jobTemplate"]];

impl OwnerKind {
    /// Whether objects of this kind make pods, or what makes them, by a template; for a gateway its controller does.
    pub fn has_template(&self) -> bool {
        self.group != GATEWAYS
    }

    /// What is kept of an object of this kind.
    pub fn owner(&self, metadata: &ObjectMeta, selector: Option<SelectorUse>) -> Owner {
        let controller = controller_of(metadata).filter(|owner| !is_gateway(owner));
        // A Deployment copies its annotations to its ReplicaSets and never takes one back, so a copy is no override.
        let is_copy = self.kind == "ReplicaSet" && controller.is_some();
        // There are very many of these, and the owner above them, which is always read, is the one that is matched.
        let is_of_read = controller.as_ref().is_some_and(|above| {
            matches!((self.kind.as_str(), &*above.kind), ("ReplicaSet", "Deployment") | ("Job", "CronJob"))
                && ["apps", "batch"].contains(&&*above.group)
        });
        let labels = metadata.labels.clone().filter(|_| !is_of_read).unwrap_or_default();
        Owner {
            group: shared(&self.group),
            kind: shared(&self.kind),
            name: metadata.name.as_deref().unwrap_or_default().into(),
            namespace: shared(metadata.namespace.as_deref().unwrap_or_default()),
            labels: labels.into_iter().collect::<Labels<'static>>(),
            wish: Some(wish_of(metadata)).filter(|wish| !is_copy && *wish != Wish::default()).map(Box::new),
            controller,
            gateway: gateway_of(metadata).map(Box::new),
            selector,
            is_gateway: self.group == GATEWAYS,
            template: None,
            template_from: None,
        }
    }

    /// What is kept of an object of this kind, of which more than the metadata was read.
    pub fn workload(&self, metadata: &ObjectMeta, spec: WorkloadSpec, mesh: &Mesh) -> Owner {
        let used = match self.read {
            Read::Spec => spec.selector().map(|selector| Self::selector_use(&selector, mesh)),
            Read::Metadata => None,
        };
        let template_from = spec.template_from().map(Box::new);
        let template = spec.template(metadata.namespace.as_deref().unwrap_or_default(), mesh).map(|mut template| {
            let wish = &mut template.pod.annotations.wish;
            wish.since = wish.inject.as_ref().and_then(|_| override_written_at(metadata, &TEMPLATE));
            template.written_at = WRITTEN.iter().filter_map(|path| written_at(metadata, path)).max();
            Box::new(template)
        });
        Owner { template, template_from, ..self.owner(metadata, used) }
    }

    /// Which of the mesh's marks this selector uses.
    pub fn selector_use(
        selector: &k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector,
        mesh: &Mesh,
    ) -> SelectorUse {
        let uses = |key: &str| {
            selector.match_labels.as_ref().is_some_and(|labels| labels.contains_key(key))
                || selector.match_expressions.iter().flatten().any(|expression| expression.key == key)
        };
        SelectorUse { marker: uses(mesh.marker_key), revision: mesh.revision_label.is_some_and(uses) }
    }
}

/// The owner that controls an object, as the object names it.
pub fn controller_of(metadata: &ObjectMeta) -> Option<OwnerReference> {
    let controller = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    controller.map(reference)
}

/// The gateway that owns an object, as the object names it. Istio does not say that it controls what it made for one.
fn gateway_of(metadata: &ObjectMeta) -> Option<OwnerReference> {
    metadata.owner_references.iter().flatten().map(reference).find(is_gateway)
}

/// Whether an object names a gateway.
pub(super) fn is_gateway(owner: &OwnerReference) -> bool {
    *owner.group == *GATEWAYS && &*owner.kind == "Gateway"
}

fn reference(owner: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference) -> OwnerReference {
    OwnerReference {
        group: shared(owner.api_version.rsplit_once('/').map_or("", |(group, _)| group)),
        kind: shared(&owner.kind),
        name: owner.name.as_str().into(),
        uid: owner.uid.as_str().into(),
    }
}

impl FromStr for OwnerKind {
    type Err = String;

    /// Reads `GROUP/VERSION/PLURAL/KIND`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [group, version, plural, kind] if parts.iter().all(|part| !part.is_empty()) => Ok(Self {
                group: group.to_owned(),
                version: version.to_owned(),
                plural: plural.to_owned(),
                kind: kind.to_owned(),
                read: Read::Spec,
            }),
            _ => {
                Err(format!("{text:?} is not GROUP/VERSION/PLURAL/KIND, such as argoproj.io/v1alpha1/rollouts/Rollout"))
            }
        }
    }
}
