//! Effects in words: those of `istioctl experimental check-inject` and of Linkerd's own reports, where they have some.

use std::fmt::{self, Display};

use super::{Seen, Why};
use crate::decision::injector::{Label, Skip};
use crate::decision::mesh::{Mesh, Place};
use crate::kernel::text::Clean;

impl Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Mesh(mesh) => write!(f, "how the injector of {} decides is not known here", mesh.name),
            Why::Configurations(missing) => {
                write!(f, "the webhook configurations are not known ({})", missing.as_str())
            }
            Why::NoInjector(mesh) => write!(f, "no webhook configuration calls an injector of {}", mesh.name),
            Why::Namespace(missing) => write!(f, "the namespace is not known ({})", missing.as_str()),
            Why::Conditions(entry) => {
                write!(f, "{} is called under matchConditions, which are not evaluated here", entry.webhook)
            }
            Why::Called(_, namespace, pod) => called(f, *namespace, *pod),
            Why::Skipped(_, skip, mesh) => skipped(f, *skip, mesh),
            Why::MarkerSaysNo(mesh) => marker_says_no(f, mesh),
            Why::NamespaceSaysNo((key, value)) => {
                write!(f, "Namespace has {key}={} label, preventing injection", Clean(value))
            }
            Why::NotSelected(seen) => not_selected(f, seen),
            Why::OwnRevision(own, installed) => {
                write!(
                    f,
                    "the pod's own label istio.io/rev={} selects no injector here; {}",
                    Clean(own),
                    Installed(installed)
                )
            }
            Why::PolicyRevision(asked, installed) => {
                write!(f, "the revision {asked}, which the policy asks for, is not installed; {}", Installed(installed))
            }
            Why::OtherRevision(asked, entry) => {
                let revision = entry.revision.as_deref().unwrap_or("unknown");
                write!(
                    f,
                    "the revision {asked}, which the policy asks for, is not installed; revision {revision} injects the pod as it came"
                )
            }
            Why::SeveralRevisions(revisions) => write!(
                f,
                "only a revision label reaches an injector here, and several are installed ({}): name one in the policy's revision",
                revisions.join(", ")
            ),
            Why::Withheld(withheld) => f.write_str(withheld.sentence()),
            Why::RunsBeforeUs(entry) => write!(
                f,
                "the API server calls {} before us, because its name sorts first: it does not see what we write",
                entry.configuration
            ),
            Why::NeverSelector(entry) => write!(
                f,
                "a neverInjectSelector of the injector behind {} matches, and with --write needed it is left alone",
                entry.webhook
            ),
        }
    }
}

fn called(f: &mut fmt::Formatter<'_>, namespace: Option<Label<'_>>, pod: Option<Label<'_>>) -> fmt::Result {
    match (namespace, pod) {
        (Some((key, value)), None) => write!(f, "Namespace label {key}={value} matches"),
        (None, Some((key, value))) => write!(f, "Pod label {key}={value} matches"),
        (Some((key, value)), Some((pod_key, pod_value))) => {
            write!(f, "Namespace label {key}={value} matches, and pod label {pod_key}={pod_value} matches")
        }
        (None, None) => f.write_str("Automatic injection is enabled in all namespaces"),
    }
}

fn skipped(f: &mut fmt::Formatter<'_>, skip: Skip, mesh: &Mesh) -> fmt::Result {
    match skip {
        Skip::HostNetwork => f.write_str("hostNetwork is enabled"),
        Skip::IgnoredNamespace => f.write_str("the injector ignores this namespace"),
        Skip::MarkerSaysNo => marker_says_no(f, mesh),
        Skip::LegacySaysNo => {
            let key = mesh.legacy_annotation.unwrap_or(mesh.marker_key);
            write!(f, "Pod has {key}={} annotation, preventing injection", mesh.off[0])
        }
        Skip::NeverSelector => f.write_str("a neverInjectSelector of the injector matches the pod"),
        Skip::PolicyDisabled => {
            f.write_str("the injector's own policy is disabled, and the pod does not ask for a sidecar")
        }
        Skip::PolicyUnknown => {
            f.write_str("the injector's own policy is neither enabled nor disabled, so it injects nothing")
        }
        Skip::HasSidecar => f.write_str("pod has a sidecar injected already"),
        Skip::NobodyAsks => {
            write!(f, "neither the namespace nor the pod have the annotation \"{}:{}\"", mesh.marker_key, mesh.on[0])
        }
        Skip::UnknownMarker => write!(f, "invalid value for annotation \"{}\" at workload", mesh.marker_key),
        Skip::UnknownNamespaceMarker => write!(f, "invalid value for annotation \"{}\" at namespace", mesh.marker_key),
    }
}

fn marker_says_no(f: &mut fmt::Formatter<'_>, mesh: &Mesh) -> fmt::Result {
    match mesh.marker_place {
        Place::Label => write!(f, "Pod has {}={} label, preventing injection", mesh.marker_key, mesh.off[0]),
        Place::Annotation => write!(f, "pod has the annotation \"{}:{}\"", mesh.marker_key, mesh.off[0]),
    }
}

fn not_selected(f: &mut fmt::Formatter<'_>, seen: &Seen<'_>) -> fmt::Result {
    let Seen { mesh, namespace, marker, revision, installed } = seen;
    if mesh.namespace_labels.is_empty() {
        return f.write_str("no injector is called for this namespace or pod");
    }
    let of_namespace = mesh.namespace_labels.iter().map(|key| (*key, namespace.labels.get(key)));
    f.write_str("No matching namespace labels (")?;
    labels(f, of_namespace)?;
    f.write_str(") or pod labels (")?;
    let of_pod = [(mesh.revision_label, revision), (Some(mesh.marker_key), marker)];
    labels(f, of_pod.into_iter().filter_map(|(key, value)| Some((key?, value.as_deref()))))?;
    write!(f, "); {}", Installed(installed))
}

/// The labels that are there, or `none`.
fn labels<'l>(f: &mut fmt::Formatter<'_>, labels: impl Iterator<Item = (&'l str, Option<&'l str>)>) -> fmt::Result {
    let mut separator = "";
    for (key, value) in labels.filter_map(|(key, value)| value.map(|value| (key, value))) {
        write!(f, "{separator}{key}={}", Clean(value))?;
        separator = ", ";
    }
    if separator.is_empty() { f.write_str("none") } else { Ok(()) }
}

/// The revisions that a label can ask for.
struct Installed<'r>(&'r [&'r str]);

impl Display for Installed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("no revision is installed that a label could ask for"),
            revisions => write!(f, "installed are {}", revisions.join(", ")),
        }
    }
}
