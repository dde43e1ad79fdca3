//! Proposed change: a policy or suspension that would be applied or deleted.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionNames;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

use crate::decision::policy::EnforcementMode;
use crate::kernel::names::{GROUP, VERSION};
use crate::kernel::text::nearest_word;
use crate::kernel::text::sanitize;
use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind};
use crate::kubernetes::inventory::rules::{ParsedRule, RuleLimits, RuleResource};
use crate::kubernetes::resources::cluster_injection_policy::ClusterInjectionPolicy;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::kubernetes::resources::crds;
use crate::kubernetes::resources::injection_policy::InjectionPolicy;
use crate::kubernetes::resources::strict::{self, describe_object};
use crate::kubernetes::resources::suspension_object::is_valid_name;
use crate::kubernetes::resources::suspension_policy::SuspensionPolicy;

/// Reason that there is no preview, as one sentence that names the way out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PreviewRefusal {
    /// The proposal makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The rules in force are not all known, so there is nothing to compare with.
    #[error("{0}")]
    NotKnown(&'static str),
}

/// Proposed change of one rule.
#[derive(Debug, Clone)]
pub struct ProposedChange {
    kind: RuleKind,
    name: NamespacedName,
    /// Proposed rule; `None` for a deletion.
    rule: Option<ParsedRule>,
}

/// A change, as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ProposedChange")]
pub struct ProposedChangeRow {
    /// The rule's kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its namespace, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What would become of it.
    pub change: ChangeKind,
}

/// What would become of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "WhatBecomes")]
pub enum ChangeKind {
    /// It is new.
    New,
    /// It is there, and would be as given.
    Changed,
    /// It would go away.
    Deleted,
}

/// Reader of proposed changes.
#[derive(Debug)]
pub struct ChangeReader<'r> {
    /// Namespace of objects that name none. Without it each object has to name its own.
    pub namespace: Option<&'r str>,
    /// Terms under which rules are compiled.
    pub rule_limits: &'r RuleLimits,
    /// Creation time of objects without a `creationTimestamp`.
    pub now: Timestamp,
    /// Whether policies in mode Audit count as in Enforce.
    pub as_enforced: bool,
}

/// Names of the options of a preview, as the CLI or the API spells them. Notes quote them.
#[derive(Debug, Clone, Copy)]
pub struct OptionNames {
    /// Option that previews policies in mode Audit as if they were in Enforce.
    pub as_enforced: &'static str,
    /// Option that sets another time; the time follows directly.
    pub at: &'static str,
}

