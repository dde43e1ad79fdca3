//! Installed injectors, as the API server's webhook configurations and the injectors' own configuration describe them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use parking_lot::Mutex;
use serde::Deserialize;

use super::change_counter::ChangeCounter;
use crate::decision::injector::{InjectorEntry, InjectorPolicy, InjectorRules, Injectors};
use crate::decision::mesh::{InjectorKind, Mesh};
use crate::decision::selector::{Selector, SelectorOperator, SelectorRequirement};
use crate::kernel::names;

/// Injectors of the mesh, kept by configuration and compiled whenever one of them changes.
#[derive(Debug, Default)]
pub struct InstalledInjectors {
    read: Mutex<InjectorConfigurations>,
    compiled: ArcSwapOption<Injectors>,
    pub(super) changes: ChangeCounter,
}

#[derive(Debug, Default)]
struct InjectorConfigurations {
    configurations: BTreeMap<Box<str>, Vec<InjectorEntry>>,
    own_rules: HashMap<Box<str>, InjectorRules>,
    is_synced: bool,
}

impl InstalledInjectors {
    /// Returns the compiled injectors, once every configuration has been seen.
    pub fn get(&self) -> Option<Arc<Injectors>> {
        self.compiled.load_full()
    }

    /// Replaces the entries of one configuration.
    pub fn insert(&self, configuration: &str, entries: Vec<InjectorEntry>) {
        self.change(|read| read.set_entries(configuration, entries));
    }

    pub fn remove(&self, configuration: &str) {
        self.change(|read| read.set_entries(configuration, Vec::new()));
    }

    /// Replaces all configurations by a complete list.
    pub fn replace(&self, listed: Vec<(String, Vec<InjectorEntry>)>) {
        self.change(|read| {
            read.configurations.clear();
            listed.into_iter().for_each(|(configuration, entries)| read.set_entries(&configuration, entries));
            read.is_synced = true;
        });
    }

    /// Replaces the injectors' own rules, by revision.
    pub fn set_own_rules(&self, own_rules: HashMap<Box<str>, InjectorRules>) {
        self.change(|read| read.own_rules = own_rules);
    }

    fn change(&self, change: impl FnOnce(&mut InjectorConfigurations)) {
        let mut read = self.read.lock();
        change(&mut read);
        let InjectorConfigurations { configurations, own_rules, is_synced } = &*read;
        if *is_synced {
            let entries = configurations.values().flatten().cloned().collect();
            self.compiled.store(Some(Arc::new(Injectors::new(entries, own_rules.clone()))));
            self.changes.increment();
        }
    }
}

impl InjectorConfigurations {
    fn set_entries(&mut self, configuration: &str, entries: Vec<InjectorEntry>) {
        if entries.is_empty() {
            self.configurations.remove(configuration);
        } else {
            self.configurations.insert(configuration.into(), entries);
        }
    }
}

/// Returns the entries of a webhook configuration by which pods reach an injector of the mesh.
pub fn injector_entries(configuration: &MutatingWebhookConfiguration, mesh: &Mesh) -> Vec<InjectorEntry> {
    let name = configuration.name_any();
    let revision = configuration.labels().get(names::REVISION_LABEL);
    let webhooks = configuration.webhooks.iter().flatten();
    let ours = webhooks.filter(|webhook| mesh.is_injector_entry(&webhook.name) && is_for_pods(webhook));
    let entry = |webhook: &MutatingWebhook| {
        let selectors = [&webhook.namespace_selector, &webhook.object_selector].map(compile_selector);
        let unreadable = selectors.iter().any(Option::is_none);
        let [namespaces, objects] = selectors.map(Option::unwrap_or_default);
        let conditions = webhook.match_conditions.as_ref().is_some_and(|conditions| !conditions.is_empty());
        let service =
            webhook.client_config.service.as_ref().filter(|_| matches!(mesh.injector, InjectorKind::Istio { .. }));
        let config = || match revision.map(String::as_str) {
            None | Some("default") => ISTIO_CONFIG_PREFIX.into(),
            Some(revision) => format!("{ISTIO_CONFIG_PREFIX}-{revision}").into(),
        };
        InjectorEntry {
            rules_config_map: service.map(|service| (service.namespace.as_str().into(), config())),
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

/// Returns whether a webhook is called for the creation of pods.
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

/// Returns the own rules of an Istio injector from its ConfigMap, and the revision that it serves.
///
/// The name of the ConfigMap is `istio-sidecar-injector`, followed by `-` and the revision where there is one.
pub fn own_rules_in(config: &ConfigMap) -> Option<(Box<str>, Result<InjectorRules, String>)> {
    let name = config.name_any();
    let revision = match name.strip_prefix(ISTIO_CONFIG_PREFIX)? {
        "" => "default",
        rest => rest.strip_prefix('-')?,
    };
    let text = config.data.as_ref()?.get("config")?;
    Some((revision.into(), parse_own_rules(text)))
}

/// Prefix of the names of the Istio injectors' ConfigMaps.
pub const ISTIO_CONFIG_PREFIX: &str = "istio-sidecar-injector";

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

fn parse_own_rules(text: &str) -> Result<InjectorRules, String> {
    let IstioConfig { policy, never_inject_selector, always_inject_selector } =
        serde_saphyr::from_str(text).map_err(|error| format!("key `config`: {error}"))?;
    let policy = match policy.as_str() {
        "enabled" => InjectorPolicy::Enabled,
        "disabled" => InjectorPolicy::Disabled,
        _ => InjectorPolicy::Neither,
    };
    let selectors = |selectors: Option<Vec<LabelSelector>>| {
        // The injector ignores an unreadable selector, too.
        selectors.into_iter().flatten().filter_map(|selector| compile_selector(&Some(selector))).collect()
    };
    Ok(InjectorRules { policy, never: selectors(never_inject_selector), always: selectors(always_inject_selector) })
}

/// Compiles a selector of the API. An absent selector selects everything; `None` means an unknown operator.
fn compile_selector(selector: &Option<LabelSelector>) -> Option<Selector> {
    let Some(LabelSelector { match_labels, match_expressions }) = selector else { return Some(Selector::default()) };
    let labels = match_labels.iter().flatten().map(|(key, value)| {
        Some(SelectorRequirement {
            key: key.as_str().into(),
            operator: SelectorOperator::In(vec![value.as_str().into()]),
        })
    });
    let expressions = match_expressions.iter().flatten().map(|expression| {
        let values = || expression.values.iter().flatten().map(|value| value.as_str().into()).collect();
        let operator = match expression.operator.as_str() {
            "In" => SelectorOperator::In(values()),
            "NotIn" => SelectorOperator::NotIn(values()),
            "Exists" => SelectorOperator::Exists,
            "DoesNotExist" => SelectorOperator::DoesNotExist,
            _ => return None,
        };
        Some(SelectorRequirement { key: expression.key.as_str().into(), operator })
    });
    labels.chain(expressions).collect::<Option<Vec<_>>>().map(Selector::new)
}
