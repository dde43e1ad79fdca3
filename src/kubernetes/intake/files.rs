//! Fills the inventory from a directory of ordinary Kubernetes objects in YAML: for embedded mode, and for `--state` of
//! the offline commands.
//!
//! Every `.yaml`, `.yml` and `.json` file of the directory is read, also with several documents and `List`s. Kinds that
//! no decision needs are passed over. An object that cannot be read is reported and skipped, and the others count.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::decision::facts::RunningPod;
use crate::decision::injector::{InjectorEntry, InjectorRules};
use crate::kubernetes::inventory::injectors::{ISTIO_CONFIG_PREFIX, injector_entries, own_rules_in};
use crate::kubernetes::inventory::owner_kind::{KindAvailability, OwnerKind};
use crate::kubernetes::inventory::routing::{RoutingKind, object_key};
use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind};
use crate::kubernetes::inventory::rule_records::RuleRecord;
use crate::kubernetes::inventory::rules::{ParsedRule, RuleLimits, RuleResource};
use crate::kubernetes::inventory::workload::{PodObject, WorkloadSpec};
use crate::kubernetes::inventory::{Inventory, namespace_of};
use crate::kubernetes::resources::cluster_injection_policy::ClusterInjectionPolicy;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::kubernetes::resources::injection_policy::InjectionPolicy;
use crate::kubernetes::resources::suspension_policy::SuspensionPolicy;

pub mod reload;
pub mod store;

/// Sample objects, used when no directory is given.
pub const SAMPLE: &str = include_str!("files/sample.yaml");

/// Reason why a directory of objects cannot be read at all.
#[derive(Debug, Error)]
pub enum ObjectFileError {
    /// The directory or a file in it cannot be read.
    #[error("cannot read {path}: {cause}")]
    Io { path: PathBuf, cause: std::io::Error },
    /// A file is not YAML.
    #[error("cannot read {path}: {cause}")]
    Yaml {
        path: PathBuf,
        /// Message of the YAML parser, with the position.
        cause: String,
    },
}

/// Reads the objects of a directory, in the order of its file names.
pub fn read_objects(directory: &Path) -> Result<Vec<Value>, ObjectFileError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |cause| ObjectFileError::Io { path, cause }
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(io(directory))? {
        paths.push(entry.map_err(io(directory))?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json"));
    paths.sort();
    let mut objects = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(io(&path))?;
        objects.extend(parse_objects(&text).map_err(|cause| ObjectFileError::Yaml { path, cause })?);
    }
    Ok(objects)
}

/// Parses the objects in a text of YAML documents, those of `List`s each on its own.
pub fn parse_objects(yaml: &str) -> Result<Vec<Value>, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).map_err(|error| error.to_string())?;
    Ok(flatten_lists(documents))
}

/// Returns the objects in documents, those of `List`s each on its own.
pub fn flatten_lists(documents: Vec<Value>) -> Vec<Value> {
    let mut objects = Vec::new();
    for mut document in documents.into_iter().filter(|document| !document.is_null()) {
        let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        match document.get_mut("items").and_then(Value::as_array_mut) {
            Some(items) if is_list => objects.append(items),
            _ => objects.push(document),
        }
    }
    objects
}

/// Replaces the whole content of the inventory by these objects. Returns a sentence for each object that could not be
/// read.
pub fn replace_all(inventory: &Inventory, limits: &RuleLimits, objects: &[Value]) -> Vec<String> {
    replace_listed(inventory, limits, objects, |_| true)
}

/// Replaces the content of those caches that `is_listed` accepts, named as in [`Inventory::cache_states`]. The other
/// caches stay as unfilled as they were.
pub fn replace_listed(
    inventory: &Inventory,
    limits: &RuleLimits,
    objects: &[Value],
    is_listed: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut intake = ObjectIntake {
        inventory,
        limits,
        is_listed: &is_listed,
        namespaces: HashSet::new(),
        owners: HashSet::new(),
        pods: HashSet::new(),
        rules: Vec::new(),
        records: Vec::new(),
        routing: HashMap::new(),
        injectors: Vec::new(),
        own_rules: HashMap::new(),
        problems: Vec::new(),
    };
    for object in objects {
        if let Err(why) = intake.insert(object) {
            let name = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
            let kind = object["kind"].as_str().unwrap_or("an object without a kind");
            intake.problems.push(format!("skipped {kind} {}/{}: {why}", name("namespace"), name("name")));
        }
    }
    intake.finish()
}

