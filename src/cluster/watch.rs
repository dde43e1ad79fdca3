//! Watches that fill the inventory, each its own task, retried for ever with growing pauses.
//!
//! Guarantees: an object that cannot be read is reported and skipped; after a break in the watch the list that follows
//! takes away what is gone; until then what was known stays known.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::core::{DeserializeGuard, GroupVersionKind};
use kube::runtime::watcher;
use kube::runtime::watcher::{Config, Error, Event};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::order::Told;
use super::templates::Templates;
use super::workload::Workload;
use crate::clock::Clock;
use crate::decision::facts::{Namespace, Owner};
use crate::inventory::injectors::entries_of;
use crate::inventory::owner_kind::{OwnerKind, Read, Served};
use crate::inventory::routing::{Kind, key_of};
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

/// Runs a watch for ever. While it fails, the pauses grow; `told` is asked once about each trouble whether it has said of
/// it what is to be said.
pub(super) async fn follow<K: Send>(
    what: &str,
    stream: impl futures::Stream<Item = Result<Event<K>, Error>> + Send,
    mut keep: impl FnMut(Event<K>) + Send,
    told: impl Fn(Trouble) -> bool + Send,
) {
    let mut events = std::pin::pin!(stream);
    let mut retries = Retries::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                // Each attempt begins with an `Init`, also one that fails.
                if matches!(event, Event::InitDone | Event::Apply(_) | Event::Delete(_)) && retries.worked() {
                    info!("{what} are followed again");
                }
                keep(event);
            }
            Err(error) => {
                debug!(what, "the watch broke, and begins anew: {error}");
                let trouble = Trouble::of(&error);
                // What was known is too old to go on from, and a new list comes: nothing to speak of.
                let is_routine = status(&error) == Some(410);
                if !is_routine && retries.is_new(trouble, Instant::now()) && !told(trouble) {
                    warn!("{what} cannot be followed; what was known of them stays, and it is tried again: {error}");
                }
                sleep(retries.pause(trouble)).await;
            }
        }
    }
}

/// What keeps a watch from being followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The cluster does not know the kind.
    Absent,
    /// We may not watch it.
    Forbidden,
    /// Anything else.
    Broken,
}

impl Trouble {
    fn of(error: &Error) -> Self {
        match status(error) {
            Some(404) => Self::Absent,
            Some(403) => Self::Forbidden,
            _ => Self::Broken,
        }
    }

    /// A kind that is absent is rarely installed later, and is noticed soon enough within two minutes.
    fn longest_pause(self) -> Duration {
        match self {
            Self::Absent => Duration::from_secs(120),
            Self::Forbidden | Self::Broken => Duration::from_secs(30),
        }
    }
}

/// The attempts at a watch since it last worked.
#[derive(Debug, Default)]
struct Retries {
    trouble: Option<Trouble>,
    pause: Duration,
    last: Option<Instant>,
}

impl Retries {
    const SHORTEST: Duration = Duration::from_secs(1);
    /// A watch that lasted longer had worked, though nothing may have happened on it.
    const LASTED: Duration = Duration::from_secs(60);

    /// Whether the last failure was of another sort, or long ago.
    fn is_new(&mut self, trouble: Trouble, now: Instant) -> bool {
        if self.last.is_some_and(|last| now > last + self.pause + Self::LASTED) {
            self.worked();
        }
        self.last = Some(now);
        self.trouble.replace(trouble) != Some(trouble)
    }

    fn pause(&mut self, trouble: Trouble) -> Duration {
        self.pause = (self.pause * 2).clamp(Self::SHORTEST, trouble.longest_pause());
        self.pause
    }

    /// Forgets what there was; true if there was something.
    fn worked(&mut self) -> bool {
        std::mem::take(self).trouble.is_some()
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
    use std::sync::Mutex;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;
    use crate::decision::facts::Settings;
    use crate::inventory::owner_kind::OwnerKinds;

    fn replica_set(uid: &str) -> PartialObjectMeta<DynamicObject> {
        let metadata = ObjectMeta { uid: Some(uid.to_owned()), name: Some(uid.to_owned()), ..ObjectMeta::default() };
        PartialObjectMeta { types: None, metadata, _phantom: Default::default() }
    }

    type Objects = PartialObjectMeta<DynamicObject>;

    fn refused(code: u16) -> Error {
        Error::WatchError(Box::new(kube::core::Status { code, ..Default::default() }))
    }

    /// The seconds at which a watch was begun within an hour, of which the attempt of each number ends in this failure,
    /// or works; and the troubles it told of.
    async fn attempts(ends: impl Fn(usize) -> Option<u16> + Sync) -> (Vec<u64>, Vec<Trouble>) {
        let (start, begun, told) = (Instant::now(), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let stream = futures::stream::unfold(0, |polls| {
            let event = match (polls % 2, ends(polls / 2)) {
                (0, _) => {
                    begun.lock().unwrap().push(start.elapsed().as_secs());
                    Ok(Event::Init)
                }
                (_, Some(code)) => Err(refused(code)),
                (_, None) => Ok(Event::InitDone),
            };
            std::future::ready(Some((event, polls + 1)))
        });
        let following = follow(
            "things",
            stream,
            |_: Event<Objects>| {},
            |trouble| {
                told.lock().unwrap().push(trouble);
                false
            },
        );
        let _an_hour_is_over = tokio::time::timeout(Duration::from_secs(3600), following).await;
        (begun.into_inner().unwrap(), told.into_inner().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_absent_is_asked_for_ever_more_rarely_and_told_of_once() {
        let (begun, told) = attempts(|_| Some(404)).await;
        assert_eq!(begun[..9], [0, 1, 3, 7, 15, 31, 63, 127, 247]);
        assert_eq!(begun.last(), Some(&3487));
        assert_eq!(told, [Trouble::Absent]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_broke_is_tried_every_half_minute_and_at_once_after_it_has_worked() {
        let (begun, told) = attempts(|attempt| (attempt != 8).then_some(503)).await;
        assert_eq!(begun[..12], [0, 1, 3, 7, 15, 31, 61, 91, 121, 121, 122, 124]);
        assert_eq!(told, [Trouble::Broken, Trouble::Broken]);
    }

    #[tokio::test(start_paused = true)]
    async fn each_change_of_the_trouble_is_told_and_a_list_that_is_too_old_is_none() {
        let codes = [410, 503, 500, 404, 404, 403, 404];
        let (_, told) = attempts(|attempt| Some(codes[attempt.min(6)])).await;
        assert_eq!(told, [Trouble::Broken, Trouble::Absent, Trouble::Forbidden, Trouble::Absent]);
    }

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