impl ChangeReader<'_> {
    /// Reads manifests that would be applied.
    ///
    /// # Errors
    ///
    /// Fails when an object is not of our kinds, or is not valid for its kind.
    pub fn read_manifests(&self, objects: &[Value]) -> Result<Vec<ProposedChange>, PreviewRefusal> {
        objects.iter().map(|object| self.read_manifest(object)).collect()
    }

    fn read_manifest(&self, object: &Value) -> Result<ProposedChange, PreviewRefusal> {
        let kind = parse_rule_kind(object)?;
        let title = describe_object(object);
        let mut object = object.clone();
        let Some(metadata) = object["metadata"].as_object_mut() else {
            return refuse(format!("{title} has no metadata"));
        };
        // As the API server will write it.
        metadata.entry("creationTimestamp").or_insert_with(|| json!(self.now.to_string()));
        if kind.is_namespaced() {
            let own = metadata.get("namespace").filter(|own| !own.is_null()).cloned();
            let Some(namespace) = own.or_else(|| self.namespace.map(Value::from)) else {
                return refuse(format!("{title} has no metadata.namespace"));
            };
            metadata.insert("namespace".to_owned(), namespace);
        } else if let Some(namespace) = metadata.get("namespace").filter(|namespace| !namespace.is_null()) {
            let namespace = sanitize(namespace.as_str().unwrap_or("no name"));
            return refuse(format!(
                "{title} is of the whole cluster, and its metadata.namespace is {namespace}: leave that out"
            ));
        }
        let mut rule = match kind {
            RuleKind::ClusterInjectionPolicy => self.read_rule::<ClusterInjectionPolicy>(&object),
            RuleKind::InjectionPolicy => self.read_rule::<InjectionPolicy>(&object),
            RuleKind::ClusterSuspensionPolicy => self.read_rule::<ClusterSuspensionPolicy>(&object),
            RuleKind::SuspensionPolicy => self.read_rule::<SuspensionPolicy>(&object),
        }?;
        if let (true, ParsedRule::Policy(policy)) = (self.as_enforced, &mut rule) {
            policy.mode = EnforcementMode::Enforce;
        }
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
        let (namespace, name) = (text("namespace"), text("name"));
        if !is_valid_name(kind.is_namespaced().then_some(namespace), name) {
            return refuse(format!(
                "{title} can have no such name: Kubernetes takes a-z, 0-9, - and ., at most 253 of them"
            ));
        }
        Ok(ProposedChange { kind, name: (namespace.into(), name.into()), rule: Some(rule) })
    }

    fn read_rule<K: RuleResource + DeserializeOwned>(&self, object: &Value) -> Result<ParsedRule, PreviewRefusal> {
        let read = strict::read_object::<K>(object).map_err(|wrong| PreviewRefusal::Invalid(wrong.to_string()))?;
        read.compile(self.rule_limits).map_err(PreviewRefusal::Invalid)
    }

    /// Reads the deletion of one rule. The kind is typed in small letters; the namespace is for namespaced kinds only.
    ///
    /// # Errors
    ///
    /// Fails when the kind is not one of ours, or when a namespaced kind has no namespace.
    pub fn read_deletion(
        &self,
        typed: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<ProposedChange, PreviewRefusal> {
        let is_typed = |names: &CustomResourceDefinitionNames| {
            let short = names.short_names.iter().flatten();
            [&names.kind.to_lowercase(), &names.plural].into_iter().chain(short).any(|name| *name == typed)
        };
        let Some((kind, _)) = KIND_NAMES.iter().find(|(_, names)| is_typed(names)) else {
            let known = KIND_NAMES.iter().map(|(_, names)| names.kind.to_lowercase()).collect::<Vec<_>>();
            let meant = nearest_word(typed, known.iter().map(String::as_str));
            let meant = meant.map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
            let (typed, known) = (sanitize(typed), known.join(", "));
            return refuse(format!("{typed:?} is no kind of policy or suspension: {meant}known are {known}"));
        };
        let namespace = match namespace.or(self.namespace) {
            Some(namespace) if kind.is_namespaced() => namespace,
            None if kind.is_namespaced() => {
                return refuse(format!("{} {} is of a namespace: say of which", kind.as_str(), sanitize(name)));
            }
            _ => "",
        };
        Ok(ProposedChange { kind: *kind, name: (namespace.into(), name.into()), rule: None })
    }
}

impl ProposedChange {
    /// Returns the namespace of the rule, the only one that it can affect; `None` for a rule of the whole cluster.
    pub fn namespace(&self) -> Option<&str> {
        self.kind.is_namespaced().then_some(&*self.name.0)
    }

    /// Explains in one sentence why the change may have no effect; `None` if it should have one.
    pub(crate) fn describe_no_effect(&self, now: Timestamp, option_names: OptionNames) -> Option<String> {
        let OptionNames { as_enforced, at } = option_names;
        let title = self.title();
        match self.rule.as_ref()? {
            ParsedRule::Policy(policy) if policy.mode == EnforcementMode::Audit => Some(format!(
                "{title} is in mode Audit, and changes nothing; {as_enforced} shows what it would change in Enforce"
            )),
            ParsedRule::Suspension(suspension) if now < suspension.starts_at => {
                let start = suspension.starts_at;
                Some(format!("{title} begins at {start}; {at}{start} shows what it will change"))
            }
            ParsedRule::Suspension(suspension) if !suspension.holds_at(now) => {
                Some(format!("{title} is over already, and changes nothing"))
            }
            ParsedRule::Traffic(_) => Some(format!("{title} suspends traffic, which changes no sidecar")),
            ParsedRule::Policy(_) | ParsedRule::Suspension(_) | ParsedRule::Invalid(_) => None,
        }
    }

