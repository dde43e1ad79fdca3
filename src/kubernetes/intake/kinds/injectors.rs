//! Intake of the mesh's injectors: their webhook configurations, and their own rules.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::{ClusterIntake, IntakeKind, JsonObject, KindIntake, decode};
use crate::decision::injector::{InjectorEntry, InjectorRules};
use crate::kubernetes::client::CALL_TIMEOUT;
use crate::kubernetes::client::webhook_order::OrderReporter;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::injectors::{ISTIO_CONFIG_PREFIX, injector_entries, own_rules_in};
use crate::metrics::Metrics;

pub(crate) struct InjectorIntake<'i> {
    inventory: &'i Inventory,
    /// Metrics of a watch, which reports the order in which the API server calls webhooks.
    metrics: Option<&'i Metrics>,
    order: Mutex<OrderReporter>,
}

impl<'i> InjectorIntake<'i> {
    pub(crate) fn new(inventory: &'i Inventory, metrics: Option<&'i Metrics>) -> Self {
        Self { inventory, metrics, order: Mutex::default() }
    }

    fn entries(&self, object: &JsonObject) -> Result<Vec<InjectorEntry>, String> {
        let configuration =
            decode(&object.json).map_err(|why| object.describe_error("MutatingWebhookConfiguration", &why))?;
        Ok(injector_entries(&configuration, self.inventory.settings.mesh))
    }

    fn report_order(&self) {
        if let Some(metrics) = self.metrics {
            self.order.lock().report_changes(self.inventory, metrics);
        }
    }
}

impl KindIntake for InjectorIntake<'_> {
    type Object = JsonObject;
    type Batch = Vec<(String, Vec<InjectorEntry>)>;

    fn stage(&self, listed: &mut Self::Batch, object: JsonObject) -> Result<(), String> {
        let entries = self.entries(&object)?;
        listed.push((object.metadata.name.unwrap_or_default(), entries));
        Ok(())
    }

    fn commit(&self, listed: Self::Batch) {
        self.inventory.injectors.replace(listed);
        self.report_order();
    }
}

impl ClusterIntake for InjectorIntake<'_> {
    fn kind(&self) -> IntakeKind {
        IntakeKind::Injectors
    }

    fn apply(&self, object: JsonObject) -> Result<(), String> {
        let entries = self.entries(&object)?;
        self.inventory.injectors.insert(object.metadata.name.as_deref().unwrap_or_default(), entries);
        self.report_order();
        Ok(())
    }

    fn remove(&self, object: &JsonObject) {
        self.inventory.injectors.remove(object.metadata.name.as_deref().unwrap_or_default());
        self.report_order();
    }

    fn unlisted(&self, _: bool) -> Option<&'static str> {
        Some("effects of the injector are unknown")
    }
}

/// Intake of the injectors' own rules from a list of ConfigMaps, of which all others are passed over.
pub(crate) struct OwnRulesIntake<'i> {
    pub(crate) inventory: &'i Inventory,
}

impl KindIntake for OwnRulesIntake<'_> {
    type Object = JsonObject;
    type Batch = HashMap<Box<str>, InjectorRules>;

    fn stage(&self, listed: &mut Self::Batch, object: JsonObject) -> Result<(), String> {
        if !object.metadata.name.as_deref().unwrap_or_default().starts_with(ISTIO_CONFIG_PREFIX) {
            return Ok(());
        }
        let unread = |why: String| object.describe_error("ConfigMap", &why);
        let config: ConfigMap = decode(&object.json).map_err(unread)?;
        if let Some((revision, rules)) = own_rules_in(&config) {
            listed.insert(revision, rules.map_err(unread)?);
        }
        Ok(())
    }

    fn commit(&self, listed: Self::Batch) {
        self.inventory.injectors.set_own_rules(listed);
    }
}

/// Own rules of the injectors by revision, and for each ConfigMap that could not be read its name and a sentence.
pub(crate) type ReadOwnRules = (HashMap<Box<str>, InjectorRules>, Vec<(Box<str>, String)>);

/// Reads the own rules of the known injectors. A ConfigMap is read by its name, which needs fewer rights than a list.
pub(crate) async fn read_own_rules(client: &Client, inventory: &Inventory) -> Option<ReadOwnRules> {
    let injectors = inventory.injectors.get()?;
    let configs = injectors.entries().iter().filter_map(|entry| entry.rules_config_map.clone());
    let (mut own_rules, mut failures) = (HashMap::new(), Vec::new());
    for (namespace, name) in configs.collect::<BTreeSet<_>>() {
        match read_config(client, &namespace, &name).await {
            Ok(found) => own_rules.extend(found),
            Err(why) => failures.push((name, format!("{why}; assuming the injector's default configuration"))),
        }
    }
    Some((own_rules, failures))
}

/// Returns the own rules in one ConfigMap, and the revision that they belong to; `None` where there are none.
async fn read_config(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<(Box<str>, InjectorRules)>, String> {
    let configs: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let unread = |why: &dyn Display| format!("cannot read ConfigMap {namespace}/{name} ({why})");
    let config = match timeout(CALL_TIMEOUT, configs.get_opt(name)).await {
        Err(_) => return Err(unread(&"no answer in time")),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => return Err(unread(&"forbidden")),
        Ok(Err(error)) => return Err(unread(&error)),
        Ok(Ok(config)) => config,
    };
    let Some((revision, rules)) = config.as_ref().and_then(own_rules_in) else { return Ok(None) };
    Ok(Some((revision, rules.map_err(|why| unread(&why))?)))
}
