//! The inventory from a directory of ordinary Kubernetes objects in YAML: the embedded mode, and `--state` of the offline commands.
//!
//! Every `.yaml`, `.yml` and `.json` file of the directory is read, also with several documents and `List`s. Kinds that no
//! decision needs are passed over. An object that cannot be read is reported and skipped, and the others count.

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
use crate::decision::injector::{Entry, OwnRules};
use crate::kubernetes::inventory::injectors::{ISTIO_CONFIG, entries_of, own_rules_of};
use crate::kubernetes::inventory::owner_kind::{OwnerKind, Served};
use crate::kubernetes::inventory::routing::{Kind, key_of};
use crate::kubernetes::inventory::rule_kind::{RuleKind, RuleName};
use crate::kubernetes::inventory::rules::{Compile, Rule, Terms};
use crate::kubernetes::inventory::standings::Standing;
use crate::kubernetes::inventory::workload::{PodObject, WorkloadSpec};
use crate::kubernetes::inventory::{Inventory, namespace_of};
use crate::kubernetes::resources::cluster_injection_policy::ClusterInjectionPolicy;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::kubernetes::resources::injection_policy::InjectionPolicy;
use crate::kubernetes::resources::suspension_policy::SuspensionPolicy;

pub mod reload;
pub mod store;

/// What is tried when no directory is given.
pub const SAMPLE: &str = include_str!("files/sample.yaml");

/// Why a directory of objects cannot be read at all.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// The directory or a file in it.
    #[error("cannot read {path}: {cause}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A file that is not YAML.
    #[error("cannot read {path}: {cause}")]
    Yaml {
        /// Which.
        path: PathBuf,
        /// Where and why.
        cause: String,
    },
}

/// The objects of a directory, in the order of its file names.
pub fn objects_in(directory: &Path) -> Result<Vec<Value>, Unreadable> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |cause| Unreadable::Io { path, cause }
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
        objects.extend(objects_of(&text).map_err(|cause| Unreadable::Yaml { path, cause })?);
    }
    Ok(objects)
}

/// The objects in a text of YAML documents, those of `List`s each on its own.
pub fn objects_of(yaml: &str) -> Result<Vec<Value>, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).map_err(|error| error.to_string())?;
    Ok(each_of(documents))
}

/// The objects in documents, those of `List`s each on its own.
pub fn each_of(documents: Vec<Value>) -> Vec<Value> {
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

/// Puts objects in place of all that the inventory believed; what could not be read is returned, a sentence each.
pub fn fill(inventory: &Inventory, terms: &Terms, objects: &[Value]) -> Vec<String> {
    fill_listed(inventory, terms, objects, |_| true)
}

/// The same for the caches that `is_listed` names, as [`Inventory::synced`] does; the others stay as unfilled as they were.
pub fn fill_listed(
    inventory: &Inventory,
    terms: &Terms,
    objects: &[Value],
    is_listed: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut filling = Filling {
        inventory,
        terms,
        is_listed: &is_listed,
        namespaces: HashSet::new(),
        owners: HashSet::new(),
        pods: HashSet::new(),
        rules: Vec::new(),
        standings: Vec::new(),
        routing: HashMap::new(),
        injectors: Vec::new(),
        own_rules: HashMap::new(),
        problems: Vec::new(),
    };
    for object in objects {
        if let Err(why) = filling.take(object) {
            let name = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
            let kind = object["kind"].as_str().unwrap_or("an object without a kind");
            filling.problems.push(format!("skipped {kind} {}/{}: {why}", name("namespace"), name("name")));
        }
    }
    filling.done()
}

struct Filling<'f> {
    inventory: &'f Inventory,
    terms: &'f Terms,
    is_listed: &'f dyn Fn(&str) -> bool,
    namespaces: HashSet<Box<str>>,
    owners: HashSet<Box<str>>,
    pods: HashSet<Box<str>>,
    rules: Vec<(RuleKind, RuleName, Rule)>,
    standings: Vec<(RuleKind, RuleName, Standing)>,
    routing: HashMap<Kind, HashSet<Box<str>>>,
    injectors: Vec<(String, Vec<Entry>)>,
    own_rules: HashMap<Box<str>, OwnRules>,
    problems: Vec<String>,
}

