//! Known meshes, and the marker that the injector of each reads on a pod.

use crate::kernel::names::{INJECTION_LABEL, ISTIO_INJECT, REVISION_LABEL};

/// Mesh, with the marker by which its injector can be directed.
#[derive(Debug, PartialEq, Eq)]
pub struct Mesh {
    /// Name that `--mesh` takes.
    pub name: &'static str,
    /// Map of the pod's metadata that holds the marker.
    pub marker_place: MarkerPlace,
    /// Key of the marker.
    pub marker_key: &'static str,
    /// Values that mean on; the first is the one that is written.
    pub on: &'static [&'static str],
    /// Values that mean off; the first is the one that is written.
    pub off: &'static [&'static str],
    /// Annotation that the injector still reads if the marker's label is absent.
    pub legacy_annotation: Option<&'static str>,
    /// Label that selects a revision of the control plane.
    pub revision_label: Option<&'static str>,
    /// Labels on a namespace that make the injector ignore a pod's own revision label.
    pub namespace_labels: &'static [&'static str],
    /// Rules by which the injector decides.
    pub injector: InjectorKind,
}

/// Rules by which a mesh's injector decides, as far as they are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InjectorKind {
    /// By the selectors of its webhook entries, then by label, annotation and its own policy.
    Istio {
        /// Suffix of the entries' names.
        entries: &'static str,
    },
    /// For nearly every pod, by the annotations of the namespace and of the pod.
    Linkerd {
        /// Suffix of the entries' names.
        entries: &'static str,
    },
    /// Unknown here: effects of this mesh are not predicted.
    Unread,
}

/// Map of a pod's metadata that holds a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkerPlace {
    /// Among the labels.
    Label,
    /// Among the annotations.
    Annotation,
}

impl Mesh {
    /// Returns the mesh of this name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        MESHES.iter().find(|mesh| mesh.name == name)
    }

    /// Returns whether a webhook entry of this name calls the mesh's injector.
    pub fn is_injector_entry(&self, webhook: &str) -> bool {
        match self.injector {
            InjectorKind::Istio { entries } | InjectorKind::Linkerd { entries } => webhook.ends_with(entries),
            InjectorKind::Unread => false,
        }
    }

    /// Returns whether this value of a marker means on (`true`), off (`false`) or neither (`None`).
    pub fn parse_marker(&self, value: &str) -> Option<bool> {
        if self.on.contains(&value) { Some(true) } else { self.off.contains(&value).then_some(false) }
    }
}

/// Every mesh that `--mesh` knows; the first is the default.
pub static MESHES: [Mesh; 7] = [
    Mesh {
        name: "istio",
        marker_place: MarkerPlace::Label,
        marker_key: ISTIO_INJECT,
        // Istio takes these two words exactly; its CNI plugin reads "True" and "0" differently from its injector.
        on: &["true"],
        off: &["false"],
        legacy_annotation: Some(ISTIO_INJECT),
        revision_label: Some(REVISION_LABEL),
        namespace_labels: &[INJECTION_LABEL, REVISION_LABEL],
        injector: InjectorKind::Istio { entries: "sidecar-injector.istio.io" },
    },
    Mesh {
        on: &["enabled", "ingress"],
        off: &["disabled"],
        injector: InjectorKind::Linkerd { entries: "linkerd-proxy-injector.linkerd.io" },
        ..annotation_mesh("linkerd", "linkerd.io/inject")
    },
    Mesh {
        marker_place: MarkerPlace::Label,
        on: &["enabled", "true", "yes"],
        off: &["disabled", "false", "no"],
        ..annotation_mesh("kuma", "kuma.io/sidecar-injection")
    },
    Mesh { on: GO_TRUE, off: GO_FALSE, ..annotation_mesh("consul", "consul.hashicorp.com/connect-inject") },
    annotation_mesh("dapr", "dapr.io/enabled"),
    annotation_mesh("opentelemetry", "sidecar.opentelemetry.io/inject"),
    Mesh { on: GO_TRUE, off: GO_FALSE, ..annotation_mesh("vault", "vault.hashicorp.com/agent-inject") },
];

// Values that Go's strconv.ParseBool accepts: these injectors call it.
const GO_TRUE: &[&str] = &["true", "1", "t", "T", "TRUE", "True"];
const GO_FALSE: &[&str] = &["false", "0", "f", "F", "FALSE", "False"];

const fn annotation_mesh(name: &'static str, marker_key: &'static str) -> Mesh {
    Mesh {
        name,
        marker_place: MarkerPlace::Annotation,
        marker_key,
        on: &["true"],
        off: &["false"],
        legacy_annotation: None,
        revision_label: None,
        namespace_labels: &[],
        injector: InjectorKind::Unread,
    }
}
