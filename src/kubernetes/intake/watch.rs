//! Watches that fill the inventory, each its own task, retried for ever with growing pauses.
//!
//! Guarantees: an object that cannot be read is reported and skipped; after a break in the watch the list that follows
//! takes away what is gone; until then what was known stays known.

use crate::kubernetes::client::call::resource;
use crate::kubernetes::intake::follow::{Trouble, follow};
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

use super::templates::Templates;
use crate::decision::facts::{Namespace, Owner};
use crate::kernel::clock::Clock;
use crate::kubernetes::client::order::Told;
use crate::kubernetes::client::workload::Workload;
use crate::kubernetes::inventory::injectors::entries_of;
use crate::kubernetes::inventory::owner_kind::{OwnerKind, Read, Served};
use crate::kubernetes::inventory::routing::{Kind, key_of};
use crate::kubernetes::inventory::rule_kind::{RuleKind, RuleName};
use crate::kubernetes::inventory::rules::{Compile, Rule, Terms};
use crate::kubernetes::inventory::standings::Standing;
use crate::kubernetes::inventory::{Inventory, namespace_of};
use crate::kubernetes::resources::cluster_injection_policy::ClusterInjectionPolicy;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::kubernetes::resources::injection_policy::InjectionPolicy;
use crate::kubernetes::resources::suspension_policy::SuspensionPolicy;
use crate::metrics::Metrics;

/// How soon a change of an injector's own rules is known; they change with an upgrade of the mesh.
const INJECTORS_RULES_EVERY: Duration = Duration::from_secs(20);

/// Keeps the namespaces.
pub async fn namespaces(client: Client, inventory: Arc<Inventory>) {
    let api: Api<PartialObjectMeta<DynamicObject>> =
        Api::all_with(client, &resource("", "v1", "Namespace", "namespaces"));
    let mut listed = HashSet::new();
    let mesh = inventory.settings.mesh;
    let keep = |event: Event<PartialObjectMeta<DynamicObject>>| match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => {
            listed.insert(object.name_any().into());
            inventory
                .namespaces
                .insert(object.name_any(), relabelled(&inventory, namespace_of(&object.metadata, mesh)));
        }
        Event::Apply(object) => {
            inventory
                .namespaces
                .insert(object.name_any(), relabelled(&inventory, namespace_of(&object.metadata, mesh)));
        }
        Event::Delete(object) => inventory.namespaces.remove(&object.name_any()),
        Event::InitDone => {
            inventory.namespaces.retain(&std::mem::take(&mut listed), |_| true);
            inventory.namespaces.set_synced();
            debug!(count = inventory.namespaces.len(), "the namespaces are known");
        }
    };
    follow("namespaces", watcher(api, Config::default()), keep, |_| false).await;
}

/// A namespace, with the time at which we saw its labels change: of one that is taken away the API server tells none.
fn relabelled(inventory: &Inventory, namespace: Namespace) -> Namespace {
    let Some(before) = inventory.namespaces.get(&namespace.name) else { return namespace };
    let before = before.namespace();
    let seen = if before.labels == namespace.labels { before.labelled_at } else { Some(Clock::System.now()) };
    Namespace { labelled_at: namespace.labelled_at.max(seen), ..namespace }
}

/// Keeps the webhook configurations by which the API server calls the mesh's injectors.
pub async fn injectors(client: Client, inventory: Arc<Inventory>, metrics: Metrics) {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client);
    let mesh = inventory.settings.mesh;
    let (mut listed, mut order) = (Vec::new(), Told::default());
    let keep = |event: Event<MutatingWebhookConfiguration>| {
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => listed.push((object.name_any(), entries_of(&object, mesh))),
            Event::InitDone => inventory.injectors.replace(std::mem::take(&mut listed)),
            Event::Apply(object) => inventory.injectors.insert(&object.name_any(), entries_of(&object, mesh)),
            Event::Delete(object) => inventory.injectors.remove(&object.name_any()),
        }
        order.look(&inventory, &metrics);
    };
    follow("webhook configurations", watcher(api, Config::default()), keep, |_| false).await;
}

