//! Kinds of objects that fill the inventory, and for each its intake, which turns such an object into an entry.
//!
//! Watches, snapshots and files differ in how they come by objects, and are the same for every kind.

pub(crate) mod injectors;
pub(crate) mod namespaces;
pub(crate) mod owners;
pub(crate) mod pods;
pub(crate) mod routing;
pub(crate) mod rules;
pub(crate) mod templates;

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::ApiResource;
use kube::core::DynamicResourceScope;
use kube::runtime::watcher::Event;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::follow::WatchFailure;
use crate::kernel::names::{GROUP, VERSION};
use crate::kernel::text::CleanText;
use crate::kubernetes::client::any_kind::of_any_kind;
use crate::kubernetes::client::call::resource;
use crate::kubernetes::inventory::owner_kind::{OwnerKind, OwnerKinds};
use crate::kubernetes::inventory::routing::RoutingKind;
use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind, namespaced_name};

/// Kind of objects that fill the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IntakeKind {
    Namespaces,
    Owners(OwnerKind),
    Pods,
    Rules(RuleKind),
    /// Webhook configurations, by which the API server calls the mesh's injectors.
    Injectors,
    /// ConfigMaps with the injectors' own rules.
    OwnRules,
    Routing(RoutingKind),
}

impl IntakeKind {
    /// Returns all kinds of an installation. Rules come last, so that they meet a complete inventory.
    pub(crate) fn all(owner_kinds: &OwnerKinds) -> Vec<Self> {
        let mut kinds = vec![Self::Namespaces];
        kinds.extend(RoutingKind::ALL.map(Self::Routing));
        kinds.extend(owner_kinds.iter().cloned().map(Self::Owners));
        kinds.extend([Self::Pods, Self::Injectors, Self::OwnRules]);
        kinds.extend(RuleKind::ALL.map(Self::Rules));
        kinds
    }

    /// Returns the position among these kinds of the one with this name in this API group.
    pub(crate) fn position(kinds: &[Self], group: &str, kind: &str) -> Option<usize> {
        kinds.iter().position(|one| (one.names()[0], one.names()[3]) == (group, kind))
    }

    /// Returns the name of the cache, as in [`Inventory::cache_states`](crate::kubernetes::inventory::Inventory).
    pub(crate) fn cache_name(&self) -> &str {
        match self {
            Self::Rules(kind) => kind.as_str(),
            Self::OwnRules => Self::Injectors.plural(),
            _ => self.plural(),
        }
    }

    pub(crate) fn plural(&self) -> &str {
        self.names()[2]
    }

    pub(crate) fn resource(&self) -> ApiResource {
        let [group, version, plural, kind] = self.names();
        resource(group, version, kind, plural)
    }

    pub(crate) fn is_namespaced(&self) -> bool {
        match self {
            Self::Rules(kind) => kind.is_namespaced(),
            _ => !matches!(self, Self::Namespaces | Self::Injectors),
        }
    }

    /// Returns the API group, its version, the plural and the kind.
    fn names(&self) -> [&str; 4] {
        match self {
            Self::Namespaces => ["", "v1", "namespaces", "Namespace"],
            Self::Owners(OwnerKind { group, version, plural, kind, .. }) => [group, version, plural, kind],
            Self::Pods => ["", "v1", "pods", "Pod"],
            Self::Rules(kind) => [GROUP, VERSION, kind.plural(), kind.as_str()],
            Self::Injectors => {
                let group = "admissionregistration.k8s.io";
                [group, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration"]
            }
            Self::OwnRules => ["", "v1", "configmaps", "ConfigMap"],
            Self::Routing(kind) => kind.names(),
        }
    }
}

/// Intake of complete lists of one kind.
pub(crate) trait KindIntake: Sync {
    type Object: IntakeObject;
    /// Part of a list that is not complete yet.
    type Batch: Default + Send;

    /// Adds an object to a list. An error names the object and says why it cannot be read.
    fn stage(&self, batch: &mut Self::Batch, object: Self::Object) -> Result<(), String>;

    /// Ends a complete list: objects that it does not hold are forgotten, and the kind counts as known.
    fn commit(&self, batch: Self::Batch);
}

/// Intake of a kind that the API server lists and watches.
pub(crate) trait ClusterIntake: KindIntake {
    fn kind(&self) -> IntakeKind;

    /// Puts an object in place of the earlier one.
    fn apply(&self, object: Self::Object) -> Result<(), String> {
        self.stage(&mut Self::Batch::default(), object)
    }

    fn remove(&self, object: &Self::Object);

    fn take_event<K: Into<Self::Object>>(&self, batch: &mut Self::Batch, event: Event<K>) -> Result<(), String> {
        match event {
            Event::Init => *batch = Self::Batch::default(),
            Event::InitApply(object) => return self.stage(batch, object.into()),
            Event::InitDone => self.commit(std::mem::take(batch)),
            Event::Apply(object) => return self.apply(object.into()),
            Event::Delete(object) => self.remove(&object.into()),
        }
        Ok(())
    }

    /// Takes note of a failed watch. Returns whether the failure is reported herewith.
    fn absent(&self, _: WatchFailure) -> bool {
        false
    }

    /// Takes note of a failed list. Returns the consequence, or `None` if the failure is no problem.
    fn unlisted(&self, is_served: bool) -> Option<&'static str>;
}

/// Decoded object, or the decoded part of one.
pub(crate) trait IntakeObject:
    Resource<DynamicType = ApiResource, Scope = DynamicResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static
{
}

impl<K> IntakeObject for K where
    K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + 'static
{
}

/// Metadata of an object of any kind; everything else is skipped.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct MetadataObject {
    pub(crate) metadata: ObjectMeta,
}

of_any_kind!(MetadataObject, metadata);

/// Object of any kind, complete.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct JsonObject {
    pub(crate) metadata: ObjectMeta,
    pub(crate) json: Value,
}

of_any_kind!(JsonObject, metadata);

impl TryFrom<Value> for JsonObject {
    type Error = String;

    fn try_from(json: Value) -> Result<Self, Self::Error> {
        let MetadataObject { metadata } = decode(&json)?;
        Ok(Self { metadata, json })
    }
}

impl JsonObject {
    /// Returns a sentence that names the object.
    pub(crate) fn describe_error(&self, kind: &str, why: &str) -> String {
        describe_error(kind, &namespaced_name(&self.metadata), why)
    }
}

/// Returns a sentence that names an object.
pub(crate) fn describe_error(kind: &str, (namespace, name): &NamespacedName, why: &str) -> String {
    let slash = if namespace.is_empty() { "" } else { "/" };
    format!("{} {}{slash}{}: {why}", CleanText(kind), CleanText(namespace), CleanText(name))
}

/// Decodes the known fields of an object.
pub(crate) fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| error.to_string())
}