impl Filling<'_> {
    fn take(&mut self, object: &Value) -> Result<(), String> {
        let api_version = object["apiVersion"].as_str().unwrap_or_default();
        let kind = object["kind"].as_str().ok_or("it has no kind")?;
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        match (group, kind) {
            ("", "Namespace") if (self.is_listed)("namespaces") => self.namespace(object),
            ("", "Namespace") => Ok(()),
            ("", "Pod") if (self.is_listed)("pods") => self.pod(object),
            ("", "ConfigMap") => self.own_rules(object),
            _ if Kind::named(group, kind).is_some_and(|kind| (self.is_listed)(kind.plural())) => {
                self.routing(Kind::named(group, kind).expect("it was found"), object)
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
            _ => match self.inventory.owner_kinds.named(group, kind) {
                Some(kind) if (self.is_listed)(&kind.plural) => self.owner(kind.clone(), object),
                Some(_) | None => Ok(()),
            },
        }
    }

    fn namespace(&mut self, object: &Value) -> Result<(), String> {
        let Metadata { metadata } = decoded(object)?;
        let namespace = namespace_of(&metadata, self.inventory.settings.mesh);
        self.namespaces.insert(namespace.name.clone());
        self.inventory.namespaces.insert(namespace.name.clone(), namespace);
        Ok(())
    }

    fn injector(&mut self, object: &Value) -> Result<(), String> {
        let configuration: MutatingWebhookConfiguration = decoded(object)?;
        let entries = entries_of(&configuration, self.inventory.settings.mesh);
        self.injectors.push((configuration.name_any(), entries));
        Ok(())
    }

    fn routing(&mut self, kind: Kind, object: &Value) -> Result<(), String> {
        let Metadata { metadata } = decoded(object)?;
        self.inventory.routing.insert(kind, &metadata, object)?;
        self.routing.entry(kind).or_default().insert(key_of(&metadata));
        Ok(())
    }

    fn own_rules(&mut self, object: &Value) -> Result<(), String> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if !name.starts_with(ISTIO_CONFIG) {
            return Ok(());
        }
        let config: ConfigMap = decoded(object)?;
        if let Some((revision, rules)) = own_rules_of(&config) {
            self.own_rules.insert(revision, rules?);
        }
        Ok(())
    }

    fn owner(&mut self, kind: OwnerKind, object: &Value) -> Result<(), String> {
        let Metadata { metadata } = decoded(object)?;
        let spec = object.get("spec").map(decoded::<WorkloadSpec>).transpose()?.unwrap_or_default();
        let uid = uid_of(&metadata, &kind.kind);
        self.inventory.keep_owner(uid.clone(), kind.workload(&metadata, spec, self.inventory.settings.mesh));
        self.owners.insert(uid);
        Ok(())
    }

    fn pod(&mut self, object: &Value) -> Result<(), String> {
        let pod: PodObject = decoded(object)?;
        let uid = uid_of(&pod.metadata, "Pod");
        let running = RunningPod { uid: uid.clone(), ..pod.running(self.inventory.settings.mesh) };
        self.inventory.pods.insert(uid.clone(), running);
        self.pods.insert(uid);
        Ok(())
    }

    fn rule<K: Compile + DeserializeOwned>(&mut self, kind: RuleKind, object: &Value) -> Result<(), String> {
        let Metadata { metadata } = decoded(object)?;
        let unreadable = Standing::unreadable(&metadata);
        let name: RuleName = (metadata.namespace.unwrap_or_default().into(), metadata.name.unwrap_or_default().into());
        let resource = decoded::<K>(object);
        let standing = resource.as_ref().map_or(unreadable, |resource| resource.standing(self.terms));
        self.standings.push((kind, name.clone(), standing));
        let compiled = resource.and_then(|resource| resource.compile(self.terms));
        let rule = compiled.clone().unwrap_or_else(Rule::Invalid);
        self.rules.push((kind, name, rule));
        compiled.map(drop)
    }

    fn done(self) -> Vec<String> {
        let Self {
            inventory,
            terms: _,
            is_listed,
            namespaces,
            owners,
            pods,
            rules,
            standings,
            routing,
            injectors,
            own_rules,
            problems,
        } = self;
        for kind in Kind::ALL.into_iter().filter(|kind| is_listed(kind.plural())) {
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
            inventory.owner_kinds.set_served(kind, Served::Yes);
        }
        for kind in RuleKind::ALL.into_iter().filter(|kind| is_listed(kind.as_str())) {
            let of_kind = rules.iter().filter(|(other, ..)| *other == kind);
            inventory.rules.replace(kind, of_kind.map(|(_, name, rule)| (name.clone(), rule.clone())).collect());
            let of_kind = standings.iter().filter(|(other, ..)| *other == kind);
            inventory.standings.replace(kind, of_kind.map(|(_, name, one)| (name.clone(), one.clone())).collect());
        }
        problems
    }
}

/// What an object is kept under. Written by hand it may lack the UID, by which pods name their owner.
fn uid_of(metadata: &ObjectMeta, kind: &str) -> Box<str> {
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
struct Metadata {
    metadata: ObjectMeta,
}

fn decoded<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| error.to_string())
}
