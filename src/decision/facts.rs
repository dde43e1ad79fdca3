//! Inputs of one decision: plain values, looked up by the caller and borrowed if possible.

use crate::kernel::object_ref::ObjectRef;
use crate::kernel::text::sanitize;
use std::borrow::Cow;
use std::sync::Arc;

use super::Action;
use super::injector::Injectors;
use super::mesh::Mesh;
use super::overrides::Override;
use super::policy::{PolicyCandidates, PolicySet};
use super::receipt::Receipt;
use super::selector::Labels;
use super::suspension::SuspensionSet;

/// Reason why a fact that a decision needs is missing. Unknown is never taken for empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MissingReason {
    /// The cache that would hold the object has not been filled yet.
    NotSynced,
    /// The cache is filled, and neither it nor a short read knows the object.
    NotFound,
    /// The cache does not have the object, and a short read failed to tell whether it exists.
    NotRead,
}

impl MissingReason {
    /// Returns the word that audit entries and metrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotSynced => "NotSynced",
            Self::NotFound => "NotFound",
            Self::NotRead => "NotRead",
        }
    }
}

/// Everything that [`decide`](super::decide) reads, apart from the time.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Whether the request creates a pod.
    pub request: RequestKind<'a>,
    /// Pod as it was sent.
    pub pod: &'a PodFacts<'a>,
    /// Namespace in which the pod is created.
    pub namespace: Result<Arc<NamespaceFacts>, MissingReason>,
    /// Controlling owners of the pod.
    pub owners: OwnerChain,
    /// Policies of the cluster, and the candidates that can concern this namespace.
    pub policies: Result<(Arc<PolicySet>, Arc<PolicyCandidates>), MissingReason>,
    pub suspensions: Result<Arc<SuspensionSet>, MissingReason>,
    pub injectors: Result<Arc<Injectors>, MissingReason>,
    pub settings: &'a DecisionSettings,
}

/// Settings of an installation that decisions depend on; the same for every request.
#[derive(Debug, Clone)]
pub struct DecisionSettings {
    /// Mesh whose marker is written.
    pub mesh: &'static Mesh,
    /// Namespaces that are never touched, by name.
    pub excluded_namespaces: Vec<String>,
    /// Action of a decision that depends on an unknown fact; never `Remove`.
    pub when_unknown: Action,
    /// Condition under which a marker is written.
    pub write: WriteCondition,
}

#[cfg(test)]
impl DecisionSettings {
    /// Returns the settings of an installation without flags.
    pub(crate) fn usual() -> Self {
        let mesh = &super::mesh::MESHES[0];
        Self { mesh, excluded_namespaces: Vec::new(), when_unknown: Action::Leave, write: WriteCondition::Always }
    }
}

/// Condition under which a marker is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WriteCondition {
    /// Always, so that the pod itself shows what was decided for it.
    #[default]
    Always,
    /// Only if the injector would otherwise act differently.
    Needed,
}

/// Kind of an admission request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestKind<'a> {
    /// The creation of a pod.
    PodCreate,
    /// Anything else, as a text for the explanation.
    Other(Cow<'a, str>),
}

/// Parts of a pod that a decision reads. Texts come from the creator of the pod and are not validated yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFacts<'a> {
    /// Name, absent if the API server will generate one.
    pub name: Option<Cow<'a, str>>,
    /// Prefix of the name that the API server will generate.
    pub generate_name: Option<Cow<'a, str>>,
    /// Namespace of the request, not of the object: the pod goes there, whatever the object says.
    pub namespace: Cow<'a, str>,
    /// All labels; `None` if the pod has no `labels` field, or null.
    pub labels: Option<Labels<'a>>,
    /// Annotations that decisions read.
    pub annotations: PodAnnotations<'a>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `spec.serviceAccountName`.
    pub service_account: Option<Cow<'a, str>>,
    /// Whether a container `istio-proxy` has the image `auto`: only an injector replaces it.
    pub waits_for_proxy: bool,
    /// Whether the pod has containers of a mesh's sidecar already.
    pub has_sidecar: bool,
}