/// Keeps what the injectors' own configurations say, as far as they may be read, by asking again from time to time.
pub async fn injectors_rules(client: Client, inventory: Arc<Inventory>) {
    let mut known = HashMap::new();
    let mut told = HashSet::new();
    let mut ticks = tokio::time::interval(INJECTORS_RULES_EVERY);
    loop {
        ticks.tick().await;
        let Some(injectors) = inventory.injectors.get() else { continue };
        let configs: BTreeSet<_> = injectors.entries().iter().filter_map(|entry| entry.own_rules.clone()).collect();
        let mut rules = HashMap::new();
        for (namespace, name) in configs {
            match super::snapshot::own_rules(&client, &namespace, &name).await {
                Ok(found) => rules.extend(found),
                // An injector whose configuration may not be read is taken to be as it is installed by default.
                Err(why) if told.insert(name.clone()) => info!("an injector's own rules are not known: {why}"),
                Err(_) => {}
            }
        }
        if rules != known {
            inventory.injectors.set_own_rules(rules.clone());
            known = rules;
        }
    }
}

/// Keeps the objects of one kind that can own pods.
pub async fn owners(client: Client, inventory: Arc<Inventory>, kind: OwnerKind) {
    let resource = resource(&kind.group, &kind.version, &kind.kind, &kind.plural);
    let what = kind.plural.clone();
    let mut keeping = KeptOwners { inventory: &inventory, kind: &kind, listed: HashSet::new() };
    let absent = |trouble: Trouble| {
        let why = match trouble {
            Trouble::Absent => "the cluster does not know this kind",
            Trouble::Forbidden => "we may not list them",
            Trouble::Broken => return false,
        };
        // Not being told of these owners must not keep us from deciding; a chain then ends before them, and says so.
        let optional = !["apps", "batch", ""].contains(&kind.group.as_str());
        if optional {
            info!(group = kind.group, "no {} are read: {why}", kind.plural);
            inventory.owner_kinds.set_served(&kind, Served::No);
        }
        optional
    };
    match kind.read {
        Read::Metadata => {
            let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client.clone(), &resource);
            let templates = Templates::new(&inventory, &kind);
            let keep = |event: Event<PartialObjectMeta<DynamicObject>>| {
                let is_complete = matches!(event, Event::InitDone);
                if let Event::Delete(object) = &event {
                    templates.forget(&object.uid().unwrap_or_default());
                }
                keeping.keep(event, |_, object| templates.owner(&object.metadata));
                if is_complete {
                    templates.forget_others();
                }
            };
            tokio::select! {
                () = follow(&what, watcher(api, Config::default()), keep, absent) => {}
                () = templates.read(client) => {}
            }
        }
        Read::Spec => {
            let api: Api<Workload> = Api::all_with(client, &resource);
            let mesh = inventory.settings.mesh;
            let keep = |event: Event<Workload>| {
                keeping.keep(event, |kind, Workload { metadata, spec }| kind.workload(metadata, spec.clone(), mesh));
            };
            follow(&what, watcher(api, Config::default()), keep, absent).await;
        }
    }
}

