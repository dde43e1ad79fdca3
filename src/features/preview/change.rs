//! One policy or suspension that is proposed, or proposed to go away.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionNames;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

use crate::decision::policy::Mode;
use crate::kernel::names::{GROUP, VERSION};
use crate::kernel::text::nearest;
use crate::kernel::text::sanitized;
use crate::kubernetes::inventory::rule_kind::{RuleKind, RuleName};
use crate::kubernetes::inventory::rules::{Compile, Rule, Terms};
use crate::kubernetes::resources::cluster_injection_policy::ClusterInjectionPolicy;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::kubernetes::resources::crds;
use crate::kubernetes::resources::injection_policy::InjectionPolicy;
use crate::kubernetes::resources::strict::{self, named};
use crate::kubernetes::resources::suspension_object::can_be;
use crate::kubernetes::resources::suspension_policy::SuspensionPolicy;

/// Why something is not previewed, in one sentence that says what would be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// It is no proposal that makes sense.
    #[error("{0}")]
    Invalid(String),
    /// What it would be compared with is not known.
    #[error("{0}")]
    NotKnown(&'static str),
}

/// A change of one rule.
#[derive(Debug, Clone)]
pub struct Change {
    kind: RuleKind,
    name: RuleName,
    /// The rule as it would be; none for one that would go away.
    rule: Option<Rule>,
}

/// A change, as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ProposedChange")]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "WhatBecomes")]
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
    /// The namespace of objects that name none; without it each has to name its own.
    pub namespace: Option<&'r str>,
    /// How rules are to be read.
    pub terms: &'r Terms,
    /// When an object would be created that says nothing of that.
    pub now: Timestamp,
    /// Whether policies in mode Audit count as in Enforce.
    pub as_enforced: bool,
}

/// How whoever asks would ask for something else.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// For policies in mode Audit as if they were in Enforce.
    pub as_enforced: &'static str,
    /// For another time, which follows.
    pub at: &'static str,
}

impl Reading<'_> {
    /// The changes that these manifests are.
    ///
    /// # Errors
    ///
    /// When one of them is none of our kinds, or cannot be read as it.
    pub fn put(&self, objects: &[Value]) -> Result<Vec<Change>, Refused> {
        objects.iter().map(|object| self.change(object)).collect()
    }

    fn change(&self, object: &Value) -> Result<Change, Refused> {
        let kind = rule_kind(object)?;
        let title = named(object);
        let mut object = object.clone();
        let Some(metadata) = object["metadata"].as_object_mut() else {
            return refused(format!("{title} has no metadata"));
        };
        // As the API server will write it.
        metadata.entry("creationTimestamp").or_insert_with(|| json!(self.now.to_string()));
        if kind.is_namespaced() {
            let own = metadata.get("namespace").filter(|own| !own.is_null()).cloned();
            let Some(namespace) = own.or_else(|| self.namespace.map(Value::from)) else {
                return refused(format!("{title} has no metadata.namespace"));
            };
            metadata.insert("namespace".to_owned(), namespace);
        } else if let Some(namespace) = metadata.get("namespace").filter(|namespace| !namespace.is_null()) {
            let namespace = sanitized(namespace.as_str().unwrap_or("no name"));
            return refused(format!(
                "{title} is of the whole cluster, and its metadata.namespace is {namespace}: leave that out"
            ));
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
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
        let (namespace, name) = (text("namespace"), text("name"));
        if !can_be(kind.is_namespaced().then_some(namespace), name) {
            return refused(format!(
                "{title} can have no such name: Kubernetes takes a-z, 0-9, - and ., at most 253 of them"
            ));
        }
        Ok(Change { kind, name: (namespace.into(), name.into()), rule: Some(rule) })
    }

    fn rule<K: Compile + DeserializeOwned>(&self, object: &Value) -> Result<Rule, Refused> {
        let read = strict::read::<K>(object).map_err(|wrong| Refused::Invalid(wrong.to_string()))?;
        read.compile(self.terms).map_err(Refused::Invalid)
    }

    /// The change that a rule of this kind, in small letters, and of this name goes away; its namespace, where it has one.
    ///
    /// # Errors
    ///
    /// When it is none of our kinds.
    pub fn delete(&self, typed: &str, namespace: Option<&str>, name: &str) -> Result<Change, Refused> {
        let is_meant = |names: &CustomResourceDefinitionNames| {
            let short = names.short_names.iter().flatten();
            [&names.kind.to_lowercase(), &names.plural].into_iter().chain(short).any(|name| *name == typed)
        };
        let Some((kind, _)) = NAMES.iter().find(|(_, names)| is_meant(names)) else {
            let known = NAMES.iter().map(|(_, names)| names.kind.to_lowercase()).collect::<Vec<_>>();
            let meant = nearest(typed, known.iter().map(String::as_str));
            let meant = meant.map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
            let (typed, known) = (sanitized(typed), known.join(", "));
            return refused(format!("{typed:?} is no kind of policy or suspension: {meant}known are {known}"));
        };
        let namespace = match namespace.or(self.namespace) {
            Some(namespace) if kind.is_namespaced() => namespace,
            None if kind.is_namespaced() => {
                return refused(format!("{} {} is of a namespace: say of which", kind.as_str(), sanitized(name)));
            }
            _ => "",
        };
        Ok(Change { kind: *kind, name: (namespace.into(), name.into()), rule: None })
    }
}

