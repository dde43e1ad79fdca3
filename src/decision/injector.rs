//! Predicts what the mesh's injector does with a pod: first the selectors by which the API server calls it, then its
//! own decision.
//!
//! Both must agree to inject. The rules are those that Istio and Linkerd document. Other inputs of an injector, such as
//! its templates, decide what is injected and never whether.

use std::collections::HashMap;

use super::facts::{NamespaceFacts, PodFacts};
use super::mesh::{InjectorKind, MarkerPlace, Mesh};
use super::selector::{Selector, SelectorOperator, SelectorRequirement};

/// All installed injectors of the mesh.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Injectors {
    entries: Vec<InjectorEntry>,
    own_rules: HashMap<Box<str>, InjectorRules>,
}

/// Entry of a webhook configuration by which the API server calls an injector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InjectorEntry {
    /// Name of the webhook configuration.
    pub configuration: Box<str>,
    /// Name of the entry.
    pub webhook: Box<str>,
    /// Revision of the control plane behind the entry, if the configuration tells it.
    pub revision: Option<Box<str>>,
    /// Namespaces in which the entry is called.
    pub namespaces: Selector,
    /// Pods for which the entry is called.
    pub objects: Selector,
    /// Namespace and name of the ConfigMap with the injector's own rules, if it has one.
    pub rules_config_map: Option<(Box<str>, Box<str>)>,
    /// Whether the entry has further conditions (`matchConditions`), which are not evaluated here.
    pub is_conditional: bool,
    /// Whether pods of this entry cannot be created while the injector does not answer.
    pub fails_closed: bool,
    /// Whether the API server calls the entry before us: the injector then sees the pod as it was sent.
    pub runs_before_us: bool,
}

/// Own configuration of an Istio injector, as far as it decides about injection. The default is that of its
/// installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InjectorRules {
    /// Policy for pods without a marker.
    pub policy: InjectorPolicy,
    /// Pods without a marker that are not injected.
    pub never: Vec<Selector>,
    /// Pods without a marker that are injected, whatever the policy.
    pub always: Vec<Selector>,
}

/// Policy of an Istio injector for pods without a marker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InjectorPolicy {
    /// Pods without a marker are injected.
    #[default]
    Enabled,
    /// Pods without a marker are not injected.
    Disabled,
    /// A value that the injector does not know: no pod is injected, whatever its marker.
    Neither,
}

/// Prediction of what the injectors will do with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InjectionPrediction<'i> {
    /// The pod gets its sidecar by this entry.
    Injected(&'i InjectorEntry),
    /// The entry is called, but its injector skips the pod.
    Skipped(&'i InjectorEntry, InjectionSkip),
    /// No entry is called.
    NotCalled,
    /// The entry is called under conditions that are not evaluated here.
    Conditional(&'i InjectorEntry),
}

/// Reason why an injector skips a pod for which it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InjectionSkip {
    /// The pod uses the host network.
    HostNetwork,
    /// Istio ignores this namespace.
    IgnoredNamespace,
    /// The marker says no.
    MarkerSaysNo,
    /// The legacy annotation says no.
    LegacySaysNo,
    /// A never-inject selector of the injector matches.
    NeverSelector,
    /// The injector's own policy is disabled, and the pod says nothing.
    PolicyDisabled,
    /// The injector's own policy is no word that it knows.
    PolicyUnknown,
    /// The pod has a sidecar already.
    HasSidecar,
    /// Neither the namespace nor the pod asks for it.
    NobodyAsks,
    /// The marker has a value that the injector does not know.
    UnknownMarker,
    /// The namespace's marker has a value that the injector does not know.
    UnknownNamespaceMarker,
}

/// Key and value of a label.
pub type LabelPair<'e> = (&'e str, &'e str);

const IGNORED_NAMESPACES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

/// Pod as an injector sees it.
#[derive(Debug, Clone, Copy)]
pub struct InjectorView<'v, 'p> {
    /// Pod as it was sent.
    pub pod: &'v PodFacts<'p>,
    pub namespace: &'v NamespaceFacts,
    /// Marker as the injector sees it.
    pub marker: Option<&'v str>,
    /// Legacy annotation as the injector sees it.
    pub legacy: Option<&'v str>,
    /// Revision label as the injector sees it.
    pub revision: Option<&'v str>,
}

impl<'v, 'p> InjectorView<'v, 'p> {
    /// Returns the view of a pod without our marks.
    pub fn as_sent(pod: &'v PodFacts<'p>, namespace: &'v NamespaceFacts, mesh: &Mesh) -> Self {
        let revision = mesh.revision_label.and_then(|key| pod.label(key));
        Self { pod, namespace, marker: pod.marker(mesh), legacy: pod.annotations.legacy.as_deref(), revision }
    }

    fn label(&self, key: &str, mesh: &Mesh) -> Option<&'v str> {
        match key {
            key if mesh.marker_place == MarkerPlace::Label && key == mesh.marker_key => self.marker,
            key if mesh.revision_label == Some(key) => self.revision,
            key => self.pod.label(key),
        }
    }
}

