//! The installed injectors: what the API server's webhook configurations and an injector's own configuration say of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use serde::Deserialize;

use super::changes::Changes;
use crate::decision::injector::{Entry, Injectors, OwnPolicy, OwnRules};
use crate::decision::mesh::{Injector, Mesh};
use crate::decision::selector::{Operator, Requirement, Selector};
use crate::kernel::names;

/// The injectors of the mesh, kept by configuration and compiled whenever one of them changes.
#[derive(Debug, Default)]
pub struct InstalledInjectors {
    read: Mutex<Read>,
    compiled: ArcSwapOption<Injectors>,
    pub(super) changes: Changes,
}

#[derive(Debug, Default)]
struct Read {
    configurations: BTreeMap<Box<str>, Vec<Entry>>,
    own_rules: HashMap<Box<str>, OwnRules>,
    is_synced: bool,
}

impl InstalledInjectors {
    /// The compiled injectors, once every configuration has been seen.
    pub fn get(&self) -> Option<Arc<Injectors>> {
        self.compiled.load_full()
    }

    /// Puts a configuration's entries in place of those that it had.
    pub fn insert(&self, configuration: &str, entries: Vec<Entry>) {
        self.change(|read| read.put(configuration, entries));
    }

    /// Forgets a configuration.
    pub fn remove(&self, configuration: &str) {
        self.change(|read| read.put(configuration, Vec::new()));
    }

    /// Puts a complete list in place of all configurations.
    pub fn replace(&self, listed: Vec<(String, Vec<Entry>)>) {
        self.change(|read| {
            read.configurations.clear();
            listed.into_iter().for_each(|(configuration, entries)| read.put(&configuration, entries));
            read.is_synced = true;
        });
    }

    /// Puts what is known of the injectors' own rules, by revision, in place of what was known.
    pub fn set_own_rules(&self, own_rules: HashMap<Box<str>, OwnRules>) {
        self.change(|read| read.own_rules = own_rules);
    }

    fn change(&self, change: impl FnOnce(&mut Read)) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut read);
        let Read { configurations, own_rules, is_synced } = &*read;
        if *is_synced {
            let entries = configurations.values().flatten().cloned().collect();
            self.compiled.store(Some(Arc::new(Injectors::new(entries, own_rules.clone()))));
            self.changes.note();
        }
    }
}

impl Read {
    fn put(&mut self, configuration: &str, entries: Vec<Entry>) {
        if entries.is_empty() {
            self.configurations.remove(configuration);
        } else {
            self.configurations.insert(configuration.into(), entries);
        }
    }
}

/// The entries of a webhook configuration by which pods reach an injector of the mesh.
pub fn entries_of(configuration: &MutatingWebhookConfiguration, mesh: &Mesh) -> Vec<Entry> {
    let name = configuration.name_any();
    let revision = configuration.labels().get("istio.io/rev");
    let webhooks = configuration.webhooks.iter().flatten();
    let ours = webhooks.filter(|webhook| mesh.is_injector(&webhook.name) && is_for_pods(webhook));
    let entry = |webhook: &MutatingWebhook| {
        let selectors = [&webhook.namespace_selector, &webhook.object_selector].map(compiled);
        let unreadable = selectors.iter().any(Option::is_none);
        let [namespaces, objects] = selectors.map(Option::unwrap_or_default);
        let conditions = webhook.match_conditions.as_ref().is_some_and(|conditions| !conditions.is_empty());
        let service =
            webhook.client_config.service.as_ref().filter(|_| matches!(mesh.injector, Injector::Istio { .. }));
        let config = || match revision.map(String::as_str) {
            None | Some("default") => ISTIO_CONFIG.into(),
            Some(revision) => format!("{ISTIO_CONFIG}-{revision}").into(),
        };
        Entry {
            own_rules: service.map(|service| (service.namespace.as_str().into(), config())),
            configuration: name.as_str().into(),
            webhook: webhook.name.as_str().into(),
            revision: revision.map(|revision| revision.as_str().into()),
            namespaces,
            objects,
            is_conditional: conditions || unreadable,
            fails_closed: webhook.failure_policy.as_deref() != Some("Ignore"),
            runs_before_us: name.as_str() < names::WEBHOOK_CONFIGURATION,
        }
    };
    ours.map(entry).collect()
}

/// Whether a webhook is asked about the creation of pods.
fn is_for_pods(webhook: &MutatingWebhook) -> bool {
    let has =
        |list: &Option<Vec<String>>, wanted: &[&str]| list.iter().flatten().any(|one| wanted.contains(&one.as_str()));
    let is_for_pods = |rule: &RuleWithOperations| {
        has(&rule.operations, &["CREATE", "*"])
            && has(&rule.api_groups, &["", "*"])
            && has(&rule.resources, &["pods", "*", "*/*"])
    };
    webhook.rules.iter().flatten().any(is_for_pods)
}

/// What an injector of Istio says about itself in its ConfigMap, and the revision that it serves.
///
/// The name of the ConfigMap is `istio-sidecar-injector`, with `-` and the revision where there is one.
pub fn own_rules_of(config: &ConfigMap) -> Option<(Box<str>, Result<OwnRules, String>)> {
    let name = config.name_any();
    let revision = match name.strip_prefix(ISTIO_CONFIG)? {
        "" => "default",
        rest => rest.strip_prefix('-')?,
    };
    let text = config.data.as_ref()?.get("config")?;
    Some((revision.into(), read_own_rules(text)))
}

/// How the ConfigMaps of Istio's injectors begin.
pub const ISTIO_CONFIG: &str = "istio-sidecar-injector";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IstioConfig {
    #[serde(default)]
    policy: String,
    #[serde(default)]
    never_inject_selector: Option<Vec<LabelSelector>>,
    #[serde(default)]
    always_inject_selector: Option<Vec<LabelSelector>>,
}

fn read_own_rules(text: &str) -> Result<OwnRules, String> {
    let IstioConfig { policy, never_inject_selector, always_inject_selector } =
        serde_saphyr::from_str(text).map_err(|error| format!("its config cannot be read: {error}"))?;
    let policy = match policy.as_str() {
        "enabled" => OwnPolicy::Enabled,
        "disabled" => OwnPolicy::Disabled,
        _ => OwnPolicy::Neither,
    };
    let selectors = |selectors: Option<Vec<LabelSelector>>| {
        // One that cannot be read selects nothing there either.
        selectors.into_iter().flatten().filter_map(|selector| compiled(&Some(selector))).collect()
    };
    Ok(OwnRules { policy, never: selectors(never_inject_selector), always: selectors(always_inject_selector) })
}

/// A selector of the API, where nothing stands for one that selects everything; none where an operator is unknown.
fn compiled(selector: &Option<LabelSelector>) -> Option<Selector> {
    let Some(LabelSelector { match_labels, match_expressions }) = selector else { return Some(Selector::default()) };
    let labels = match_labels.iter().flatten().map(|(key, value)| {
        Some(Requirement { key: key.as_str().into(), operator: Operator::In(vec![value.as_str().into()]) })
    });
    let expressions = match_expressions.iter().flatten().map(|expression| {
        let values = || expression.values.iter().flatten().map(|value| value.as_str().into()).collect();
        let operator = match expression.operator.as_str() {
            "In" => Operator::In(values()),
            "NotIn" => Operator::NotIn(values()),
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            _ => return None,
        };
        Some(Requirement { key: expression.key.as_str().into(), operator })
    });
    labels.chain(expressions).collect::<Option<Vec<_>>>().map(Selector::new)
}
