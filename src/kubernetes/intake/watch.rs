//! Watches that fill the inventory, each in its own task, retried for ever with growing pauses.
//!
//! Guarantees: an object that cannot be read is reported and skipped. After a break in a watch, the next complete list
//! removes the objects that are gone; until then known objects stay known.

use crate::kubernetes::client::call::resource;
use crate::kubernetes::intake::follow::{WatchFailure, follow};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::core::DeserializeGuard;
use kube::runtime::watcher;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tracing::{debug, info, warn};

use super::templates::StandaloneTemplates;
use crate::decision::facts::{NamespaceFacts, Owner};
use crate::kernel::clock::Clock;
use crate::kubernetes::client::webhook_order::OrderReporter;
use crate::kubernetes::client::workload::WatchedWorkload;
use crate::kubernetes::inventory::injectors::injector_entries;
use crate::kubernetes::inventory::owner_kind::{KindAvailability, OwnerKind, ReadDepth};
use crate::kubernetes::inventory::routing::{RoutingKind, object_key};
use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind};
use crate::kubernetes::inventory::rule_records::RuleRecord;
use crate::kubernetes::inventory::rules::{ParsedRule, RuleLimits, RuleResource};
use crate::kubernetes::inventory::{Inventory, namespace_of};
use crate::kubernetes::resources::cluster_injection_policy::ClusterInjectionPolicy;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::kubernetes::resources::injection_policy::InjectionPolicy;
use crate::kubernetes::resources::suspension_policy::SuspensionPolicy;
use crate::metrics::Metrics;

/// Interval of reads of the injectors' own rules, which change with an upgrade of the mesh.
const OWN_RULES_POLL_INTERVAL: Duration = Duration::from_secs(20);

/// Keeps the namespaces up to date.
pub async fn follow_namespaces(client: Client, inventory: Arc<Inventory>) {
    let api: Api<PartialObjectMeta<DynamicObject>> =
        Api::all_with(client, &resource("", "v1", "Namespace", "namespaces"));
    let mut listed = HashSet::new();
    let mesh = inventory.settings.mesh;
    let on_event = |event: Event<PartialObjectMeta<DynamicObject>>| match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => {
            listed.insert(object.name_any().into());
            inventory
                .namespaces
                .insert(object.name_any(), with_label_time(&inventory, namespace_of(&object.metadata, mesh)));
        }
        Event::Apply(object) => {
            inventory
                .namespaces
                .insert(object.name_any(), with_label_time(&inventory, namespace_of(&object.metadata, mesh)));
        }
        Event::Delete(object) => inventory.namespaces.remove(&object.name_any()),
        Event::InitDone => {
            inventory.namespaces.retain(&std::mem::take(&mut listed), |_| true);
            inventory.namespaces.set_synced();
            debug!(count = inventory.namespaces.len(), "the namespaces are known");
        }
    };
    follow("namespaces", watcher(api, Config::default()), on_event, |_| false).await;
}

/// Returns the namespace with the time at which we saw its labels change. The API server records no time for a removed
/// label.
fn with_label_time(inventory: &Inventory, namespace: NamespaceFacts) -> NamespaceFacts {
    let Some(before) = inventory.namespaces.get(&namespace.name) else { return namespace };
    let before = before.namespace();
    let seen = if before.labels == namespace.labels { before.labelled_at } else { Some(Clock::System.now()) };
    NamespaceFacts { labelled_at: namespace.labelled_at.max(seen), ..namespace }
}

/// Keeps the webhook configurations up to date by which the API server calls the mesh's injectors.
pub async fn follow_injectors(client: Client, inventory: Arc<Inventory>, metrics: Metrics) {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client);
    let mesh = inventory.settings.mesh;
    let (mut listed, mut order) = (Vec::new(), OrderReporter::default());
    let on_event = |event: Event<MutatingWebhookConfiguration>| {
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => listed.push((object.name_any(), injector_entries(&object, mesh))),
            Event::InitDone => inventory.injectors.replace(std::mem::take(&mut listed)),
            Event::Apply(object) => inventory.injectors.insert(&object.name_any(), injector_entries(&object, mesh)),
            Event::Delete(object) => inventory.injectors.remove(&object.name_any()),
        }
        order.report_changes(&inventory, &metrics);
    };
    follow("webhook configurations", watcher(api, Config::default()), on_event, |_| false).await;
}