struct ObjectIntake<'f> {
    inventory: &'f Inventory,
    limits: &'f RuleLimits,
    is_listed: &'f dyn Fn(&str) -> bool,
    namespaces: HashSet<Box<str>>,
    owners: HashSet<Box<str>>,
    pods: HashSet<Box<str>>,
    rules: Vec<(RuleKind, NamespacedName, ParsedRule)>,
    records: Vec<(RuleKind, NamespacedName, RuleRecord)>,
    routing: HashMap<RoutingKind, HashSet<Box<str>>>,
    injectors: Vec<(String, Vec<InjectorEntry>)>,
    own_rules: HashMap<Box<str>, InjectorRules>,
    problems: Vec<String>,
}

impl ObjectIntake<'_> {
    fn insert(&mut self, object: &Value) -> Result<(), String> {
        let api_version = object["apiVersion"].as_str().unwrap_or_default();
        let kind = object["kind"].as_str().ok_or("it has no kind")?;
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        match (group, kind) {
            ("", "Namespace") if (self.is_listed)("namespaces") => self.namespace(object),
            ("", "Namespace") => Ok(()),
            ("", "Pod") if (self.is_listed)("pods") => self.pod(object),
            ("", "ConfigMap") => self.own_rules(object),
            _ if RoutingKind::from_names(group, kind).is_some_and(|kind| (self.is_listed)(kind.plural())) => {
                self.routing(RoutingKind::from_names(group, kind).expect("it was found"), object)
            }
            ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => self.injector(object),
            (crate::kernel::names::GROUP, "ClusterInjectionPolicy") => {
                self.rule::<ClusterInjectionPolicy>(RuleKind::ClusterInjectionPolicy, object)
            }
            (crate::kernel::names::GROUP, "InjectionPolicy") => {
                self.rule::<InjectionPolicy>(RuleKind::InjectionPolicy, object)
            }
            (crate::kernel::names::GROUP, "ClusterSuspensionPolicy") => {
                self.rule::<ClusterSuspensionPolicy>(RuleKind::ClusterSuspensionPolicy, object)
            }
            (crate::kernel::names::GROUP, "SuspensionPolicy") => {
                self.rule::<SuspensionPolicy>(RuleKind::SuspensionPolicy, object)
            }
            _ => match self.inventory.owner_kinds.find(group, kind) {
                Some(kind) if (self.is_listed)(&kind.plural) => self.owner(kind.clone(), object),
                Some(_) | None => Ok(()),
            },
        }
    }

    fn namespace(&mut self, object: &Value) -> Result<(), String> {
        let ObjectWithMetadata { metadata } = decode(object)?;
        let namespace = namespace_of(&metadata, self.inventory.settings.mesh);
        self.namespaces.insert(namespace.name.clone());
        self.inventory.namespaces.insert(namespace.name.clone(), namespace);
        Ok(())
    }

    fn injector(&mut self, object: &Value) -> Result<(), String> {
        let configuration: MutatingWebhookConfiguration = decode(object)?;
        let entries = injector_entries(&configuration, self.inventory.settings.mesh);
        self.injectors.push((configuration.name_any(), entries));
        Ok(())
    }

    fn routing(&mut self, kind: RoutingKind, object: &Value) -> Result<(), String> {
        let ObjectWithMetadata { metadata } = decode(object)?;
        self.inventory.routing.insert(kind, &metadata, object)?;
        self.routing.entry(kind).or_default().insert(object_key(&metadata));
        Ok(())
    }

    fn own_rules(&mut self, object: &Value) -> Result<(), String> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if !name.starts_with(ISTIO_CONFIG_PREFIX) {
            return Ok(());
        }
        let config: ConfigMap = decode(object)?;
        if let Some((revision, rules)) = own_rules_in(&config) {
            self.own_rules.insert(revision, rules?);
        }
        Ok(())
    }

    fn owner(&mut self, kind: OwnerKind, object: &Value) -> Result<(), String> {
        let ObjectWithMetadata { metadata } = decode(object)?;
        let spec = object.get("spec").map(decode::<WorkloadSpec>).transpose()?.unwrap_or_default();
        let uid = uid_or_name(&metadata, &kind.kind);
        self.inventory.insert_owner(uid.clone(), kind.workload(&metadata, spec, self.inventory.settings.mesh));
        self.owners.insert(uid);
        Ok(())
    }

    fn pod(&mut self, object: &Value) -> Result<(), String> {
        let pod: PodObject = decode(object)?;
        let uid = uid_or_name(&pod.metadata, "Pod");
        let running = RunningPod { uid: uid.clone(), ..pod.running_pod(self.inventory.settings.mesh) };
        self.inventory.pods.insert(uid.clone(), running);
        self.pods.insert(uid);
        Ok(())
    }

    fn rule<K: RuleResource + DeserializeOwned>(&mut self, kind: RuleKind, object: &Value) -> Result<(), String> {
        let ObjectWithMetadata { metadata } = decode(object)?;
        let unreadable = RuleRecord::unreadable(&metadata);
        let name: NamespacedName =
            (metadata.namespace.unwrap_or_default().into(), metadata.name.unwrap_or_default().into());
        let resource = decode::<K>(object);
        let record = resource.as_ref().map_or(unreadable, |resource| resource.record(self.limits));
        self.records.push((kind, name.clone(), record));
        let compiled = resource.and_then(|resource| resource.compile(self.limits));
        let rule = compiled.clone().unwrap_or_else(ParsedRule::Invalid);
        self.rules.push((kind, name, rule));
        compiled.map(drop)
    }

    fn finish(self) -> Vec<String> {
        let Self {
            inventory,
            limits: _,
            is_listed,
            namespaces,
            owners,
            pods,
            rules,
            records,
            routing,
            injectors,
            own_rules,
            problems,
        } = self;
        for kind in RoutingKind::ALL.into_iter().filter(|kind| is_listed(kind.plural())) {
            inventory.routing.retain(kind, routing.get(&kind).unwrap_or(&HashSet::new()));
        }
        if is_listed("mutatingwebhookconfigurations") {
            inventory.injectors.replace(injectors);
            inventory.injectors.set_own_rules(own_rules);
        }
        if is_listed("namespaces") {
            inventory.namespaces.retain(&namespaces, |_| true);
            inventory.namespaces.set_synced();
        }
        inventory.retain_owners(&owners, |_| true);
        if is_listed("pods") {
            inventory.pods.retain(&pods, |_| true);
            inventory.pods.set_synced();
        }
        for kind in inventory.owner_kinds.iter().filter(|kind| is_listed(&kind.plural)) {
            inventory.owner_kinds.set_availability(kind, KindAvailability::Filled);
        }
        for kind in RuleKind::ALL.into_iter().filter(|kind| is_listed(kind.as_str())) {
            let of_kind = rules.iter().filter(|(other, ..)| *other == kind);
            inventory.rules.replace(kind, of_kind.map(|(_, name, rule)| (name.clone(), rule.clone())).collect());
            let of_kind = records.iter().filter(|(other, ..)| *other == kind);
            inventory.rule_records.replace(kind, of_kind.map(|(_, name, one)| (name.clone(), one.clone())).collect());
        }
        problems
    }
}

/// Returns the key of an object: its UID, or a name in its place. A hand-written object may lack the UID, by which pods
/// name their owner.
fn uid_or_name(metadata: &ObjectMeta, kind: &str) -> Box<str> {
    let name = || {
        format!(
            "{kind}/{}/{}",
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default()
        )
    };
    metadata.uid.clone().unwrap_or_else(name).into()
}

#[derive(Deserialize)]
struct ObjectWithMetadata {
    metadata: ObjectMeta,
}

fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| error.to_string())
}