impl Injectors {
    /// Sorts the entries in calling order. `own_rules` are the known rules of injectors, by revision.
    pub fn new(mut entries: Vec<InjectorEntry>, own_rules: HashMap<Box<str>, InjectorRules>) -> Self {
        // The API server calls configurations in the order of their names, and the entries of one in the order they
        // stand.
        entries.sort_by(|left, right| left.configuration.cmp(&right.configuration));
        Self { entries, own_rules }
    }

    /// Returns the entries in the order in which the API server calls them.
    pub fn entries(&self) -> &[InjectorEntry] {
        &self.entries
    }

    /// Returns the configurations that the API server calls before ours, each once, in order. Their injectors do not
    /// see our changes.
    pub fn before_us(&self) -> Vec<&str> {
        let before = self.entries.iter().filter(|entry| entry.runs_before_us);
        let mut names: Vec<&str> = before.map(|entry| &*entry.configuration).collect();
        names.dedup();
        names
    }

    /// Predicts what happens to a pod: the first called entry that injects wins, else the reason why the first one does
    /// not.
    pub fn predict<'i>(&'i self, view: &InjectorView<'_, '_>, mesh: &Mesh) -> InjectionPrediction<'i> {
        let sent = InjectorView::as_sent(view.pod, view.namespace, mesh);
        let mut prediction = InjectionPrediction::NotCalled;
        for entry in &self.entries {
            let seen = if entry.runs_before_us { &sent } else { view };
            if !entry.is_called(seen, mesh) {
                continue;
            }
            let entry_prediction = match self.skip_reason(entry, seen, mesh) {
                Some(skip) => InjectionPrediction::Skipped(entry, skip),
                None if entry.is_conditional => InjectionPrediction::Conditional(entry),
                None => return InjectionPrediction::Injected(entry),
            };
            if matches!(prediction, InjectionPrediction::NotCalled | InjectionPrediction::Skipped(..))
                && (prediction == InjectionPrediction::NotCalled
                    || matches!(entry_prediction, InjectionPrediction::Conditional(_)))
            {
                prediction = entry_prediction;
            }
        }
        prediction
    }

    /// Returns the values of the revision label that some entry selects, each once, in order.
    pub fn revisions(&self, label: &str) -> Vec<(&str, &InjectorEntry)> {
        let mut revisions: Vec<(&str, &InjectorEntry)> = Vec::new();
        for entry in &self.entries {
            let values = entry.objects.values_for(label).chain(entry.namespaces.values_for(label));
            revisions.extend(values.map(|value| (value, entry)));
        }
        revisions.sort_by_key(|(revision, _)| *revision);
        revisions.dedup_by_key(|(revision, _)| *revision);
        revisions
    }

    fn skip_reason(&self, entry: &InjectorEntry, view: &InjectorView<'_, '_>, mesh: &Mesh) -> Option<InjectionSkip> {
        if view.pod.host_network {
            return Some(InjectionSkip::HostNetwork);
        }
        match mesh.injector {
            InjectorKind::Istio { .. } => self.istio_skip_reason(entry, view, mesh),
            InjectorKind::Linkerd { .. } => linkerd_skip_reason(view, mesh),
            InjectorKind::Unread => None,
        }
    }

    fn istio_skip_reason(
        &self,
        entry: &InjectorEntry,
        view: &InjectorView<'_, '_>,
        mesh: &Mesh,
    ) -> Option<InjectionSkip> {
        if IGNORED_NAMESPACES.contains(&&*view.namespace.name) {
            return Some(InjectionSkip::IgnoredNamespace);
        }
        let rules = entry.revision.as_deref().and_then(|revision| self.own_rules.get(revision));
        if rules.is_some_and(|rules| rules.policy == InjectorPolicy::Neither) {
            return Some(InjectionSkip::PolicyUnknown);
        }
        // The annotation is read only if the label is absent. A label with a meaningless value is not absent.
        let parse = |value: Option<&str>| value.and_then(|value| mesh.parse_marker(value));
        match (view.marker.is_some(), parse(view.marker), parse(view.legacy)) {
            (true, Some(true), _) | (false, _, Some(true)) => return None,
            (true, Some(false), _) => return Some(InjectionSkip::MarkerSaysNo),
            (false, _, Some(false)) => return Some(InjectionSkip::LegacySaysNo),
            (true, None, _) | (false, _, None) => {}
        }
        let rules = rules?;
        // Istio passes an empty selector over: it does not select everything.
        let any = |selectors: &[Selector]| {
            selectors.iter().any(|selector| !selector.selects_all() && selector.matches_by(|key| view.label(key, mesh)))
        };
        if any(&rules.never) {
            return Some(InjectionSkip::NeverSelector);
        }
        (rules.policy == InjectorPolicy::Disabled && !any(&rules.always)).then_some(InjectionSkip::PolicyDisabled)
    }
}

