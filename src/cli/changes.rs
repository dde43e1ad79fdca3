//! Changes of policies and suspensions that are not made yet: read from manifests, or named on the command line.

use anyhow::{anyhow, bail};
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionNames;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::manifest::{self, named};
use super::subject::Target;
use crate::decision::policy::Mode;
use crate::decision::reason::sanitized;
use crate::inventory::Inventory;
use crate::inventory::nearest::nearest;
use crate::inventory::rules::{Compile, Rule, RuleKind, RuleName, Terms};
use crate::resources::cluster_injection_policy::ClusterInjectionPolicy;
use crate::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::resources::crds;
use crate::resources::injection_policy::InjectionPolicy;
use crate::resources::names::{GROUP, VERSION};
use crate::resources::suspension_policy::SuspensionPolicy;

/// A change of one rule.
#[derive(Debug, Clone)]
pub struct Change {
    kind: RuleKind,
    name: RuleName,
    /// The rule as it would be; none for one that would go away.
    rule: Option<Rule>,
}

/// A change, as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeTold {
    /// The rule's kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its namespace, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What would become of it.
    pub change: What,
}

/// What would become of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum What {
    /// It is new.
    New,
    /// It is there, and would be as given.
    Changed,
    /// It would go away.
    Deleted,
}

/// What reading changes depends on.
#[derive(Debug)]
pub struct Reading<'r> {
    /// The namespace of objects that name none.
    pub namespace: &'r str,
    /// How rules are to be read.
    pub terms: &'r Terms,
    /// When an object would be created that says nothing of that.
    pub now: Timestamp,
    /// Whether policies in mode Audit count as in Enforce.
    pub as_enforced: bool,
}

impl Reading<'_> {
    /// The changes that these manifests are.
    pub fn put(&self, objects: &[Value]) -> anyhow::Result<Vec<Change>> {
        let mut changes: Vec<Change> = Vec::new();
        for object in objects {
            let change = self.change(object)?;
            if changes.iter().any(|other| other.is_about_same(&change)) {
                bail!("{} is given twice", named(object));
            }
            changes.push(change);
        }
        Ok(changes)
    }

    fn change(&self, object: &Value) -> anyhow::Result<Change> {
        let kind = rule_kind(object)?;
        let title = named(object);
        let mut object = object.clone();
        let Some(metadata) = object["metadata"].as_object_mut() else { bail!("{title} has no metadata") };
        // As the API server will write it.
        metadata.entry("creationTimestamp").or_insert_with(|| json!(self.now.to_string()));
        if kind.is_namespaced() {
            metadata.entry("namespace").or_insert_with(|| json!(self.namespace));
        } else if let Some(namespace) = metadata.get("namespace") {
            bail!("{title} is of the whole cluster, and its metadata.namespace is {namespace}: leave that out");
        }
        let mut rule = match kind {
            RuleKind::ClusterInjectionPolicy => self.rule::<ClusterInjectionPolicy>(&object),
            RuleKind::InjectionPolicy => self.rule::<InjectionPolicy>(&object),
            RuleKind::ClusterSuspensionPolicy => self.rule::<ClusterSuspensionPolicy>(&object),
            RuleKind::SuspensionPolicy => self.rule::<SuspensionPolicy>(&object),
        }?;
        if let (true, Rule::Policy(policy)) = (self.as_enforced, &mut rule) {
            policy.mode = Mode::Enforce;
        }
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().into();
        Ok(Change { kind, name: (text("namespace"), text("name")), rule: Some(rule) })
    }

    fn rule<K: Compile + DeserializeOwned>(&self, object: &Value) -> anyhow::Result<Rule> {
        manifest::read::<K>(object)?.compile(self.terms).map_err(|why| anyhow!(why))
    }

    /// The change that a rule of this name goes away.
    pub fn delete(&self, target: &Target) -> anyhow::Result<Change> {
        let names = names();
        let is_meant = |names: &CustomResourceDefinitionNames| {
            let short = names.short_names.iter().flatten();
            [&names.kind.to_lowercase(), &names.plural].into_iter().chain(short).any(|name| *name == target.kind)
        };
        let Some((kind, _)) = names.iter().find(|(_, names)| is_meant(names)) else {
            let known = names.iter().map(|(_, names)| names.kind.to_lowercase()).collect::<Vec<_>>();
            let meant = nearest(&target.kind, known.iter().map(String::as_str));
            let meant = meant.map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
            bail!("{:?} is no kind of policy or suspension: {meant}known are {}", target.kind, known.join(", "));
        };
        let namespace = if kind.is_namespaced() { self.namespace } else { "" };
        Ok(Change { kind: *kind, name: (namespace.into(), target.name.as_str().into()), rule: None })
    }
}

