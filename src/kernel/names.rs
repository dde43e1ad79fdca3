//! Names that a user types in YAML, and names of our own objects in a cluster.

/// API group of our resources.
pub const GROUP: &str = "outrigger.dev";
/// Served version of our API group.
pub const VERSION: &str = "v1alpha1";

/// Annotation with the value of an override: `"true"` or `"false"`.
pub const INJECT: &str = "outrigger.dev/inject";
/// Annotation with the reason of an override.
pub const REASON: &str = "outrigger.dev/reason";
/// Annotation with the end of an override, as an RFC 3339 time.
pub const UNTIL: &str = "outrigger.dev/until";
/// Annotation with the receipt that a decision leaves on a pod.
pub const DECISION: &str = "outrigger.dev/decision";

/// Label that marks a workload whose restart is pending.
pub const RESTART: &str = "outrigger.dev/restart";
/// Annotation on a pod template with the time of its restart, as `kubectl rollout restart` writes it and all tools know
/// it.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Annotation on a suspension and on everything made for it, with the id that ties audit entries together.
pub const AUDIT_ID: &str = "outrigger.dev/audit-id";
/// Annotation on everything made for a suspension, with the UID of the suspension and the object's own namespace and
/// name: `UID/NAMESPACE/NAME`.
pub const MADE_FOR: &str = "outrigger.dev/made-for";
/// Finalizer by which a suspension of traffic outlives its deletion until its routing is gone.
pub const ROUTING_FINALIZER: &str = "outrigger.dev/routing";
/// Label that names the owner of an object; all tools know it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`] on the routing that we make.
pub const MANAGER: &str = "outrigger";

/// Annotation that the kubelet writes on the mirror of a static pod.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// Annotation in which Istio's injector records what it has put into a pod.
pub const INJECTED: &str = "sidecar.istio.io/status";

/// Name of our webhook configuration. It sorts before those of the injectors: the API server calls them in that order.
pub const WEBHOOK_CONFIGURATION: &str = "0-outrigger";
/// Name of our entry in it. It must not end in `istio.io`, or Istio's tools take it for an injector.
pub const WEBHOOK: &str = "pods.outrigger.dev";

/// Secret in our own namespace that holds our certificates.
pub const CERTIFICATES_SECRET: &str = "outrigger-certificates";

/// Lease in our own namespace, held by the leader.
pub const LEASE: &str = "outrigger";

/// Service by which the API server reaches us.
pub const SERVICE: &str = "outrigger";

/// Deployment that runs us.
pub const DEPLOYMENT: &str = "outrigger";