/// Keeps the objects of one kind that have to do with routes to services.
pub async fn routing(client: Client, inventory: Arc<Inventory>, kind: Kind) {
    let [group, version, plural, name] = kind.names();
    let api: Api<DynamicObject> = Api::all_with(client, &resource(group, version, name, plural));
    let routing = &inventory.routing;
    let mut listed = HashSet::new();
    let insert = |object: &DynamicObject| {
        if let Err(why) = routing.insert(kind, &object.metadata, &object.data) {
            warn!(kind = name, namespace = ?object.namespace(), name = object.name_any(), "skipped: {why}");
        }
    };
    let keep = |event: Event<DynamicObject>| match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => {
            insert(&object);
            listed.insert(key_of(&object.metadata));
        }
        Event::Apply(object) => insert(&object),
        Event::Delete(object) => routing.remove(kind, &object.metadata),
        Event::InitDone => routing.retain(kind, &std::mem::take(&mut listed)),
    };
    let absent = |trouble: Trouble| {
        let why = match trouble {
            Trouble::Absent => "the cluster does not know this kind",
            Trouble::Forbidden => "we may not list them",
            Trouble::Broken => return false,
        };
        // One that is unknown for want of a right stays unknown, and keeps traffic from being suspended.
        if trouble == Trouble::Absent {
            routing.set_absent(kind);
        }
        info!(group, "no {plural} are followed: {why}");
        true
    };
    follow(plural, watcher(api, Config::default()), keep, absent).await;
}

/// Keeps the policies or suspensions of one kind.
pub async fn rules(client: Client, inventory: Arc<Inventory>, metrics: Metrics, terms: Terms, kind: RuleKind) {
    let keeping = KeptRules { inventory: &inventory, metrics: &metrics, terms: &terms, kind };
    match kind {
        RuleKind::ClusterInjectionPolicy => keeping.follow::<ClusterInjectionPolicy>(client).await,
        RuleKind::InjectionPolicy => keeping.follow::<InjectionPolicy>(client).await,
        RuleKind::ClusterSuspensionPolicy => keeping.follow::<ClusterSuspensionPolicy>(client).await,
        RuleKind::SuspensionPolicy => keeping.follow::<SuspensionPolicy>(client).await,
    }
}

struct KeptOwners<'k> {
    inventory: &'k Inventory,
    kind: &'k OwnerKind,
    listed: HashSet<Box<str>>,
}

impl KeptOwners<'_> {
    fn keep<K: ResourceExt>(&mut self, event: Event<K>, owner: impl Fn(&OwnerKind, &K) -> Owner) {
        let Self { inventory, kind, listed } = self;
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => {
                let uid: Box<str> = object.uid().unwrap_or_default().into();
                inventory.keep_owner(uid.clone(), owner(kind, &object));
                listed.insert(uid);
            }
            Event::Apply(object) => inventory.keep_owner(object.uid().unwrap_or_default(), owner(kind, &object)),
            Event::Delete(object) => inventory.forget_owner(&object.uid().unwrap_or_default()),
            Event::InitDone => {
                let is_of_kind = |owner: &Owner| *owner.kind == *kind.kind && *owner.group == *kind.group;
                inventory.retain_owners(&std::mem::take(listed), is_of_kind);
                inventory.owner_kinds.set_served(kind, Served::Yes);
                debug!("the {} are known", kind.plural);
            }
        }
    }
}

struct KeptRules<'k> {
    inventory: &'k Inventory,
    metrics: &'k Metrics,
    terms: &'k Terms,
    kind: RuleKind,
}