/// Keeps the injectors' own rules up to date by repeated reads, as far as they may be read.
pub async fn poll_own_rules(client: Client, inventory: Arc<Inventory>) {
    let mut known = HashMap::new();
    let mut reported = HashSet::new();
    let mut ticks = tokio::time::interval(OWN_RULES_POLL_INTERVAL);
    loop {
        ticks.tick().await;
        let Some(injectors) = inventory.injectors.get() else { continue };
        let configs: BTreeSet<_> =
            injectors.entries().iter().filter_map(|entry| entry.rules_config_map.clone()).collect();
        let mut rules = HashMap::new();
        for (namespace, name) in configs {
            match super::snapshot::read_own_rules(&client, &namespace, &name).await {
                Ok(found) => rules.extend(found),
                // An injector with an unreadable configuration is taken to have the default one.
                Err(why) if reported.insert(name.clone()) => info!("an injector's own rules are not known: {why}"),
                Err(_) => {}
            }
        }
        if rules != known {
            inventory.injectors.set_own_rules(rules.clone());
            known = rules;
        }
    }
}

/// Keeps the objects of one owner kind up to date.
pub async fn follow_owners(client: Client, inventory: Arc<Inventory>, kind: OwnerKind) {
    let resource = resource(&kind.group, &kind.version, &kind.kind, &kind.plural);
    let what = kind.plural.clone();
    let mut intake = OwnerIntake { inventory: &inventory, kind: &kind, listed: HashSet::new() };
    let on_failure = |failure: WatchFailure| {
        let why = match failure {
            WatchFailure::Absent => "the cluster does not know this kind",
            WatchFailure::Forbidden => "we may not list them",
            WatchFailure::Broken => return false,
        };
        // Missing owners of an optional kind must not keep us from deciding; a chain then ends before them, and says so.
        let optional = !["apps", "batch", ""].contains(&kind.group.as_str());
        if optional {
            info!(group = kind.group, "no {} are read: {why}", kind.plural);
            inventory.owner_kinds.set_availability(&kind, KindAvailability::Absent);
        }
        optional
    };
    match kind.read_depth {
        ReadDepth::Metadata => {
            let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client.clone(), &resource);
            let templates = StandaloneTemplates::new(&inventory, &kind);
            let on_event = |event: Event<PartialObjectMeta<DynamicObject>>| {
                let is_complete = matches!(event, Event::InitDone);
                if let Event::Delete(object) = &event {
                    templates.forget(&object.uid().unwrap_or_default());
                }
                intake.apply(event, |_, object| templates.owner(&object.metadata));
                if is_complete {
                    templates.forget_missing();
                }
            };
            tokio::select! {
                () = follow(&what, watcher(api, Config::default()), on_event, on_failure) => {}
                () = templates.read_unread(client) => {}
            }
        }
        ReadDepth::Spec => {
            let api: Api<WatchedWorkload> = Api::all_with(client, &resource);
            let mesh = inventory.settings.mesh;
            let on_event = |event: Event<WatchedWorkload>| {
                intake.apply(event, |kind, WatchedWorkload { metadata, spec }| {
                    kind.workload(metadata, spec.clone(), mesh)
                });
            };
            follow(&what, watcher(api, Config::default()), on_event, on_failure).await;
        }
    }
}

/// Keeps the routing objects of one kind up to date.
pub async fn follow_routing(client: Client, inventory: Arc<Inventory>, kind: RoutingKind) {
    let [group, version, plural, name] = kind.names();
    let api: Api<DynamicObject> = Api::all_with(client, &resource(group, version, name, plural));
    let routing = &inventory.routing;
    let mut listed = HashSet::new();
    let insert = |object: &DynamicObject| {
        if let Err(why) = routing.insert(kind, &object.metadata, &object.data) {
            warn!(kind = name, namespace = ?object.namespace(), name = object.name_any(), "skipped: {why}");
        }
    };
    let on_event = |event: Event<DynamicObject>| match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => {
            insert(&object);
            listed.insert(object_key(&object.metadata));
        }
        Event::Apply(object) => insert(&object),
        Event::Delete(object) => routing.remove(kind, &object.metadata),
        Event::InitDone => routing.retain(kind, &std::mem::take(&mut listed)),
    };
    let on_failure = |failure: WatchFailure| {
        let why = match failure {
            WatchFailure::Absent => "the cluster does not know this kind",
            WatchFailure::Forbidden => "we may not list them",
            WatchFailure::Broken => return false,
        };
        // A kind that we may not list stays unknown, and keeps traffic from being suspended.
        if failure == WatchFailure::Absent {
            routing.set_absent(kind);
        }
        info!(group, "no {plural} are followed: {why}");
        true
    };
    follow(plural, watcher(api, Config::default()), on_event, on_failure).await;
}

