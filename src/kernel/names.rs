//! Names that a user types in YAML, and names of our own objects in a cluster.

/// API group of our resources.
pub const GROUP: &str = "outrigger.dev";
/// Served version of our API group.
pub const VERSION: &str = "v1alpha1";

/// Kind of the platform's policies.
pub const CLUSTER_INJECTION_POLICY: ResourceNames = ResourceNames {
    kind: "ClusterInjectionPolicy",
    plural: "clusterinjectionpolicies",
    short: "cinj",
    is_namespaced: false,
};
/// Kind of a tenant's policies.
pub const INJECTION_POLICY: ResourceNames =
    ResourceNames { kind: "InjectionPolicy", plural: "injectionpolicies", short: "inj", is_namespaced: true };
/// Kind of the platform's suspensions.
pub const CLUSTER_SUSPENSION_POLICY: ResourceNames = ResourceNames {
    kind: "ClusterSuspensionPolicy",
    plural: "clustersuspensionpolicies",
    short: "csusp",
    is_namespaced: false,
};
/// Kind of a tenant's suspensions.
pub const SUSPENSION_POLICY: ResourceNames =
    ResourceNames { kind: "SuspensionPolicy", plural: "suspensionpolicies", short: "susp", is_namespaced: true };

/// Names of one of our resources, as its definition declares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceNames {
    /// Kind, as objects carry it.
    pub kind: &'static str,
    /// Plural, as URLs and roles carry it.
    pub plural: &'static str,
    /// Short name for `kubectl get`.
    pub short: &'static str,
    /// Whether objects of the kind have a namespace.
    pub is_namespaced: bool,
}

/// Returns the names of suspensions: of one namespace, or of the cluster.
pub const fn suspension_names(is_namespaced: bool) -> ResourceNames {
    if is_namespaced { SUSPENSION_POLICY } else { CLUSTER_SUSPENSION_POLICY }
}

/// Returns the names of policies: of one namespace, or of the cluster.
pub const fn policy_names(is_namespaced: bool) -> ResourceNames {
    if is_namespaced { INJECTION_POLICY } else { CLUSTER_INJECTION_POLICY }
}

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

/// Label of a namespace that switches Istio's injection by the default revision on or off.
pub const INJECTION_LABEL: &str = "istio-injection";
/// Label that names a revision of Istio, on a namespace, a pod or an injector's configuration.
pub const REVISION_LABEL: &str = "istio.io/rev";
/// Label of a pod that asks Istio for a sidecar or refuses it; before that, an annotation of the same name.
pub const ISTIO_INJECT: &str = "sidecar.istio.io/inject";
/// Label of a namespace that puts it into one of Istio's data plane modes, such as `ambient`.
pub const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";
/// Label of a namespace or a Service that names its waypoint.
pub const USE_WAYPOINT: &str = "istio.io/use-waypoint";
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
