//! Kinds of objects that can own pods, and the inventory's view of one object.

use std::str::FromStr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::interning::intern;
use super::metadata::read_override;
use crate::decision::facts::{Owner, OwnerReference, SelectorUse};
use crate::decision::mesh::Mesh;
use crate::decision::overrides::Override;
use crate::decision::selector::Labels;

/// Kind of object that can own pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerKind {
    /// API group; empty for the core group.
    pub group: String,
    /// Version that is watched.
    pub version: String,
    /// Name of the resource in URLs.
    pub plural: String,
    pub kind: String,
    /// Part of an object that a watch reads.
    pub read_depth: ReadDepth,
}

/// Part of an object that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadDepth {
    /// The metadata: there may be very many objects, and nearly each has an owner that says more.
    Metadata,
    /// The metadata, and the selector and the template of the pods.
    Spec,
}

/// API group of the gateways that a controller of the mesh turns into pods.
const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// Short names of the kinds of Kubernetes, as `kubectl` takes them.
const SHORT_KINDS: [(&str, &str); 7] = [
    ("deploy", "Deployment"),
    ("sts", "StatefulSet"),
    ("ds", "DaemonSet"),
    ("rs", "ReplicaSet"),
    ("cj", "CronJob"),
    ("rc", "ReplicationController"),
    ("ro", "Rollout"),
];

/// Availability of a kind in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KindAvailability {
    /// The kind exists, and its cache is being filled.
    Filling = 0,
    /// The kind exists, and its cache has been filled.
    Filled = 1,
    /// The cluster does not know the kind, or we do not read it.
    Absent = 2,
}

#[derive(Debug)]
pub struct OwnerKinds(Vec<OwnerKindEntry>);

#[derive(Debug)]
struct OwnerKindEntry {
    kind: OwnerKind,
    served: AtomicU8,
    /// Number of templates that are not read yet.
    unread_templates: AtomicUsize,
}

impl From<OwnerKind> for OwnerKindEntry {
    fn from(kind: OwnerKind) -> Self {
        Self { kind, served: AtomicU8::new(KindAvailability::Filling as u8), unread_templates: AtomicUsize::new(0) }
    }
}

impl Default for OwnerKinds {
    /// Returns the kinds of Kubernetes itself, and gateways.
    fn default() -> Self {
        let kinds = [
            ("apps", "v1", "replicasets", "ReplicaSet", ReadDepth::Metadata),
            ("apps", "v1", "deployments", "Deployment", ReadDepth::Spec),
            ("apps", "v1", "statefulsets", "StatefulSet", ReadDepth::Spec),
            ("apps", "v1", "daemonsets", "DaemonSet", ReadDepth::Spec),
            ("batch", "v1", "jobs", "Job", ReadDepth::Metadata),
            ("batch", "v1", "cronjobs", "CronJob", ReadDepth::Spec),
            ("", "v1", "replicationcontrollers", "ReplicationController", ReadDepth::Spec),
            (GATEWAY_GROUP, "v1", "gateways", "Gateway", ReadDepth::Metadata),
        ];
        let kinds = kinds.map(|(group, version, plural, kind, read_depth)| OwnerKind {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            kind: kind.to_owned(),
            read_depth,
        });
        Self(kinds.into_iter().map(OwnerKindEntry::from).collect())
    }
}

impl OwnerKinds {
    /// Adds further kinds.
    #[must_use]
    pub fn with_kinds(mut self, further: impl IntoIterator<Item = OwnerKind>) -> Self {
        for kind in further {
            if self.find(&kind.group, &kind.kind).is_none() {
                self.0.push(kind.into());
            }
        }
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = &OwnerKind> {
        self.0.iter().map(|entry| &entry.kind)
    }

    pub fn find(&self, group: &str, kind: &str) -> Option<&OwnerKind> {
        self.iter().find(|one| one.group == group && one.kind == kind)
    }

    /// Returns the kind that a user means by its name, plural or short name, in small letters.
    pub fn find_by_word(&self, word: &str) -> Option<&OwnerKind> {
        let is_meant = |kind: &&OwnerKind| match expand_short_kind(word) {
            Some(short) => kind.kind == short,
            None => kind.plural == word || kind.kind.to_lowercase() == word,
        };
        self.iter().find(is_meant)
    }

    /// Returns whether objects of this kind can be in the inventory.
    pub fn availability(&self, group: &str, kind: &str) -> KindAvailability {
        let entry = self.0.iter().find(|entry| entry.kind.kind == kind && entry.kind.group == group);
        match entry.map(|entry| entry.served.load(Ordering::Acquire)) {
            Some(0) => KindAvailability::Filling,
            Some(1) => KindAvailability::Filled,
            _ => KindAvailability::Absent,
        }
    }

    /// Records whether a kind exists, and its cache is filled.
    pub fn set_availability(&self, kind: &OwnerKind, served: KindAvailability) {
        for entry in self.0.iter().filter(|entry| entry.kind == *kind) {
            entry.served.store(served as u8, Ordering::Release);
        }
    }

    /// Records the number of templates of a kind that are not read yet.
    pub fn set_unread_templates(&self, kind: &OwnerKind, unread: usize) {
        for entry in self.0.iter().filter(|entry| entry.kind == *kind) {
            entry.unread_templates.store(unread, Ordering::Release);
        }
    }

    /// Returns the filled kinds of which some templates are not read yet.
    pub(super) fn unread_kinds(&self) -> impl Iterator<Item = String> {
        let is_unread = |entry: &&OwnerKindEntry| {
            entry.served.load(Ordering::Acquire) == KindAvailability::Filled as u8
                && entry.unread_templates.load(Ordering::Acquire) > 0
        };
        self.0.iter().filter(is_unread).map(|entry| entry.kind.plural.clone())
    }

    /// Returns the caches of the kinds that exist, and whether each is filled.
    pub(super) fn cache_states(&self) -> impl Iterator<Item = (String, bool)> {
        let states = self.0.iter().map(|entry| (entry.kind.plural.clone(), entry.served.load(Ordering::Acquire)));
        states
            .filter(|(_, state)| *state != KindAvailability::Absent as u8)
            .map(|(plural, state)| (plural, state == KindAvailability::Filled as u8))
    }
}

impl OwnerKind {
    /// Returns whether objects of this kind make pods, directly or not, by a template. For a gateway its controller
    /// does.
    pub fn has_template(&self) -> bool {
        self.group != GATEWAY_GROUP
    }