    /// Describes the change, given the rules that exist. Fails for the deletion of a rule that does not exist.
    pub(crate) fn to_row(
        &self,
        existing: &BTreeSet<(RuleKind, NamespacedName)>,
    ) -> Result<ProposedChangeRow, PreviewRefusal> {
        let Self { kind, name, rule } = self;
        let change = match (rule, existing.contains(&self.key())) {
            (Some(_), false) => ChangeKind::New,
            (Some(_), true) => ChangeKind::Changed,
            (None, true) => ChangeKind::Deleted,
            (None, false) => {
                let others = existing.iter().filter(|(other, of)| other == kind && of.0 == name.0);
                let meant = nearest_word(&name.1, others.map(|(_, of)| &*of.1));
                let meant = meant.map(|meant| format!("; did you mean {}?", sanitize(meant))).unwrap_or_default();
                return refuse(format!("there is no {}{meant}", self.title()));
            }
        };
        let namespace = self.namespace().map(sanitize);
        Ok(ProposedChangeRow { kind: kind.as_str(), name: sanitize(&name.1), namespace, change })
    }

    /// Returns the kind and name that identify the rule.
    pub(crate) fn key(&self) -> (RuleKind, NamespacedName) {
        (self.kind, self.name.clone())
    }

    /// Returns the proposed rule; `None` for a deletion.
    pub(crate) fn rule(&self) -> Option<&ParsedRule> {
        self.rule.as_ref()
    }

    /// Returns the kind, namespace and name, as sentences quote them.
    pub fn title(&self) -> String {
        let name = sanitize(&self.name.1);
        let namespace = self.namespace().map(|namespace| format!("{}/", sanitize(namespace))).unwrap_or_default();
        format!("{} {namespace}{name}", self.kind.as_str())
    }
}

/// Determines the kind of an object.
fn parse_rule_kind(object: &Value) -> Result<RuleKind, PreviewRefusal> {
    let known = || RuleKind::ALL.map(RuleKind::as_str);
    let Some(kind) = object["kind"].as_str() else {
        return refuse(format!("an object has no kind; a preview takes {}", known().join(", ")));
    };
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let own_version = format!("{GROUP}/{VERSION}");
    match RuleKind::ALL.into_iter().find(|one| one.as_str() == kind) {
        Some(kind) if api_version == own_version => Ok(kind),
        Some(_) => {
            let (title, version) = (describe_object(object), sanitize(api_version));
            refuse(format!("{title}: apiVersion is {version:?}, and should be {own_version}"))
        }
        None => {
            let meant = nearest_word(kind, known().into_iter()).filter(|_| api_version.starts_with(GROUP));
            let meant = meant.map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
            refuse(format!(
                "{} is no policy and no suspension: {meant}a preview takes {}; `outrigger explain -f` tells of pods and workloads",
                describe_object(object),
                known().join(", ")
            ))
        }
    }
}

/// Kinds of rules, each with the names that `kubectl` takes.
static KIND_NAMES: LazyLock<Vec<(RuleKind, CustomResourceDefinitionNames)>> = LazyLock::new(|| {
    let with_kind = |names: CustomResourceDefinitionNames| {
        let kind = RuleKind::ALL.into_iter().find(|kind| kind.as_str() == names.kind);
        kind.map(|kind| (kind, names))
    };
    crds().into_iter().filter_map(|crd| with_kind(crd.spec.names)).collect()
});

fn refuse<T>(why: String) -> Result<T, PreviewRefusal> {
    Err(PreviewRefusal::Invalid(why))
}
