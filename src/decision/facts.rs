//! What one decision is made from: plain values, looked up by others, borrowed where they can be.

use crate::kernel::text::sanitized;
use std::borrow::Cow;
use std::sync::Arc;

use super::Action;
use super::injector::Injectors;
use super::mesh::Mesh;
use super::owner_override::Wish;
use super::policy::{Candidates, Policies};
use super::receipt::Receipt;
use super::selector::Labels;
use super::suspension::Suspensions;

/// Why something that a decision needs is not there. Unknown is never taken for empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Missing {
    /// The cache that would hold it has not been filled yet.
    NotSynced,
    /// The cache is filled, and neither it nor a short read knows the object.
    NotFound,
    /// The cache does not have it, and a short read could not tell whether it exists.
    NotRead,
}

impl Missing {
    /// The word that audit entries and metrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotSynced => "NotSynced",
            Self::NotFound => "NotFound",
            Self::NotRead => "NotRead",
        }
    }
}

/// Everything that [`decide`](super::decide) looks at, apart from the time.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Whether this is the creation of a pod at all.
    pub request: RequestKind<'a>,
    /// The pod as it was sent.
    pub pod: &'a Pod<'a>,
    /// The namespace the pod is created in.
    pub namespace: Result<Arc<Namespace>, Missing>,
    /// The pod's controlling owners.
    pub owners: Owners,
    /// The policies, and which of them can concern this namespace.
    pub policies: Result<(Arc<Policies>, Arc<Candidates>), Missing>,
    /// The suspensions of injection.
    pub suspensions: Result<Arc<Suspensions>, Missing>,
    /// The installed injectors of the mesh.
    pub injectors: Result<Arc<Injectors>, Missing>,
    /// What the installation was told.
    pub settings: &'a Settings,
}

/// What an installation was told about deciding; the same for every request.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The mesh whose marker is written.
    pub mesh: &'static Mesh,
    /// Namespaces that are never touched, by name.
    pub excluded_namespaces: Vec<String>,
    /// The answer where a decision hangs on something unknown; `Remove` is not an answer to that.
    pub when_unknown: Action,
    /// When a marker is written.
    pub write: Write,
}

#[cfg(test)]
impl Settings {
    /// Those of an installation that was told nothing.
    pub(crate) fn usual() -> Self {
        let mesh = &super::mesh::MESHES[0];
        Self { mesh, excluded_namespaces: Vec::new(), when_unknown: Action::Leave, write: Write::Always }
    }
}

/// When a marker is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Write {
    /// Always, so that a pod says by itself what was decided for it.
    #[default]
    Always,
    /// Only where the injector would otherwise do something else.
    Needed,
}

/// What kind of request reached us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestKind<'a> {
    /// The creation of a pod.
    PodCreate,
    /// Anything else, in words.
    Other(Cow<'a, str>),
}

/// The parts of a pod that a decision looks at. Text in it comes from whoever created the pod, and is not validated yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod<'a> {
    /// The name, absent where the API server will generate one.
    pub name: Option<Cow<'a, str>>,
    /// The prefix of the name that the API server will generate.
    pub generate_name: Option<Cow<'a, str>>,
    /// The namespace of the request, which is the truth about where the pod goes.
    pub namespace: Cow<'a, str>,
    /// All labels; `None` where the pod has no `labels` at all, or null.
    pub labels: Option<Labels<'a>>,
    /// Those annotations that decisions read; see [`Annotations`].
    pub annotations: Annotations<'a>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `spec.serviceAccountName`.
    pub service_account: Option<Cow<'a, str>>,
    /// Whether a container `istio-proxy` has the image `auto`, which only an injector replaces.
    pub waits_for_proxy: bool,
    /// Whether it has containers of a mesh's sidecar already.
    pub has_sidecar: bool,
}

impl Pod<'_> {
    /// A label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.as_ref().and_then(|labels| labels.get(key))
    }

    /// The value of the mesh's marker, wherever this mesh keeps it.
    pub fn marker(&self, mesh: &Mesh) -> Option<&str> {
        match mesh.marker_place {
            super::mesh::Place::Label => self.label(mesh.marker_key),
            super::mesh::Place::Annotation => self.annotations.marker.as_deref(),
        }
    }

    /// The receipt of an earlier decision, if the pod arrives with one.
    pub fn receipt(&self) -> Option<Receipt<'_>> {
        self.annotations.receipt.as_deref().map(Receipt)
    }

    /// Whether a receipt says that the marker, if there is one, is an old one of ours.
    pub fn marker_is_ours(&self) -> bool {
        self.receipt().is_some_and(Receipt::claims_marker)
    }
}

/// The annotations of a pod that decisions read; the others are skipped while parsing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations<'a> {
    /// Whether the pod has an `annotations` object at all, which a patch must know.
    pub present: bool,
    /// `outrigger.dev/inject`, `outrigger.dev/reason` and `outrigger.dev/until`.
    pub wish: Wish<'a>,
    /// `outrigger.dev/decision`: a receipt of ours, or a copy of one.
    pub receipt: Option<Cow<'a, str>>,
    /// The mesh's marker, where the mesh keeps it in an annotation.
    pub marker: Option<Cow<'a, str>>,
    /// The annotation that the mesh still reads where the label is absent.
    pub legacy: Option<Cow<'a, str>>,
    /// `kubernetes.io/config.mirror`: the pod only mirrors a static one.
    pub mirror: bool,
}

/// What is kept of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: Box<str>,
    /// Its labels.
    pub labels: Labels<'static>,
    /// Its override.
    pub wish: Wish<'static>,
    /// The mesh's marker on it, where the mesh keeps markers in annotations.
    pub marker: Option<Box<str>>,
    /// When its labels were written last, at the latest, where the API server tells; no decision asks for it.
    pub labelled_at: Option<jiff::Timestamp>,
}

