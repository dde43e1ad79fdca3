//! What the mesh's injector does with a pod: the selectors by which the API server calls it, then its own decision.
//!
//! Both must say yes. The rules are those that Istio and Linkerd document; what an injector reads besides labels,
//! annotations and the host network, such as its templates, decides what is injected and never whether.

use std::collections::HashMap;

use super::facts::{Namespace, Pod};
use super::mesh::{Injector, Mesh, Place};
use super::selector::{Operator, Requirement, Selector};

/// Every installed injector of the mesh.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Injectors {
    entries: Vec<Entry>,
    own_rules: HashMap<Box<str>, OwnRules>,
}

/// One entry of a webhook configuration by which the API server calls an injector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The configuration's name.
    pub configuration: Box<str>,
    /// The entry's name.
    pub webhook: Box<str>,
    /// The revision of the control plane that it leads to, where the configuration tells.
    pub revision: Option<Box<str>>,
    /// The namespaces in which it is called.
    pub namespaces: Selector,
    /// The pods for which it is called.
    pub objects: Selector,
    /// The namespace and the name of the ConfigMap with the injector's own rules, where it has one.
    pub own_rules: Option<(Box<str>, Box<str>)>,
    /// Whether it is called under further conditions, which are not evaluated here.
    pub is_conditional: bool,
    /// Whether no pod that it is called for is created while it does not answer.
    pub fails_closed: bool,
    /// Whether the API server calls it before us: it then sees the pod as it was sent.
    pub runs_before_us: bool,
}

/// What an injector of Istio decides by itself, from its own configuration. The default is that of its installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnRules {
    /// What becomes of pods that say nothing.
    pub policy: OwnPolicy,
    /// Pods that say nothing and are not injected.
    pub never: Vec<Selector>,
    /// Pods that say nothing and are injected, whatever the policy.
    pub always: Vec<Selector>,
}

/// What an injector of Istio does with pods that say nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OwnPolicy {
    /// They are injected.
    #[default]
    Enabled,
    /// They are not.
    Disabled,
    /// No word that the injector knows: nothing is injected, whatever a pod says.
    Neither,
}

/// What the injectors will do with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction<'i> {
    /// It gets its sidecar by this entry.
    Injected(&'i Entry),
    /// This entry is called, and the injector then skips the pod.
    Skipped(&'i Entry, Skip),
    /// No entry is called.
    NotCalled,
    /// This entry is called under conditions that are not evaluated here.
    Conditional(&'i Entry),
}

/// Why an injector skips a pod for which it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// The pod uses the host network.
    HostNetwork,
    /// Istio ignores this namespace.
    IgnoredNamespace,
    /// The marker says no.
    MarkerSaysNo,
    /// The legacy annotation says no.
    LegacySaysNo,
    /// One of the injector's own never-inject selectors matches.
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

/// A label's key and value.
pub type Label<'e> = (&'e str, &'e str);

/// Namespaces in which Istio's injector skips every pod.
const IGNORED: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

/// A pod as an injector sees it.
#[derive(Debug, Clone, Copy)]
pub struct View<'v, 'p> {
    /// The pod as it was sent.
    pub pod: &'v Pod<'p>,
    /// Its namespace.
    pub namespace: &'v Namespace,
    /// The marker as the injector finds it.
    pub marker: Option<&'v str>,
    /// The legacy annotation as the injector finds it.
    pub legacy: Option<&'v str>,
    /// The revision label as the injector finds it.
    pub revision: Option<&'v str>,
}

impl<'v, 'p> View<'v, 'p> {
    /// The pod as it was sent.
    pub fn sent(pod: &'v Pod<'p>, namespace: &'v Namespace, mesh: &Mesh) -> Self {
        let revision = mesh.revision_label.and_then(|key| pod.label(key));
        Self { pod, namespace, marker: pod.marker(mesh), legacy: pod.annotations.legacy.as_deref(), revision }
    }

    fn label(&self, key: &str, mesh: &Mesh) -> Option<&'v str> {
        match key {
            key if mesh.marker_place == Place::Label && key == mesh.marker_key => self.marker,
            key if mesh.revision_label == Some(key) => self.revision,
            key => self.pod.label(key),
        }
    }
}

impl Injectors {
    /// Injectors of these entries; `own_rules` by revision, where they are known.
    pub fn new(mut entries: Vec<Entry>, own_rules: HashMap<Box<str>, OwnRules>) -> Self {
        // The API server calls configurations in the order of their names, and the entries of one in the order they stand.
        entries.sort_by(|left, right| left.configuration.cmp(&right.configuration));
        Self { entries, own_rules }
    }

    /// The entries, in the order in which the API server calls them.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The configurations that the API server calls before ours, each once, in order. They see no pod as we change it.
    pub fn before_us(&self) -> Vec<&str> {
        let before = self.entries.iter().filter(|entry| entry.runs_before_us);
        let mut names: Vec<&str> = before.map(|entry| &*entry.configuration).collect();
        names.dedup();
        names
    }

    /// What becomes of a pod: of the entries that are called the first that injects, or what keeps the first from it.
    pub fn predict<'i>(&'i self, view: &View<'_, '_>, mesh: &Mesh) -> Prediction<'i> {
        let sent = View::sent(view.pod, view.namespace, mesh);
        let mut prediction = Prediction::NotCalled;
        for entry in &self.entries {
            let seen = if entry.runs_before_us { &sent } else { view };
            if !entry.is_called(seen, mesh) {
                continue;
            }
            let of_entry = match self.skip(entry, seen, mesh) {
                Some(skip) => Prediction::Skipped(entry, skip),
                None if entry.is_conditional => Prediction::Conditional(entry),
                None => return Prediction::Injected(entry),
            };
            if matches!(prediction, Prediction::NotCalled | Prediction::Skipped(..))
                && (prediction == Prediction::NotCalled || matches!(of_entry, Prediction::Conditional(_)))
            {
                prediction = of_entry;
            }
        }
        prediction
    }

    /// The values of the revision label that some entry selects, each once, in order.
    pub fn revisions(&self, label: &str) -> Vec<(&str, &Entry)> {
        let mut revisions: Vec<(&str, &Entry)> = Vec::new();
        for entry in &self.entries {
            let values = entry.objects.values_in(label).chain(entry.namespaces.values_in(label));
            revisions.extend(values.map(|value| (value, entry)));
        }
        revisions.sort_by_key(|(revision, _)| *revision);
        revisions.dedup_by_key(|(revision, _)| *revision);
        revisions
    }

    fn skip(&self, entry: &Entry, view: &View<'_, '_>, mesh: &Mesh) -> Option<Skip> {
        if view.pod.host_network {
            return Some(Skip::HostNetwork);
        }
        match mesh.injector {
            Injector::Istio { .. } => self.istio_skips(entry, view, mesh),
            Injector::Linkerd { .. } => linkerd_skips(view, mesh),
            Injector::Unread => None,
        }
    }

    fn istio_skips(&self, entry: &Entry, view: &View<'_, '_>, mesh: &Mesh) -> Option<Skip> {
        if IGNORED.contains(&&*view.namespace.name) {
            return Some(Skip::IgnoredNamespace);
        }
        let rules = entry.revision.as_deref().and_then(|revision| self.own_rules.get(revision));
        if rules.is_some_and(|rules| rules.policy == OwnPolicy::Neither) {
            return Some(Skip::PolicyUnknown);
        }
        // The annotation is read only where the label is absent, also where the label's value means nothing.
        let says = |value: Option<&str>| value.and_then(|value| mesh.reads(value));
        match (view.marker.is_some(), says(view.marker), says(view.legacy)) {
            (true, Some(true), _) | (false, _, Some(true)) => return None,
            (true, Some(false), _) => return Some(Skip::MarkerSaysNo),
            (false, _, Some(false)) => return Some(Skip::LegacySaysNo),
            (true, None, _) | (false, _, None) => {}
        }
        let rules = rules?;
        // An empty selector is passed over there, and does not select everything.
        let any = |selectors: &[Selector]| {
            selectors.iter().any(|selector| !selector.selects_all() && selector.matches_by(|key| view.label(key, mesh)))
        };
        if any(&rules.never) {
            return Some(Skip::NeverSelector);
        }
        (rules.policy == OwnPolicy::Disabled && !any(&rules.always)).then_some(Skip::PolicyDisabled)
    }
}

