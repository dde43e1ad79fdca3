//! Sentences for effects. They repeat the words of `istioctl experimental check-inject` and of Linkerd, if those have
//! any.

use std::fmt::{self, Display};

use super::{EffectReason, SeenLabels};
use crate::decision::injector::{InjectionSkip, LabelPair};
use crate::decision::mesh::{MarkerPlace, Mesh};
use crate::kernel::names::REVISION_LABEL;
use crate::kernel::text::CleanText;

impl Display for EffectReason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EffectReason::Mesh(mesh) => write!(f, "how the injector of {} decides is not known here", mesh.name),
            EffectReason::Configurations(missing) => {
                write!(f, "the webhook configurations are not known ({})", missing.as_str())
            }
            EffectReason::NoInjector(mesh) => write!(f, "no webhook configuration calls an injector of {}", mesh.name),
            EffectReason::Namespace(missing) => write!(f, "the namespace is not known ({})", missing.as_str()),
            EffectReason::Conditions(entry) => {
                write!(f, "{} is called under matchConditions, which are not evaluated here", entry.webhook)
            }
            EffectReason::Called(_, namespace, pod) => write_called(f, *namespace, *pod),
            EffectReason::Skipped(_, skip, mesh) => write_skipped(f, *skip, mesh),
            EffectReason::MarkerSaysNo(mesh) => write_marker_says_no(f, mesh),
            EffectReason::NamespaceSaysNo((key, value)) => {
                write!(f, "Namespace has {key}={} label, preventing injection", CleanText(value))
            }
            EffectReason::NotSelected(seen) => write_not_selected(f, seen),
            EffectReason::OwnRevision(own, installed) => {
                write!(
                    f,
                    "the pod's own label {REVISION_LABEL}={} selects no injector here; {}",
                    CleanText(own),
                    InstalledRevisions(installed)
                )
            }
            EffectReason::PolicyRevision(requested, installed) => {
                write!(
                    f,
                    "the revision {requested}, which the policy asks for, is not installed; {}",
                    InstalledRevisions(installed)
                )
            }
            EffectReason::OtherRevision(requested, entry) => {
                let revision = entry.revision.as_deref().unwrap_or("unknown");
                write!(
                    f,
                    "the revision {requested}, which the policy asks for, is not installed; revision {revision} injects the pod as it came"
                )
            }
            EffectReason::SeveralRevisions(revisions) => write!(
                f,
                "only a revision label reaches an injector here, and several are installed ({}): name one in the policy's revision",
                revisions.join(", ")
            ),
            EffectReason::Withheld(withheld) => f.write_str(withheld.sentence()),
            EffectReason::RunsBeforeUs(entry) => write!(
                f,
                "the API server calls {} before us, because its name sorts first: it does not see what we write",
                entry.configuration
            ),
            EffectReason::NeverSelector(entry) => write!(
                f,
                "a neverInjectSelector of the injector behind {} matches, and with --write needed it is left alone",
                entry.webhook
            ),
        }
    }
}

fn write_called(
    f: &mut fmt::Formatter<'_>,
    namespace: Option<LabelPair<'_>>,
    pod: Option<LabelPair<'_>>,
) -> fmt::Result {
    match (namespace, pod) {
        (Some((key, value)), None) => write!(f, "Namespace label {key}={value} matches"),
        (None, Some((key, value))) => write!(f, "Pod label {key}={value} matches"),
        (Some((key, value)), Some((pod_key, pod_value))) => {
            write!(f, "Namespace label {key}={value} matches, and pod label {pod_key}={pod_value} matches")
        }
        (None, None) => f.write_str("Automatic injection is enabled in all namespaces"),
    }
}

fn write_skipped(f: &mut fmt::Formatter<'_>, skip: InjectionSkip, mesh: &Mesh) -> fmt::Result {
    match skip {
        InjectionSkip::HostNetwork => f.write_str("hostNetwork is enabled"),
        InjectionSkip::IgnoredNamespace => f.write_str("the injector ignores this namespace"),
        InjectionSkip::MarkerSaysNo => write_marker_says_no(f, mesh),
        InjectionSkip::LegacySaysNo => {
            let key = mesh.legacy_annotation.unwrap_or(mesh.marker_key);
            write!(f, "Pod has {key}={} annotation, preventing injection", mesh.off[0])
        }
        InjectionSkip::NeverSelector => f.write_str("a neverInjectSelector of the injector matches the pod"),
        InjectionSkip::PolicyDisabled => {
            f.write_str("the injector's own policy is disabled, and the pod does not ask for a sidecar")
        }
        InjectionSkip::PolicyUnknown => {
            f.write_str("the injector's own policy is neither enabled nor disabled, so it injects nothing")
        }
        InjectionSkip::HasSidecar => f.write_str("pod has a sidecar injected already"),
        InjectionSkip::NobodyAsks => {
            write!(f, "neither the namespace nor the pod have the annotation \"{}:{}\"", mesh.marker_key, mesh.on[0])
        }
        InjectionSkip::UnknownMarker => write!(f, "invalid value for annotation \"{}\" at workload", mesh.marker_key),
        InjectionSkip::UnknownNamespaceMarker => {
            write!(f, "invalid value for annotation \"{}\" at namespace", mesh.marker_key)
        }
    }
}

fn write_marker_says_no(f: &mut fmt::Formatter<'_>, mesh: &Mesh) -> fmt::Result {
    match mesh.marker_place {
        MarkerPlace::Label => write!(f, "Pod has {}={} label, preventing injection", mesh.marker_key, mesh.off[0]),
        MarkerPlace::Annotation => write!(f, "pod has the annotation \"{}:{}\"", mesh.marker_key, mesh.off[0]),
    }
}

fn write_not_selected(f: &mut fmt::Formatter<'_>, seen: &SeenLabels<'_>) -> fmt::Result {
    let SeenLabels { mesh, namespace, marker, revision, installed } = seen;
    if mesh.namespace_labels.is_empty() {
        return f.write_str("no injector is called for this namespace or pod");
    }
    let of_namespace = mesh.namespace_labels.iter().map(|key| (*key, namespace.labels.get(key)));
    f.write_str("No matching namespace labels (")?;
    write_labels(f, of_namespace)?;
    f.write_str(") or pod labels (")?;
    let of_pod = [(mesh.revision_label, revision), (Some(mesh.marker_key), marker)];
    write_labels(f, of_pod.into_iter().filter_map(|(key, value)| Some((key?, value.as_deref()))))?;
    write!(f, "); {}", InstalledRevisions(installed))
}

/// Writes the labels that have a value, or `none`.
fn write_labels<'l>(
    f: &mut fmt::Formatter<'_>,
    labels: impl Iterator<Item = (&'l str, Option<&'l str>)>,
) -> fmt::Result {
    let mut separator = "";
    for (key, value) in labels.filter_map(|(key, value)| value.map(|value| (key, value))) {
        write!(f, "{separator}{key}={}", CleanText(value))?;
        separator = ", ";
    }
    if separator.is_empty() { f.write_str("none") } else { Ok(()) }
}

/// Sentence about the revisions that a label can ask for.
struct InstalledRevisions<'r>(&'r [&'r str]);

impl Display for InstalledRevisions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("no revision is installed that a label could ask for"),
            revisions => write!(f, "installed are {}", revisions.join(", ")),
        }
    }
}