impl Change {
    /// The only namespace that it can concern, if it stands in one.
    pub fn namespace(&self) -> Option<&str> {
        self.kind.is_namespaced().then_some(&*self.name.0)
    }

    /// Why nothing may come of it, if so, in one sentence.
    pub(crate) fn note(&self, now: Timestamp, words: Words) -> Option<String> {
        let Words { as_enforced, at } = words;
        let title = self.title();
        match self.rule.as_ref()? {
            Rule::Policy(policy) if policy.mode == Mode::Audit => Some(format!(
                "{title} is in mode Audit, and changes nothing; {as_enforced} shows what it would change in Enforce"
            )),
            Rule::Suspension(suspension) if now < suspension.starts_at => {
                let start = suspension.starts_at;
                Some(format!("{title} begins at {start}; {at}{start} shows what it will change"))
            }
            Rule::Suspension(suspension) if !suspension.holds_at(now) => {
                Some(format!("{title} is over already, and changes nothing"))
            }
            Rule::Traffic(_) => Some(format!("{title} suspends traffic, which changes no sidecar")),
            Rule::Policy(_) | Rule::Suspension(_) | Rule::Invalid(_) => None,
        }
    }

    /// What becomes of the rule, where these are there.
    pub(crate) fn told(&self, there: &BTreeSet<(RuleKind, RuleName)>) -> Result<ChangeTold, Refused> {
        let Self { kind, name, rule } = self;
        let change = match (rule, there.contains(&self.key())) {
            (Some(_), false) => What::New,
            (Some(_), true) => What::Changed,
            (None, true) => What::Deleted,
            (None, false) => {
                let others = there.iter().filter(|(other, of)| other == kind && of.0 == name.0);
                let meant = nearest(&name.1, others.map(|(_, of)| &*of.1));
                let meant = meant.map(|meant| format!("; did you mean {}?", sanitized(meant))).unwrap_or_default();
                return refused(format!("there is no {}{meant}", self.title()));
            }
        };
        let namespace = self.namespace().map(sanitized);
        Ok(ChangeTold { kind: kind.as_str(), name: sanitized(&name.1), namespace, change })
    }

    /// What tells its rule from others.
    pub(crate) fn key(&self) -> (RuleKind, RuleName) {
        (self.kind, self.name.clone())
    }

    /// The rule as it would be; none for one that would go away.
    pub(crate) fn rule(&self) -> Option<&Rule> {
        self.rule.as_ref()
    }

    /// How it is called in a sentence.
    pub fn title(&self) -> String {
        let name = sanitized(&self.name.1);
        let namespace = self.namespace().map(|namespace| format!("{}/", sanitized(namespace))).unwrap_or_default();
        format!("{} {namespace}{name}", self.kind.as_str())
    }
}

/// Which of our kinds an object is.
fn rule_kind(object: &Value) -> Result<RuleKind, Refused> {
    let known = || RuleKind::ALL.map(RuleKind::as_str);
    let Some(kind) = object["kind"].as_str() else {
        return refused(format!("an object has no kind; a preview takes {}", known().join(", ")));
    };
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let ours = format!("{GROUP}/{VERSION}");
    match RuleKind::ALL.into_iter().find(|one| one.as_str() == kind) {
        Some(found) if api_version == ours => Ok(found),
        Some(_) => {
            let (named, version) = (named(object), sanitized(api_version));
            refused(format!("{named}: apiVersion is {version:?}, and should be {ours}"))
        }
        None => {
            let meant = nearest(kind, known().into_iter()).filter(|_| api_version.starts_with(GROUP));
            let meant = meant.map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
            refused(format!(
                "{} is no policy and no suspension: {meant}a preview takes {}; `outrigger explain -f` tells of pods and workloads",
                named(object),
                known().join(", ")
            ))
        }
    }
}

/// Our kinds, each with the names that `kubectl` takes.
static NAMES: LazyLock<Vec<(RuleKind, CustomResourceDefinitionNames)>> = LazyLock::new(|| {
    let of = |names: CustomResourceDefinitionNames| {
        let kind = RuleKind::ALL.into_iter().find(|kind| kind.as_str() == names.kind);
        kind.map(|kind| (kind, names))
    };
    crds().into_iter().filter_map(|crd| of(crd.spec.names)).collect()
});

fn refused<T>(why: String) -> Result<T, Refused> {
    Err(Refused::Invalid(why))
}