impl KeptRules<'_> {
    async fn follow<K>(&self, client: Client)
    where
        K: Compile + Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let api: Api<DeserializeGuard<K>> = Api::all(client);
        let Inventory { rules, standings, .. } = self.inventory;
        let (mut listed, mut standing) = (Vec::new(), Vec::new());
        let keep = |event: Event<DeserializeGuard<K>>| {
            match event {
                Event::Init => {
                    listed.clear();
                    standing.clear();
                }
                Event::InitApply(object) => {
                    listed.push(self.read(&object));
                    standing.push((rule_name(&object), self.standing(&object)));
                }
                Event::InitDone => {
                    rules.replace(self.kind, std::mem::take(&mut listed));
                    standings.replace(self.kind, std::mem::take(&mut standing));
                }
                Event::Apply(object) => {
                    let (name, rule) = self.read(&object);
                    rules.insert(self.kind, name.clone(), rule);
                    // Later, so that a generation is never told of a rule that is older.
                    standings.insert(self.kind, name, self.standing(&object));
                }
                Event::Delete(object) => {
                    rules.remove(self.kind, &rule_name(&object));
                    standings.remove(self.kind, &rule_name(&object));
                }
            }
            let invalid = self.inventory.rules.invalid().len();
            self.metrics.invalid_objects.set(i64::try_from(invalid).unwrap_or(i64::MAX));
        };
        let absent = |trouble: Trouble| {
            if trouble == Trouble::Absent {
                warn!("the cluster does not know {}; apply what `outrigger install` prints", self.kind.as_str());
            }
            trouble == Trouble::Absent
        };
        follow(self.kind.as_str(), watcher(api, Config::default()), keep, absent).await;
    }

    fn standing<K: Compile + Resource<DynamicType = ()>>(&self, object: &DeserializeGuard<K>) -> Standing {
        match &object.0 {
            Ok(resource) => resource.standing(self.terms),
            Err(invalid) => Standing::unreadable(&invalid.metadata),
        }
    }

    fn read<K: Compile + Resource<DynamicType = ()>>(&self, object: &DeserializeGuard<K>) -> (RuleName, Rule) {
        let name = rule_name(object);
        let compiled = match &object.0 {
            Ok(resource) => resource.compile(self.terms),
            Err(invalid) => Err(format!("{} {}: {}", self.kind.as_str(), name.1, invalid.error)),
        };
        let rule = compiled.unwrap_or_else(|why| {
            warn!(kind = self.kind.as_str(), namespace = %name.0, name = %name.1, "skipped, until it is mended: {why}");
            Rule::Invalid(why)
        });
        (name, rule)
    }
}

fn rule_name(object: &impl ResourceExt) -> RuleName {
    (object.namespace().unwrap_or_default().into(), object.name_any().into())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;
    use crate::decision::facts::Settings;
    use crate::kubernetes::inventory::owner_kind::OwnerKinds;

    fn replica_set(uid: &str) -> PartialObjectMeta<DynamicObject> {
        let metadata = ObjectMeta { uid: Some(uid.to_owned()), name: Some(uid.to_owned()), ..ObjectMeta::default() };
        PartialObjectMeta { types: None, metadata, _phantom: Default::default() }
    }

    type Objects = PartialObjectMeta<DynamicObject>;

    #[test]
    fn what_a_new_list_no_longer_holds_is_forgotten_at_its_end_and_not_before() {
        let inventory = Inventory::new(Settings::usual(), OwnerKinds::default(), Vec::new());
        let kind = inventory.owner_kinds.named("apps", "ReplicaSet").expect("it is built in").clone();
        let other = inventory.owner_kinds.named("batch", "Job").expect("it is built in");
        inventory.owners.insert("job", other.owner(&ObjectMeta::default(), None));
        let mut keeping = KeptOwners { inventory: &inventory, kind: &kind, listed: HashSet::new() };
        let mut keep =
            |event| keeping.keep(event, |kind, object: &PartialObjectMeta<_>| kind.owner(&object.metadata, None));
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
        let inventory = Inventory::new(Settings::usual(), OwnerKinds::default().and([other.clone()]), Vec::new());
        let ours = inventory.owner_kinds.named("apps", "StatefulSet").expect("it is built in").clone();
        for (kind, objects) in [(ours, vec![replica_set("web")]), (other, vec![])] {
            let mut keeping = KeptOwners { inventory: &inventory, kind: &kind, listed: HashSet::new() };
            let events = objects.into_iter().map(Event::InitApply);
            for event in std::iter::once(Event::Init).chain(events).chain([Event::InitDone]) {
                keeping.keep(event, |kind, object: &Objects| kind.owner(&object.metadata, None));
            }
        }
        assert!(inventory.owners.get("web").is_some());
    }
}
