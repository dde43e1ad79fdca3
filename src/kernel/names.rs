//! Every name that a user types in YAML, once.

/// The API group of our resources.
pub const GROUP: &str = "outrigger.dev";
/// The version of it that is served.
pub const VERSION: &str = "v1alpha1";

/// The override: `"true"` or `"false"`.
pub const INJECT: &str = "outrigger.dev/inject";
/// Why an override stands.
pub const REASON: &str = "outrigger.dev/reason";
/// Until when an override counts, as an RFC 3339 time.
pub const UNTIL: &str = "outrigger.dev/until";
/// The receipt that a decision leaves on a pod.
pub const DECISION: &str = "outrigger.dev/decision";

/// A label: the mark of a restart on a workload that it has not done yet.
pub const RESTART: &str = "outrigger.dev/restart";
/// On a pod template: when it was restarted, as `kubectl rollout restart` writes it and all tools know it.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// On a suspension and on everything made for it: the id that ties audit entries together.
pub const AUDIT_ID: &str = "outrigger.dev/audit-id";
/// On everything made for a suspension: the UID of that, and the object's own namespace and name, as `UID/NAMESPACE/NAME`.
pub const MADE_FOR: &str = "outrigger.dev/made-for";
/// The finalizer by which a suspension of traffic outlives its deletion until its routing is gone.
pub const ROUTING_FINALIZER: &str = "outrigger.dev/routing";
/// Who makes and removes an object, by a label that all tools know.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// What that label says on the routing that we make.
pub const MANAGER: &str = "outrigger";

/// What the kubelet writes on the mirror of a static pod.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// What Istio's injector writes on a pod, about what it has put into it.
pub const INJECTED: &str = "sidecar.istio.io/status";

/// Our webhook configuration: its name sorts before those of the injectors, since the API server calls them in that order.
pub const WEBHOOK_CONFIGURATION: &str = "0-outrigger";
/// Our entry in it. It must not end in `istio.io`, or Istio's tools take it for an injector.
pub const WEBHOOK: &str = "pods.outrigger.dev";

/// The Secret in our own namespace that holds our certificates.
pub const CERTIFICATES_SECRET: &str = "outrigger-certificates";

/// The Lease in our own namespace, held by the replica that leads.
pub const LEASE: &str = "outrigger";

/// The Service under which the API server reaches us.
pub const SERVICE: &str = "outrigger";

/// The Deployment that runs us.
pub const DEPLOYMENT: &str = "outrigger";