fn linkerd_skip_reason(view: &InjectorView<'_, '_>, mesh: &Mesh) -> Option<InjectionSkip> {
    if view.pod.has_sidecar {
        return Some(InjectionSkip::HasSidecar);
    }
    let known = |value: Option<&str>| value.map(|value| mesh.parse_marker(value));
    match (known(view.namespace.marker.as_deref()), known(view.marker)) {
        (Some(None), _) => Some(InjectionSkip::UnknownNamespaceMarker),
        (_, Some(None)) => Some(InjectionSkip::UnknownMarker),
        (_, Some(Some(false))) => Some(InjectionSkip::MarkerSaysNo),
        (Some(Some(true)), None) | (_, Some(Some(true))) => None,
        (Some(Some(false)) | None, None) => Some(InjectionSkip::NobodyAsks),
    }
}

impl InjectorEntry {
    fn is_called(&self, view: &InjectorView<'_, '_>, mesh: &Mesh) -> bool {
        self.namespaces.matches(&view.namespace.labels) && self.objects.matches_by(|key| view.label(key, mesh))
    }

    /// Returns whether the entry can select a pod with this value of the revision label.
    pub fn selects_revision(&self, label: &str, revision: &str) -> bool {
        self.objects.values_for(label).any(|value| value == revision)
    }

    /// Returns the label of the namespace and the label of the pod by which the entry is called.
    pub fn calling_labels<'e>(
        &'e self,
        view: &InjectorView<'_, '_>,
        mesh: &Mesh,
    ) -> (Option<LabelPair<'e>>, Option<LabelPair<'e>>) {
        let Self { namespaces, objects, .. } = self;
        (
            namespaces.selecting_label(|key| view.namespace.labels.get(key)),
            objects.selecting_label(|key| view.label(key, mesh)),
        )
    }
}

impl Selector {
    /// Returns the values that the selector accepts for a key.
    fn values_for(&self, key: &str) -> impl Iterator<Item = &str> {
        let key_requirements = self.requirements().iter().filter(move |requirement| &*requirement.key == key);
        let values = key_requirements.flat_map(|requirement| match &requirement.operator {
            SelectorOperator::In(values) => values.as_slice(),
            SelectorOperator::NotIn(_) | SelectorOperator::Exists | SelectorOperator::DoesNotExist => &[],
        });
        values.map(|value| &**value)
    }

    /// Returns the first label that must have one of several values, with its actual value.
    fn selecting_label<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> Option<LabelPair<'_>> {
        self.requirements().iter().find_map(|SelectorRequirement { key, operator }| match operator {
            SelectorOperator::In(values) => {
                let has = label(key)?;
                values.iter().find(|value| &***value == has).map(|value| (&**key, &**value))
            }
            SelectorOperator::NotIn(_) | SelectorOperator::Exists | SelectorOperator::DoesNotExist => None,
        })
    }
}