/// Keeps the policies or suspensions of one kind up to date.
pub async fn follow_rules(
    client: Client,
    inventory: Arc<Inventory>,
    metrics: Metrics,
    limits: RuleLimits,
    kind: RuleKind,
) {
    let intake = RuleIntake { inventory: &inventory, metrics: &metrics, limits: &limits, kind };
    match kind {
        RuleKind::ClusterInjectionPolicy => intake.follow::<ClusterInjectionPolicy>(client).await,
        RuleKind::InjectionPolicy => intake.follow::<InjectionPolicy>(client).await,
        RuleKind::ClusterSuspensionPolicy => intake.follow::<ClusterSuspensionPolicy>(client).await,
        RuleKind::SuspensionPolicy => intake.follow::<SuspensionPolicy>(client).await,
    }
}

struct OwnerIntake<'k> {
    inventory: &'k Inventory,
    kind: &'k OwnerKind,
    listed: HashSet<Box<str>>,
}

impl OwnerIntake<'_> {
    fn apply<K: ResourceExt>(&mut self, event: Event<K>, owner: impl Fn(&OwnerKind, &K) -> Owner) {
        let Self { inventory, kind, listed } = self;
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => {
                let uid: Box<str> = object.uid().unwrap_or_default().into();
                inventory.insert_owner(uid.clone(), owner(kind, &object));
                listed.insert(uid);
            }
            Event::Apply(object) => inventory.insert_owner(object.uid().unwrap_or_default(), owner(kind, &object)),
            Event::Delete(object) => inventory.remove_owner(&object.uid().unwrap_or_default()),
            Event::InitDone => {
                let is_of_kind = |owner: &Owner| *owner.kind == *kind.kind && *owner.group == *kind.group;
                inventory.retain_owners(&std::mem::take(listed), is_of_kind);
                inventory.owner_kinds.set_availability(kind, KindAvailability::Filled);
                debug!("the {} are known", kind.plural);
            }
        }
    }
}

struct RuleIntake<'k> {
    inventory: &'k Inventory,
    metrics: &'k Metrics,
    limits: &'k RuleLimits,
    kind: RuleKind,
}

impl RuleIntake<'_> {
    async fn follow<K>(&self, client: Client)
    where
        K: RuleResource + Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let api: Api<DeserializeGuard<K>> = Api::all(client);
        let Inventory { rules, rule_records, .. } = self.inventory;
        let (mut listed, mut records) = (Vec::new(), Vec::new());
        let on_event = |event: Event<DeserializeGuard<K>>| {
            match event {
                Event::Init => {
                    listed.clear();
                    records.clear();
                }
                Event::InitApply(object) => {
                    listed.push(self.parse(&object));
                    records.push((namespaced_name(&object), self.record(&object)));
                }
                Event::InitDone => {
                    rules.replace(self.kind, std::mem::take(&mut listed));
                    rule_records.replace(self.kind, std::mem::take(&mut records));
                }
                Event::Apply(object) => {
                    let (name, rule) = self.parse(&object);
                    rules.insert(self.kind, name.clone(), rule);
                    // The record comes second, so that a generation never belongs to an older rule.
                    rule_records.insert(self.kind, name, self.record(&object));
                }
                Event::Delete(object) => {
                    rules.remove(self.kind, &namespaced_name(&object));
                    rule_records.remove(self.kind, &namespaced_name(&object));
                }
            }
            let invalid = self.inventory.rules.invalid().len();
            self.metrics.invalid_objects.set(i64::try_from(invalid).unwrap_or(i64::MAX));
        };
        let on_failure = |failure: WatchFailure| {
            if failure == WatchFailure::Absent {
                warn!("the cluster does not know {}; apply what `outrigger install` prints", self.kind.as_str());
            }
            failure == WatchFailure::Absent
        };
        follow(self.kind.as_str(), watcher(api, Config::default()), on_event, on_failure).await;
    }

    fn record<K: RuleResource + Resource<DynamicType = ()>>(&self, object: &DeserializeGuard<K>) -> RuleRecord {
        match &object.0 {
            Ok(resource) => resource.record(self.limits),
            Err(invalid) => RuleRecord::unreadable(&invalid.metadata),
        }
    }

    fn parse<K: RuleResource + Resource<DynamicType = ()>>(
        &self,
        object: &DeserializeGuard<K>,
    ) -> (NamespacedName, ParsedRule) {
        let name = namespaced_name(object);
        let compiled = match &object.0 {
            Ok(resource) => resource.compile(self.limits),
            Err(invalid) => Err(format!("{} {}: {}", self.kind.as_str(), name.1, invalid.error)),
        };
        let rule = compiled.unwrap_or_else(|why| {
            warn!(kind = self.kind.as_str(), namespace = %name.0, name = %name.1, "skipped, until it is mended: {why}");
            ParsedRule::Invalid(why)
        });
        (name, rule)
    }
}