    /// Returns the inventory's view of an object of this kind.
    pub fn owner(&self, metadata: &ObjectMeta, selector: Option<SelectorUse>) -> Owner {
        let controller = controller_of(metadata).filter(|owner| !is_gateway(owner));
        // A Deployment copies its annotations to its ReplicaSets and never takes one back, so a copy is no override.
        let is_copy = self.kind == "ReplicaSet" && controller.is_some();
        // There are very many such objects. Policies match the owner above them, which is always read.
        let has_matched_owner = controller.as_ref().is_some_and(|above| {
            matches!((self.kind.as_str(), &*above.kind), ("ReplicaSet", "Deployment") | ("Job", "CronJob"))
                && ["apps", "batch"].contains(&&*above.group)
        });
        let labels = metadata.labels.clone().filter(|_| !has_matched_owner).unwrap_or_default();
        Owner {
            group: intern(&self.group),
            kind: intern(&self.kind),
            name: metadata.name.as_deref().unwrap_or_default().into(),
            namespace: intern(metadata.namespace.as_deref().unwrap_or_default()),
            labels: labels.into_iter().collect::<Labels<'static>>(),
            own_override: Some(read_override(metadata))
                .filter(|wish| !is_copy && *wish != Override::default())
                .map(Box::new),
            controller,
            gateway: gateway_of(metadata).map(Box::new),
            selector,
            is_gateway: self.group == GATEWAY_GROUP,
            template: None,
            template_source: None,
        }
    }

    /// Returns which markers of the mesh this selector uses.
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

/// Returns the kind with this short name.
pub fn expand_short_kind(word: &str) -> Option<&'static str> {
    SHORT_KINDS.iter().find(|(short, _)| *short == word).map(|(_, kind)| *kind)
}

/// Returns the owner that controls an object, as the object names it.
pub fn controller_of(metadata: &ObjectMeta) -> Option<OwnerReference> {
    let controller = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    controller.map(owner_reference)
}

/// Returns the gateway that owns an object, as the object names it. Istio does not mark itself as controller of the
/// objects that it makes for a gateway.
fn gateway_of(metadata: &ObjectMeta) -> Option<OwnerReference> {
    metadata.owner_references.iter().flatten().map(owner_reference).find(is_gateway)
}

/// Returns whether a reference names a gateway.
pub(super) fn is_gateway(owner: &OwnerReference) -> bool {
    *owner.group == *GATEWAY_GROUP && &*owner.kind == "Gateway"
}

fn owner_reference(owner: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference) -> OwnerReference {
    OwnerReference {
        group: intern(owner.api_version.rsplit_once('/').map_or("", |(group, _)| group)),
        kind: intern(&owner.kind),
        name: owner.name.as_str().into(),
        uid: owner.uid.as_str().into(),
    }
}

impl FromStr for OwnerKind {
    type Err = String;

    /// Parses `GROUP/VERSION/PLURAL/KIND`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [group, version, plural, kind] if parts.iter().all(|part| !part.is_empty()) => Ok(Self {
                group: group.to_owned(),
                version: version.to_owned(),
                plural: plural.to_owned(),
                kind: kind.to_owned(),
                read_depth: ReadDepth::Spec,
            }),
            _ => {
                Err(format!("{text:?} is not GROUP/VERSION/PLURAL/KIND, such as argoproj.io/v1alpha1/rollouts/Rollout"))
            }
        }
    }
}