impl Change {
    /// The only namespace that it can concern, if it stands in one.
    pub fn namespace(&self) -> Option<&str> {
        self.kind.is_namespaced().then_some(&*self.name.0)
    }

    /// Whether two changes are about one rule.
    pub fn is_about_same(&self, other: &Self) -> bool {
        (self.kind, &self.name) == (other.kind, &other.name)
    }

    /// Why nothing may come of it, if so, in one sentence.
    pub fn note(&self, now: Timestamp) -> Option<String> {
        let title = self.title();
        match self.rule.as_ref()? {
            Rule::Policy(policy) if policy.mode == Mode::Audit => Some(format!(
                "{title} is in mode Audit, and changes nothing; --as-enforced shows what it would change in Enforce"
            )),
            Rule::Suspension(suspension) if now < suspension.starts_at => {
                let start = suspension.starts_at;
                Some(format!("{title} begins at {start}; --now {start} shows what it will change"))
            }
            Rule::Suspension(suspension) if !suspension.holds_at(now) => {
                Some(format!("{title} is over already, and changes nothing"))
            }
            Rule::Traffic(_) => Some(format!("{title} suspends traffic, which changes no sidecar")),
            Rule::Policy(_) | Rule::Suspension(_) | Rule::Invalid(_) => None,
        }
    }

    /// What becomes of the rule, if the inventory is as it is.
    pub fn told(&self, inventory: &Inventory) -> anyhow::Result<ChangeTold> {
        let Self { kind, name, rule } = self;
        let names = inventory.rules.names();
        let is_there = names.iter().any(|(other, of)| other == kind && of == name);
        let change = match (rule, is_there) {
            (Some(_), false) => What::New,
            (Some(_), true) => What::Changed,
            (None, true) => What::Deleted,
            (None, false) => {
                let others: Vec<_> = names.iter().filter(|(other, of)| other == kind && of.0 == name.0).collect();
                let meant = nearest(&name.1, others.iter().map(|(_, of)| &*of.1));
                let meant = meant.map(|meant| format!("; did you mean {}?", sanitized(meant))).unwrap_or_default();
                bail!("there is no {}{meant}", self.title());
            }
        };
        let namespace = self.namespace().map(sanitized);
        Ok(ChangeTold { kind: kind.as_str(), name: sanitized(&name.1), namespace, change })
    }

    /// Makes it, in this inventory alone.
    pub fn make(self, inventory: &Inventory) {
        let Self { kind, name, rule } = self;
        match rule {
            Some(rule) => inventory.rules.insert(kind, name, rule),
            None => inventory.rules.remove(kind, &name),
        }
    }

    fn title(&self) -> String {
        let name = sanitized(&self.name.1);
        let namespace = self.namespace().map(|namespace| format!("{}/", sanitized(namespace))).unwrap_or_default();
        format!("{} {namespace}{name}", self.kind.as_str())
    }
}

/// Which of our kinds an object is.
fn rule_kind(object: &Value) -> anyhow::Result<RuleKind> {
    let known = || RuleKind::ALL.map(RuleKind::as_str);
    let Some(kind) = object["kind"].as_str() else {
        bail!("an object has no kind; a preview takes {}", known().join(", "))
    };
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let ours = format!("{GROUP}/{VERSION}");
    match RuleKind::ALL.into_iter().find(|one| one.as_str() == kind) {
        Some(found) if api_version == ours => Ok(found),
        Some(_) => bail!("{}: apiVersion is {:?}, and should be {ours}", named(object), sanitized(api_version)),
        None => {
            let meant = nearest(kind, known().into_iter()).filter(|_| api_version.starts_with(GROUP));
            let meant = meant.map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
            bail!(
                "{} is no policy and no suspension: {meant}a preview takes {}; `outrigger explain -f` tells of pods and workloads",
                named(object),
                known().join(", ")
            )
        }
    }
}

/// Our kinds, each with the names that `kubectl` takes.
fn names() -> Vec<(RuleKind, CustomResourceDefinitionNames)> {
    let of = |names: CustomResourceDefinitionNames| {
        let kind = RuleKind::ALL.into_iter().find(|kind| kind.as_str() == names.kind);
        kind.map(|kind| (kind, names))
    };
    crds().into_iter().filter_map(|crd| of(crd.spec.names)).collect()
}