impl PodFacts<'_> {
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.as_ref().and_then(|labels| labels.get(key))
    }

    /// Returns the value of the mesh's marker, from the labels or the annotations.
    pub fn marker(&self, mesh: &Mesh) -> Option<&str> {
        match mesh.marker_place {
            super::mesh::MarkerPlace::Label => self.label(mesh.marker_key),
            super::mesh::MarkerPlace::Annotation => self.annotations.marker.as_deref(),
        }
    }

    /// Returns the receipt of an earlier decision, if the pod arrives with one.
    pub fn receipt(&self) -> Option<Receipt<'_>> {
        self.annotations.receipt.as_deref().map(Receipt)
    }

    /// Returns whether a receipt says that an earlier decision of ours wrote the marker.
    pub fn marker_is_ours(&self) -> bool {
        self.receipt().is_some_and(Receipt::claims_marker)
    }
}

/// Annotations of a pod that decisions read; parsing skips the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodAnnotations<'a> {
    /// Whether the pod has an `annotations` object at all; a patch depends on it.
    pub present: bool,
    /// `outrigger.dev/inject`, `outrigger.dev/reason` and `outrigger.dev/until`.
    pub own_override: Override<'a>,
    /// `outrigger.dev/decision`: a receipt of ours, or a copy of one.
    pub receipt: Option<Cow<'a, str>>,
    /// Marker of the mesh, if the mesh keeps it in an annotation.
    pub marker: Option<Cow<'a, str>>,
    /// Annotation that the mesh still reads if the label is absent.
    pub legacy: Option<Cow<'a, str>>,
    /// Whether `kubernetes.io/config.mirror` is set: the pod only mirrors a static one.
    pub mirror: bool,
}

/// Parts of a namespace that are kept in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceFacts {
    pub name: Box<str>,
    pub labels: Labels<'static>,
    /// Override on the namespace.
    pub own_override: Override<'static>,
    /// Marker of the mesh on the namespace, if the mesh keeps markers in annotations.
    pub marker: Option<Box<str>>,
    /// Latest possible time of the last change of the labels, if the API server tells it. No decision reads it.
    pub labelled_at: Option<jiff::Timestamp>,
}

/// Owners of a pod, as far as they could be followed and verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnerChain {
    /// Verified owners, nearest first.
    pub chain: Vec<Arc<Owner>>,
    /// Reason why the chain ends at its last owner.
    pub end: ChainEnd,
    /// Gateway to which the nearest owner with such a reference refers, or the reason why it does not count. Not part
    /// of the chain: a gateway is no workload.
    pub gateway: Option<Result<OwnerName, ChainEnd>>,
    /// Mesh labels that the pod selector of the nearest owner uses, if known.
    pub selector: Option<SelectorUse>,
}

impl OwnerChain {
    /// Returns the outermost owner that is known for certain, or `None` for a bare pod.
    pub fn workload(&self) -> Option<&Owner> {
        self.chain.last().map(Arc::as_ref)
    }
}

/// Reason why an owner chain ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ChainEnd {
    /// The last owner has no controlling owner.
    #[default]
    Top,
    /// The next owner is of a kind that is not read here. The owners before it count.
    Unread(OwnerName),
    /// The requester is not trusted to create this owner's pods: the pod is treated as bare.
    Untrusted(OwnerName),
    /// The namespace has no next owner of that UID, for certain. The owners before it count.
    Absent(OwnerName),
    /// Unknown whether the next owner exists.
    Missing(OwnerName, MissingReason),
}

impl ChainEnd {
    /// Returns whether a read could find the next owner.
    pub fn could_exist(&self) -> bool {
        matches!(self, Self::Missing(..) | Self::Absent(_))
    }
}

/// Kind and name of an owner, sanitized for sentences.
pub type OwnerName = ObjectRef<Box<str>>;

