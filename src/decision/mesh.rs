//! The meshes and injectors that are known, and the marker that each one's injector reads on a pod.

/// How one mesh's injector is told what to do with a pod.
#[derive(Debug, PartialEq, Eq)]
pub struct Mesh {
    /// The name that `--mesh` takes.
    pub name: &'static str,
    /// Where the marker stands.
    pub marker_place: Place,
    /// The marker's key.
    pub marker_key: &'static str,
    /// Values that mean on; the first is the one that is written.
    pub on: &'static [&'static str],
    /// Values that mean off; the first is the one that is written.
    pub off: &'static [&'static str],
    /// An annotation that the injector still reads where the marker's label is absent.
    pub legacy_annotation: Option<&'static str>,
    /// The label that picks a revision of the control plane.
    pub revision_label: Option<&'static str>,
    /// Labels on a namespace that make the injector ignore a pod's own revision label.
    pub namespace_labels: &'static [&'static str],
    /// How its injector decides.
    pub injector: Injector,
}

/// How a mesh's injector decides, as far as that is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injector {
    /// By the selectors of webhook entries whose names end like this, then by label, annotation and its own policy.
    Istio {
        /// The end of the entries' names.
        entries: &'static str,
    },
    /// For nearly every pod, by the annotations of the namespace and of the pod.
    Linkerd {
        /// The end of the entries' names.
        entries: &'static str,
    },
    /// What it will do is not told.
    Unread,
}

/// Where a marker stands in a pod's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Among the labels.
    Label,
    /// Among the annotations.
    Annotation,
}

impl Mesh {
    /// The mesh of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        MESHES.iter().find(|mesh| mesh.name == name)
    }

    /// Whether a webhook entry of this name calls the mesh's injector.
    pub fn is_injector(&self, webhook: &str) -> bool {
        match self.injector {
            Injector::Istio { entries } | Injector::Linkerd { entries } => webhook.ends_with(entries),
            Injector::Unread => false,
        }
    }

    /// Whether this value of a marker means on or off, or neither.
    pub fn reads(&self, value: &str) -> Option<bool> {
        if self.on.contains(&value) { Some(true) } else { self.off.contains(&value).then_some(false) }
    }
}

/// Every mesh that `--mesh` knows; the first is the default.
pub static MESHES: [Mesh; 7] = [
    Mesh {
        name: "istio",
        marker_place: Place::Label,
        marker_key: "sidecar.istio.io/inject",
        // Istio takes these two words exactly; its CNI plugin reads "True" and "0" differently from its injector.
        on: &["true"],
        off: &["false"],
        legacy_annotation: Some("sidecar.istio.io/inject"),
        revision_label: Some("istio.io/rev"),
        namespace_labels: &["istio-injection", "istio.io/rev"],
        injector: Injector::Istio { entries: "sidecar-injector.istio.io" },
    },
    Mesh {
        on: &["enabled", "ingress"],
        off: &["disabled"],
        injector: Injector::Linkerd { entries: "linkerd-proxy-injector.linkerd.io" },
        ..annotation("linkerd", "linkerd.io/inject")
    },
    Mesh {
        marker_place: Place::Label,
        on: &["enabled", "true", "yes"],
        off: &["disabled", "false", "no"],
        ..annotation("kuma", "kuma.io/sidecar-injection")
    },
    Mesh { on: TRUE, off: FALSE, ..annotation("consul", "consul.hashicorp.com/connect-inject") },
    annotation("dapr", "dapr.io/enabled"),
    annotation("opentelemetry", "sidecar.opentelemetry.io/inject"),
    Mesh { on: TRUE, off: FALSE, ..annotation("vault", "vault.hashicorp.com/agent-inject") },
];

// What Go's strconv.ParseBool takes, which these injectors call.
const TRUE: &[&str] = &["true", "1", "t", "T", "TRUE", "True"];
const FALSE: &[&str] = &["false", "0", "f", "F", "FALSE", "False"];

const fn annotation(name: &'static str, marker_key: &'static str) -> Mesh {
    Mesh {
        name,
        marker_place: Place::Annotation,
        marker_key,
        on: &["true"],
        off: &["false"],
        legacy_annotation: None,
        revision_label: None,
        namespace_labels: &[],
        injector: Injector::Unread,
    }
}