fn linkerd_skips(view: &View<'_, '_>, mesh: &Mesh) -> Option<Skip> {
    if view.pod.has_sidecar {
        return Some(Skip::HasSidecar);
    }
    let known = |value: Option<&str>| value.map(|value| mesh.reads(value));
    match (known(view.namespace.marker.as_deref()), known(view.marker)) {
        (Some(None), _) => Some(Skip::UnknownNamespaceMarker),
        (_, Some(None)) => Some(Skip::UnknownMarker),
        (_, Some(Some(false))) => Some(Skip::MarkerSaysNo),
        (Some(Some(true)), None) | (_, Some(Some(true))) => None,
        (Some(Some(false)) | None, None) => Some(Skip::NobodyAsks),
    }
}

impl Entry {
    fn is_called(&self, view: &View<'_, '_>, mesh: &Mesh) -> bool {
        self.namespaces.matches(&view.namespace.labels) && self.objects.matches_by(|key| view.label(key, mesh))
    }

    /// Whether a pod with this value of the revision label can be meant.
    pub fn selects_revision(&self, label: &str, revision: &str) -> bool {
        self.objects.values_in(label).any(|value| value == revision)
    }

    /// The label of the namespace, and that of the pod, by which it is called.
    pub fn called_by<'e>(&'e self, view: &View<'_, '_>, mesh: &Mesh) -> (Option<Label<'e>>, Option<Label<'e>>) {
        let Self { namespaces, objects, .. } = self;
        (namespaces.selecting(|key| view.namespace.labels.get(key)), objects.selecting(|key| view.label(key, mesh)))
    }
}

impl Selector {
    /// The values of which it asks for one under a key.
    fn values_in(&self, key: &str) -> impl Iterator<Item = &str> {
        let of_key = self.requirements().iter().filter(move |requirement| &*requirement.key == key);
        let values = of_key.flat_map(|requirement| match &requirement.operator {
            Operator::In(values) => values.as_slice(),
            Operator::NotIn(_) | Operator::Exists | Operator::DoesNotExist => &[],
        });
        values.map(|value| &**value)
    }

    /// The first label that has to have one of some values, with the one that it has.
    fn selecting<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> Option<Label<'_>> {
        self.requirements().iter().find_map(|Requirement { key, operator }| match operator {
            Operator::In(values) => {
                let has = label(key)?;
                values.iter().find(|value| &***value == has).map(|value| (&**key, &**value))
            }
            Operator::NotIn(_) | Operator::Exists | Operator::DoesNotExist => None,
        })
    }
}
