//! Watches that fill the inventory, each its own task, retried for ever with growing pauses.
//!
//! Guarantees: an object that cannot be read is reported and skipped; after a break in the watch the list that follows
//! takes away what is gone; until then what was known stays known.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::core::{DeserializeGuard, GroupVersionKind};
use kube::runtime::watcher::{Config, Error, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tracing::{debug, info, warn};

use super::order::Told;
use super::workload::Workload;
use crate::inventory::injectors::entries_of;
use crate::inventory::owner_kind::{OwnerKind, Read, Served};
use crate::inventory::rules::{Compile, Rule, RuleKind, RuleName, Terms};
use crate::inventory::standings::Standing;
use crate::inventory::{Inventory, namespace_of};
use crate::metrics::Metrics;
use crate::resources::cluster_injection_policy::ClusterInjectionPolicy;
use crate::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::resources::injection_policy::InjectionPolicy;
use crate::resources::suspension_policy::SuspensionPolicy;

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
            inventory.namespaces.insert(object.name_any(), namespace_of(&object.metadata, mesh));
        }
        Event::Apply(object) => {
            inventory.namespaces.insert(object.name_any(), namespace_of(&object.metadata, mesh));
        }
        Event::Delete(object) => inventory.namespaces.remove(&object.name_any()),
        Event::InitDone => {
            inventory.namespaces.retain(&std::mem::take(&mut listed), |_| true);
            inventory.namespaces.set_synced();
            debug!(count = inventory.namespaces.len(), "the namespaces are known");
        }
    };
    follow("namespaces", watcher(api, Config::default()), keep, |_| {}).await;
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
    follow("webhook configurations", watcher(api, Config::default()), keep, |_| {}).await;
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
    let absent = |error: &Error| {
        if let Some(code @ (403 | 404)) = status(error) {
            // Not being told of these owners must not keep us from deciding; a chain then ends before them, and says so.
            let why = if code == 404 { "the cluster does not know this kind" } else { "we may not list them" };
            let optional = !["apps", "batch", ""].contains(&kind.group.as_str());
            if optional && inventory.owner_kinds.served(&kind.group, &kind.kind) != Served::No {
                info!(group = kind.group, "no {} are read: {why}", kind.plural);
                inventory.owner_kinds.set_served(&kind, Served::No);
            }
        }
    };
    match kind.read {
        Read::Metadata => {
            let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, &resource);
            let keep = |event: Event<PartialObjectMeta<DynamicObject>>| {
                keeping.keep(event, |kind, object| kind.owner(&object.metadata, None));
            };
            follow(&what, watcher(api, Config::default()), keep, absent).await;
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
    fn keep<K: ResourceExt>(
        &mut self,
        event: Event<K>,
        owner: impl Fn(&OwnerKind, &K) -> crate::decision::facts::Owner,
    ) {
        let Self { inventory, kind, listed } = self;
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => {
                let uid: Box<str> = object.uid().unwrap_or_default().into();
                inventory.owners.insert(uid.clone(), owner(kind, &object));
                listed.insert(uid);
            }
            Event::Apply(object) => inventory.owners.insert(object.uid().unwrap_or_default(), owner(kind, &object)),
            Event::Delete(object) => inventory.owners.remove(&object.uid().unwrap_or_default()),
            Event::InitDone => {
                inventory.owners.retain(&std::mem::take(listed), |owner| *owner.kind == *kind.kind);
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
        let absent = |error: &Error| {
            if let Some(404) = status(error) {
                warn!("the cluster does not know {}; apply what `outrigger install` prints", self.kind.as_str());
            }
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

/// Runs a watch for ever; `failed` is told of each failure before the pause that follows it.
async fn follow<K: Send>(
    what: &str,
    stream: impl futures::Stream<Item = Result<Event<K>, Error>> + Send,
    mut keep: impl FnMut(Event<K>) + Send,
    failed: impl Fn(&Error) + Send,
) {
    let told = stream.inspect_err(|error| {
        debug!(what, "the watch broke, and begins anew: {error}");
        failed(error);
    });
    let mut events = std::pin::pin!(told.default_backoff());
    while let Some(event) = events.next().await {
        if let Ok(event) = event {
            keep(event);
        }
    }
}

/// The HTTP status with which the API server refused.
fn status(error: &Error) -> Option<u16> {
    match error {
        Error::InitialListFailed(kube::Error::Api(status)) | Error::WatchStartFailed(kube::Error::Api(status)) => {
            Some(status.code)
        }
        Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

/// A resource by its names.
pub(super) fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;
    use crate::decision::Action;
    use crate::decision::facts::{Settings, Write};
    use crate::decision::mesh::MESHES;
    use crate::inventory::owner_kind::OwnerKinds;

    fn replica_set(uid: &str) -> PartialObjectMeta<DynamicObject> {
        let metadata = ObjectMeta { uid: Some(uid.to_owned()), name: Some(uid.to_owned()), ..ObjectMeta::default() };
        PartialObjectMeta { types: None, metadata, _phantom: Default::default() }
    }

    #[test]
    fn what_a_new_list_no_longer_holds_is_forgotten_at_its_end_and_not_before() {
        let settings = Settings {
            mesh: &MESHES[0],
            excluded_namespaces: Vec::new(),
            when_unknown: Action::Leave,
            write: Write::Always,
        };
        let inventory = Inventory::new(settings, OwnerKinds::default(), Vec::new());
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
}
