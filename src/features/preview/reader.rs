//! Reader of proposed changes, which takes manifests as the API server takes them.

use std::sync::LazyLock;

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionNames;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::change::ProposedChange;
use crate::decision::policy::EnforcementMode;
use crate::features::preview::refusal::{PreviewRefusal, RuleDeletion};
use crate::kernel::names::{GROUP, VERSION};
use crate::kernel::text::{nearest_word, sanitize};
use crate::kubernetes::inventory::rule_kind::RuleKind;
use crate::kubernetes::inventory::rules::{ParsedRule, RuleLimits, RuleResource};
use crate::kubernetes::resources::cluster_injection_policy::ClusterInjectionPolicy;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::kubernetes::resources::crds;
use crate::kubernetes::resources::injection_policy::InjectionPolicy;
use crate::kubernetes::resources::strict::{self, describe_object};
use crate::kubernetes::resources::suspension_object::is_valid_name;
use crate::kubernetes::resources::suspension_policy::SuspensionPolicy;

/// Reader of proposed changes.
#[derive(Debug)]
pub(super) struct ChangeReader<'r> {
    /// Namespace of objects that name none. Without it each object has to name its own.
    pub(super) namespace: Option<&'r str>,
    /// Terms under which rules are compiled.
    pub(super) rule_limits: &'r RuleLimits,
    /// Creation time of objects without a `creationTimestamp`.
    pub(super) now: Timestamp,
    /// Whether policies in mode Audit count as in Enforce.
    pub(super) as_enforced: bool,
}

impl ChangeReader<'_> {
    /// Reads a manifest that would be applied.
    ///
    /// # Errors
    ///
    /// Fails when the object is not of our kinds, or is not valid for its kind.
    pub(super) fn read_manifest(&self, object: &Value) -> Result<ProposedChange, PreviewRefusal> {
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
            return refuse(format!("{title} is of the whole cluster: remove metadata.namespace, which is {namespace}"));
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
            return refuse(format!("{title} has a bad name: use a-z, 0-9, - and ., at most 253 characters"));
        }
        Ok(ProposedChange { kind, name: (namespace.into(), name.into()), rule: Some(rule) })
    }

    fn read_rule<K: RuleResource + DeserializeOwned>(&self, object: &Value) -> Result<ParsedRule, PreviewRefusal> {
        let read = strict::read_object::<K>(object).map_err(|wrong| PreviewRefusal::Invalid(wrong.to_string()))?;
        read.compile(self.rule_limits).map_err(PreviewRefusal::Invalid)
    }

    /// Reads the deletion of one rule.
    ///
    /// # Errors
    ///
    /// Fails when the kind is not one of ours, or when a namespaced kind has no namespace.
    pub(super) fn read_deletion(&self, deletion: &RuleDeletion) -> Result<ProposedChange, PreviewRefusal> {
        let RuleDeletion { kind: typed, namespace, name } = deletion;
        let kind = parse_kind_word(&typed.to_lowercase())?;
        let namespace = match namespace.as_deref().or(self.namespace) {
            Some(namespace) if kind.is_namespaced() => namespace,
            None if kind.is_namespaced() => {
                return refuse(format!("{} {} needs a namespace: name it", kind.as_str(), sanitize(name)));
            }
            _ => "",
        };
        Ok(ProposedChange { kind, name: (namespace.into(), name.as_str().into()), rule: None })
    }
}

/// Determines the kind that is meant by a kind, plural or short name in small letters.
fn parse_kind_word(typed: &str) -> Result<RuleKind, PreviewRefusal> {
    let is_typed = |names: &CustomResourceDefinitionNames| {
        let short = names.short_names.iter().flatten();
        [&names.kind.to_lowercase(), &names.plural].into_iter().chain(short).any(|name| *name == typed)
    };
    if let Some((kind, _)) = KIND_NAMES.iter().find(|(_, names)| is_typed(names)) {
        return Ok(*kind);
    }
    let known = KIND_NAMES.iter().map(|(_, names)| names.kind.to_lowercase()).collect::<Vec<_>>();
    let meant = nearest_word(typed, known.iter().map(String::as_str));
    let meant = meant.map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
    let (typed, known) = (sanitize(typed), known.join(", "));
    refuse(format!("{typed:?} is no kind of policy or suspension: {meant}known are {known}"))
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
            refuse(format!("{title}: apiVersion is {version:?}: use {own_version}"))
        }
        None => {
            let meant = nearest_word(kind, known().into_iter()).filter(|_| api_version.starts_with(GROUP));
            let meant = meant.map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
            refuse(format!(
                "{} is no policy and no suspension: {meant}a preview takes {}; use `outrigger explain -f` for pods and workloads",
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