/// Parts of an object that can own pods. There may be 100,000 in memory, so texts that many have in common are shared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// API group; empty for the core group.
    pub group: Arc<str>,
    /// Kind, such as `Deployment`.
    pub kind: Arc<str>,
    pub name: Box<str>,
    pub namespace: Arc<str>,
    /// Labels; not kept for a ReplicaSet of a Deployment or a Job of a CronJob, since only the outermost owner's are
    /// matched. If the outermost owner is gone, the garbage collector is about to delete this one as well.
    pub labels: Labels<'static>,
    /// Override on this owner. Empty for a ReplicaSet with a controller: its annotations are copies that outlive their
    /// original.
    pub own_override: Option<Box<Override<'static>>>,
    /// Controlling owner of this owner, unless that is a gateway.
    pub controller: Option<OwnerReference>,
    /// Gateway among the owner references, controlling or not.
    pub gateway: Option<Box<OwnerReference>>,
    /// Mesh labels that the pod selector uses, if known.
    pub selector: Option<SelectorUse>,
    /// Whether this is a gateway, for which a controller of the mesh makes pods.
    pub is_gateway: bool,
    /// Template of new pods, if it is read.
    pub template: Option<Box<PodTemplate>>,
    /// Workload that lends the template, if it is another one.
    pub template_source: Option<Box<TemplateSource>>,
}

static NO_OVERRIDE: Override<'static> = Override { inject: None, reason: None, until: None, since: None };

impl Owner {
    /// Returns the override on this owner; an empty one if there is none.
    pub fn own_override(&self) -> &Override<'static> {
        self.own_override.as_deref().unwrap_or(&NO_OVERRIDE)
    }
}

/// Workload whose template another workload of the same namespace uses for its pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateSource {
    pub group: Box<str>,
    pub kind: Box<str>,
    pub name: Box<str>,
}

/// Template of a workload's new pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodTemplate {
    pub pod: PodFacts<'static>,
    /// Override on the Job between a CronJob and its pods.
    pub job_override: Option<Override<'static>>,
    /// Latest possible time of the last change of the template or a label of the workload, if the API server tells it.
    /// No decision reads it.
    pub written_at: Option<jiff::Timestamp>,
}

/// Pod that exists. There may be 20,000 in memory, so pods of one template can share their facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningPod {
    pub uid: Box<str>,
    pub name: Box<str>,
    /// Facts of the pod without its name, as they are now: including the marks that it was given.
    pub pod: Arc<PodFacts<'static>>,
    pub controller: Option<OwnerReference>,
    pub sidecar: Option<Sidecar>,
    /// Whether the pod has run to its end.
    pub is_finished: bool,
    /// Whether the pod is being deleted.
    pub is_terminating: bool,
    /// Whether the pod is ready to serve.
    pub is_ready: bool,
    pub created_at: Option<jiff::Timestamp>,
}

impl RunningPod {
    /// Returns the pod as its creator would request it again: without the sidecar, which was added on creation.
    pub fn as_requested(&self) -> PodFacts<'static> {
        let name = Some(self.name.to_string().into()).filter(|name: &Cow<'_, str>| !name.is_empty());
        PodFacts { name, has_sidecar: false, ..(*self.pod).clone() }
    }
}

/// Sidecar of a running pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// Revision of the control plane that injected the sidecar, if the pod tells it.
    pub revision: Option<Box<str>>,
    /// Whether the sidecar is native: an init container that keeps running until the other containers have ended.
    pub is_native: bool,
}

/// Reference of an object to its controlling owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OwnerReference {
    /// API group, without the version.
    pub group: Arc<str>,
    pub kind: Arc<str>,
    pub name: Box<str>,
    /// UID: identifies the owner; kind and name do not.
    pub uid: Box<str>,
}

impl From<&OwnerReference> for OwnerName {
    fn from(reference: &OwnerReference) -> Self {
        Self { kind: sanitize(&reference.kind).into(), name: sanitize(&reference.name).into() }
    }
}

/// Mesh labels that a direct owner's selector uses. Changing one would make the owner create pods for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SelectorUse {
    /// Whether the selector uses the mesh's marker.
    pub marker: bool,
    /// Whether the selector uses the revision label.
    pub revision: bool,
}