/// A pod's owners, as far as they could be followed and verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners {
    /// Verified owners, the nearest first.
    pub chain: Vec<Arc<Owner>>,
    /// Why the chain ends where it does.
    pub end: ChainEnd,
    /// The gateway that the nearest of them to name one names as its owner, or why it does not count. It stands beside
    /// the chain: a gateway is no workload.
    pub gateway: Option<Result<OwnerName, ChainEnd>>,
    /// What the nearest owner's pod selector says about the mesh's marks, where it is known.
    pub selector: Option<SelectorUse>,
}

impl Owners {
    /// The outermost owner that is known for certain, or none for a bare pod.
    pub fn workload(&self) -> Option<&Owner> {
        self.chain.last().map(Arc::as_ref)
    }
}

/// Why a chain of owners ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ChainEnd {
    /// The last one has no controlling owner.
    #[default]
    Top,
    /// The next owner is of a kind that is not read here; what comes before it counts.
    Unread(OwnerName),
    /// The requester is not trusted to create this owner's pods: the pod is treated as bare.
    Untrusted(OwnerName),
    /// Everything was looked at, and there is no next owner of that UID in the namespace; what comes before it counts.
    Absent(OwnerName),
    /// Whether there is a next owner could not be told.
    Missing(OwnerName, Missing),
}

/// How an owner is named in sentences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerName {
    /// Its kind.
    pub kind: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

/// What is kept of an object that can own pods. There may be 100,000: what many have in common is shared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// Its API group; empty for the core group.
    pub group: Arc<str>,
    /// Its kind, such as `Deployment`.
    pub kind: Arc<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its labels; not kept for a ReplicaSet of a Deployment or a Job of a CronJob, since only the outermost owner's are
    /// matched. Where that is gone, the garbage collector is about to delete these as well.
    pub labels: Labels<'static>,
    /// Its override. Empty for a ReplicaSet with a controller: its annotations are copies that outlive their original.
    pub wish: Option<Box<Wish<'static>>>,
    /// Its own controlling owner, unless that is a gateway.
    pub controller: Option<OwnerReference>,
    /// The gateway that it names as an owner, controlling or not.
    pub gateway: Option<Box<OwnerReference>>,
    /// What its pod selector says about the mesh's markers, where it is known.
    pub selector: Option<SelectorUse>,
    /// Whether it is a gateway, of which a controller of the mesh makes pods.
    pub is_gateway: bool,
    /// What its new pods will be made of, where that is read.
    pub template: Option<Box<Template>>,
    /// Whose template that is, where it is not its own.
    pub template_from: Option<Box<Lender>>,
}

static NO_WISH: Wish<'static> = Wish { inject: None, reason: None, until: None, since: None };

impl Owner {
    /// Its override; one that says nothing where there is none.
    pub fn wish(&self) -> &Wish<'static> {
        self.wish.as_deref().unwrap_or(&NO_WISH)
    }
}

/// A workload of the same namespace whose template another one's pods are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lender {
    /// Its API group.
    pub group: Box<str>,
    /// Its kind.
    pub kind: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

/// What a workload's new pods will be made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    /// The pod.
    pub pod: Pod<'static>,
    /// The override of the Job in between, where a CronJob makes Jobs.
    pub job: Option<Wish<'static>>,
    /// When this, or a label of the workload, was written last, at the latest, where the API server tells; no decision asks
    /// for it.
    pub written_at: Option<jiff::Timestamp>,
}

/// A pod that exists. There may be 20,000: what the pods of one template have in common can be shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningPod {
    /// Its UID.
    pub uid: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its parts that decisions read, but for the name, as they are now: with the marks that it was given.
    pub pod: Arc<Pod<'static>>,
    /// Its controlling owner.
    pub controller: Option<OwnerReference>,
    /// Its sidecar, if it has one.
    pub sidecar: Option<Sidecar>,
    /// Whether it has run to its end.
    pub is_finished: bool,
    /// Whether it is being deleted.
    pub is_leaving: bool,
    /// Whether it is ready to serve.
    pub is_ready: bool,
    /// When it was created.
    pub created_at: Option<jiff::Timestamp>,
}

impl RunningPod {
    /// The pod that whoever made this one would ask for again: its sidecar is what came of its creation, and no part of that.
    pub fn as_asked(&self) -> Pod<'static> {
        let name = Some(self.name.to_string().into()).filter(|name: &Cow<'_, str>| !name.is_empty());
        Pod { name, has_sidecar: false, ..(*self.pod).clone() }
    }
}

/// The sidecar of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// The revision of the control plane that injected it, where the pod tells.
    pub revision: Option<Box<str>>,
    /// Whether it is a native one: an init container that goes on, and ends when the others have.
    pub is_native: bool,
}

/// A controlling owner, as an object names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OwnerReference {
    /// The API group, without the version.
    pub group: Arc<str>,
    /// The kind.
    pub kind: Arc<str>,
    /// The name.
    pub name: Box<str>,
    /// The UID, which is what identifies it.
    pub uid: Box<str>,
}

impl From<&OwnerReference> for OwnerName {
    fn from(reference: &OwnerReference) -> Self {
        Self { kind: sanitized(&reference.kind).into(), name: sanitized(&reference.name).into() }
    }
}

/// Which keys a direct owner's selector uses. A change of such a key would make it create pods for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SelectorUse {
    /// The mesh's marker.
    pub marker: bool,
    /// The revision label.
    pub revision: bool,
}