fn namespaced_name(object: &impl ResourceExt) -> NamespacedName {
    (object.namespace().unwrap_or_default().into(), object.name_any().into())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;
    use crate::decision::facts::DecisionSettings;
    use crate::kubernetes::inventory::owner_kind::OwnerKinds;

    fn replica_set(uid: &str) -> PartialObjectMeta<DynamicObject> {
        let metadata = ObjectMeta { uid: Some(uid.to_owned()), name: Some(uid.to_owned()), ..ObjectMeta::default() };
        PartialObjectMeta { types: None, metadata, _phantom: Default::default() }
    }

    type Objects = PartialObjectMeta<DynamicObject>;

    #[test]
    fn what_a_new_list_no_longer_holds_is_forgotten_at_its_end_and_not_before() {
        let inventory = Inventory::new(DecisionSettings::usual(), OwnerKinds::default(), Vec::new());
        let kind = inventory.owner_kinds.find("apps", "ReplicaSet").expect("it is built in").clone();
        let other = inventory.owner_kinds.find("batch", "Job").expect("it is built in");
        inventory.owners.insert("job", other.owner(&ObjectMeta::default(), None));
        let mut intake = OwnerIntake { inventory: &inventory, kind: &kind, listed: HashSet::new() };
        let mut keep =
            |event| intake.apply(event, |kind, object: &PartialObjectMeta<_>| kind.owner(&object.metadata, None));
        let known = || ["a", "b", "job"].map(|uid| inventory.owners.get(uid).is_some());
        [Event::Init, Event::InitApply(replica_set("a")), Event::InitDone].into_iter().for_each(&mut keep);
        assert_eq!(known(), [true, false, true]);
        [Event::Init, Event::InitApply(replica_set("b"))].into_iter().for_each(&mut keep);
        assert_eq!(known(), [true, true, true], "until the list is complete, what was known stays known");
        keep(Event::InitDone);
        assert_eq!(known(), [false, true, true], "and another kind's objects are none of its business");
        keep(Event::Delete(replica_set("b")));
        assert_eq!(known(), [false, false, true]);
    }

    #[test]
    fn a_list_forgets_nothing_of_a_kind_of_the_same_name_in_another_group() {
        let other: OwnerKind = "apps.kruise.io/v1beta1/statefulsets/StatefulSet".parse().unwrap();
        let inventory =
            Inventory::new(DecisionSettings::usual(), OwnerKinds::default().with_kinds([other.clone()]), Vec::new());
        let ours = inventory.owner_kinds.find("apps", "StatefulSet").expect("it is built in").clone();
        for (kind, objects) in [(ours, vec![replica_set("web")]), (other, vec![])] {
            let mut intake = OwnerIntake { inventory: &inventory, kind: &kind, listed: HashSet::new() };
            let events = objects.into_iter().map(Event::InitApply);
            for event in std::iter::once(Event::Init).chain(events).chain([Event::InitDone]) {
                intake.apply(event, |kind, object: &Objects| kind.owner(&object.metadata, None));
            }
        }
        assert!(inventory.owners.get("web").is_some());
    }
}
