//! Snapshot of the cluster for a command: everything that a decision needs, read once with the caller's own rights.
//!
//! Parts that may not be read stay unknown in the inventory, and are reported with the consequence.

use std::collections::{BTreeSet, HashMap};
use std::fmt::{Debug, Display};

use futures::stream::{self, StreamExt};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::DeserializeGuard;
use kube::{Api, Client, CustomResourceExt, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::pods::PodResource;
use crate::decision::injector::InjectorRules;
use crate::kernel::names::{GROUP, ROUTING_FINALIZER, VERSION};
use crate::kubernetes::client::CALL_TIMEOUT;
use crate::kubernetes::client::call::resource;
use crate::kubernetes::client::workload::WatchedWorkload;
use crate::kubernetes::inventory::injectors::{injector_entries, own_rules_in};
use crate::kubernetes::inventory::owner_kind::{KindAvailability, OwnerKind};
use crate::kubernetes::inventory::routing::{RoutingKind, object_key};
use crate::kubernetes::inventory::rule_kind::{NamespacedName, RuleKind};
use crate::kubernetes::inventory::rule_records::RuleRecord;
use crate::kubernetes::inventory::rules::{ParsedRule, RuleLimits, RuleResource};
use crate::kubernetes::inventory::{Inventory, namespace_of};
use crate::kubernetes::resources::cluster_injection_policy::ClusterInjectionPolicy;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::kubernetes::resources::injection_policy::InjectionPolicy;
use crate::kubernetes::resources::suspension_object::SuspensionObject;
use crate::kubernetes::resources::suspension_policy::SuspensionPolicy;

/// Number of objects in a page.
const PAGE_SIZE: u32 = 500;
/// Number of lists that are read at once.
const MAX_PARALLEL_LISTS: usize = 6;

/// Fills an inventory from a cluster; of the namespaced kinds only those of `namespace`, if one is given.
///
/// Returns a sentence for each part that could not be read, and fails where nothing can be read.
pub async fn fill_inventory(
    client: &Client,
    inventory: &Inventory,
    limits: &RuleLimits,
    namespace: Option<&str>,
) -> kube::Result<Vec<String>> {
    let reader = SnapshotReader { client, inventory, limits, namespace };
    // The first answer also tells whether there is a cluster at all.
    let mut problems = reader.namespaces().await?;
    let kinds: Vec<_> = inventory.owner_kinds.iter().collect();
    let owners = stream::iter(kinds).map(|kind| reader.owners(kind)).buffer_unordered(MAX_PARALLEL_LISTS);
    problems.extend(owners.collect::<Vec<_>>().await.into_iter().flatten());
    let rules = stream::iter(RuleKind::ALL).map(|kind| reader.rules(kind)).buffer_unordered(MAX_PARALLEL_LISTS);
    problems.extend(rules.collect::<Vec<_>>().await.into_iter().flatten());
    problems.extend(reader.injectors().await);
    problems.extend(reader.pods().await);
    Ok(problems)
}

/// Fills the services and routes of the whole cluster, because a route to a service may be in any namespace.
///
/// Returns a sentence for each part that could not be read.
pub async fn fill_routing(client: &Client, inventory: &Inventory) -> Vec<String> {
    fill_routing_kinds(client, inventory, &RoutingKind::ALL, None).await
}

/// Fills the kinds of objects that are made for suspensions, of one namespace or of the cluster.
///
/// Returns a sentence for each part that could not be read.
pub async fn fill_suspension_objects(client: &Client, inventory: &Inventory, namespace: Option<&str>) -> Vec<String> {
    fill_routing_kinds(client, inventory, &[RoutingKind::VirtualService, RoutingKind::DestinationRule], namespace).await
}

/// Returns the suspensions that wait for the removal of their routing objects, even if the rest of them cannot be read.
///
/// # Errors
///
/// A sentence, when they could not be listed.
pub async fn suspensions_with_finalizer(client: &Client) -> Result<Vec<SuspensionObject>, String> {
    let mut held = Vec::new();
    for crd in [ClusterSuspensionPolicy::crd(), SuspensionPolicy::crd()] {
        let [kind, plural] = [&crd.spec.names.kind, &crd.spec.names.plural];
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(GROUP, VERSION, kind, plural));
        let listed = match list_all(&api).await.map_err(ListError::from) {
            Ok(listed) => listed,
            Err(ListError::NotServed) => continue,
            Err(why) => return Err(why.describe(plural, "what waits for its routing to be gone is unknown")),
        };
        let waiting = listed.into_iter().filter(|one| one.finalizers().iter().any(|name| name == ROUTING_FINALIZER));
        held.extend(waiting.map(|one| {
            let (namespace, name, uid) = (one.namespace(), one.name_any(), one.uid());
            SuspensionObject::unreadable(namespace, name, uid)
        }));
    }
    Ok(held)
}

async fn fill_routing_kinds(
    client: &Client,
    inventory: &Inventory,
    kinds: &[RoutingKind],
    namespace: Option<&str>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for kind in kinds {
        let [group, version, plural, name] = kind.names();
        let resource = resource(group, version, name, plural);
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        match list_all(&api).await {
            Ok(listed) => {
                for object in &listed {
                    if let Err(why) = inventory.routing.insert(*kind, &object.metadata, &object.data) {
                        problems.push(format!("skipped {name} {}: {why}", object.name_any()));
                    }
                }
                let keys = listed.iter().map(|object| object_key(&object.metadata)).collect();
                inventory.routing.retain(*kind, &keys);
            }
            Err(error) => match ListError::from(error) {
                ListError::NotServed => inventory.routing.set_absent(*kind),
                why => problems.push(why.describe(plural, "what stands in the way of a suspension is unknown")),
            },
        }
    }
    problems
}

/// Returns the arguments of the server that is installed in this namespace, if they may be read.
pub async fn server_arguments(client: &Client, namespace: &str) -> Option<Vec<String>> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let deployment = tokio::time::timeout(CALL_TIMEOUT, deployments.get_opt(crate::kernel::names::SERVICE)).await;
    let spec = deployment.ok()?.ok()??.spec.template.spec?;
    spec.containers.into_iter().next()?.args
}

struct SnapshotReader<'r> {
    client: &'r Client,
    inventory: &'r Inventory,
    limits: &'r RuleLimits,
    namespace: Option<&'r str>,
}

/// Reason why a list could not be read.
enum ListError {
    Forbidden,
    NotServed,
    Failed(String),
}

impl ListError {
    fn describe(self, what: &str, follows: &str) -> String {
        match self {
            Self::Forbidden => {
                format!("you may not list {what}: {follows}; the ClusterRole outrigger-explain grants it")
            }
            Self::NotServed => format!("the cluster does not know {what}: {follows}"),
            Self::Failed(why) => format!("cannot list {what} ({why}): {follows}"),
        }
    }
}

impl From<kube::Error> for ListError {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 403 => Self::Forbidden,
            kube::Error::Api(status) if status.code == 404 => Self::NotServed,
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl SnapshotReader<'_> {
    async fn namespaces(&self) -> kube::Result<Vec<String>> {
        let mesh = self.inventory.settings.mesh;
        let api: Api<Namespace> = Api::all(self.client.clone());
        let keep = |namespace: &Namespace| {
            self.inventory.namespaces.insert(namespace.name_any(), namespace_of(&namespace.metadata, mesh));
        };
        let problem = match self.namespace {
            Some(name) => match tokio::time::timeout(CALL_TIMEOUT, api.get_opt(name)).await {
                Ok(Ok(found)) => {
                    found.iter().for_each(keep);
                    self.inventory.namespaces.set_synced();
                    None
                }
                Ok(Err(error)) if !matches!(&error, kube::Error::Api(_)) => return Err(error),
                Ok(Err(error)) => Some(ListError::from(error)),
                Err(_) => Some(ListError::Failed("no answer in time".to_owned())),
            },
            None => match list_all(&api).await {
                Ok(listed) => {
                    listed.iter().for_each(keep);
                    self.inventory.namespaces.set_synced();
                    None
                }
                Err(error) if !matches!(&error, kube::Error::Api(_)) => return Err(error),
                Err(error) => Some(error.into()),
            },
        };
        let follows = "labels and overrides of namespaces are unknown, and so is every effect";
        Ok(problem.map(|problem| problem.describe("namespaces", follows)).into_iter().collect())
    }

    async fn owners(&self, kind: &OwnerKind) -> Option<String> {
        let (inventory, mesh) = (self.inventory, self.inventory.settings.mesh);
        let resource = resource(&kind.group, &kind.version, &kind.kind, &kind.plural);
        let api: Api<WatchedWorkload> = self.dynamic_api(&resource);
        let follows = "a chain of owners ends before them, and pods that they own are decided as far as that";
        match list_all(&api).await {
            Ok(listed) => {
                for WatchedWorkload { metadata, spec } in listed {
                    let uid = metadata.uid.clone().unwrap_or_default();
                    inventory.insert_owner(uid, kind.workload(&metadata, spec, mesh));
                }
                inventory.owner_kinds.set_availability(kind, KindAvailability::Filled);
                None
            }
            Err(error) => {
                let why = ListError::from(error);
                // A cluster without this kind is no problem to report.
                let is_absent = matches!(why, ListError::NotServed);
                inventory.owner_kinds.set_availability(
                    kind,
                    if is_absent { KindAvailability::Absent } else { KindAvailability::Filling },
                );
                (!is_absent).then(|| why.describe(&kind.plural, follows))
            }
        }
    }

    async fn rules(&self, kind: RuleKind) -> Vec<String> {
        match kind {
            RuleKind::ClusterInjectionPolicy => {
                self.rules_of_kind::<ClusterInjectionPolicy>(kind, Api::all(self.client.clone())).await
            }
            RuleKind::ClusterSuspensionPolicy => {
                self.rules_of_kind::<ClusterSuspensionPolicy>(kind, Api::all(self.client.clone())).await
            }
            RuleKind::InjectionPolicy => self.rules_of_kind::<InjectionPolicy>(kind, self.typed_api()).await,
            RuleKind::SuspensionPolicy => self.rules_of_kind::<SuspensionPolicy>(kind, self.typed_api()).await,
        }
    }

    async fn rules_of_kind<K>(&self, kind: RuleKind, api: Api<DeserializeGuard<K>>) -> Vec<String>
    where
        K: RuleResource + Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let what = kind.as_str();
        match list_all(&api).await {
            Ok(listed) => {
                let mut problems = Vec::new();
                let read = |object: &DeserializeGuard<K>| -> (NamespacedName, ParsedRule) {
                    let name: NamespacedName =
                        (object.namespace().unwrap_or_default().into(), object.name_any().into());
                    let compiled = match &object.0 {
                        Ok(resource) => resource.compile(self.limits),
                        Err(invalid) => Err(invalid.error.clone()),
                    };
                    let rule = compiled.unwrap_or_else(|why| {
                        problems.push(format!("skipped {what} {}/{}: {why}", name.0, name.1));
                        ParsedRule::Invalid(why)
                    });
                    (name, rule)
                };
                self.inventory.rules.replace(kind, listed.iter().map(read).collect());
                let record = |object: &DeserializeGuard<K>| -> (NamespacedName, RuleRecord) {
                    let name: NamespacedName =
                        (object.namespace().unwrap_or_default().into(), object.name_any().into());
                    let record = match &object.0 {
                        Ok(resource) => resource.record(self.limits),
                        Err(invalid) => RuleRecord::unreadable(&invalid.metadata),
                    };
                    (name, record)
                };
                self.inventory.rule_records.replace(kind, listed.iter().map(record).collect());
                problems
            }
            Err(error) => {
                let why = ListError::from(error);
                if matches!(why, ListError::NotServed) {
                    self.inventory.rules.replace(kind, Vec::new());
                }
                let follows = match why {
                    ListError::NotServed => "none is taken into account; apply what `outrigger install` prints",
                    ListError::Forbidden | ListError::Failed(_) => {
                        "what they decide is unknown, and every answer hangs on it"
                    }
                };
                vec![why.describe(&format!("{what} objects"), follows)]
            }
        }
    }

    async fn injectors(&self) -> Vec<String> {
        let mesh = self.inventory.settings.mesh;
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let mut entries = Vec::new();
        match list_all(&api).await {
            Ok(listed) => listed.iter().for_each(|one| entries.push((one.name_any(), injector_entries(one, mesh)))),
            Err(error) => {
                let follows = "what the injector will do is unknown";
                return vec![ListError::from(error).describe("mutatingwebhookconfigurations", follows)];
            }
        }
        let configs: Vec<_> = entries
            .iter()
            .flat_map(|(_, entries)| entries)
            .filter_map(|entry| entry.rules_config_map.clone())
            .collect();
        self.inventory.injectors.replace(entries);
        let mut own_rules = HashMap::new();
        let mut problems = Vec::new();
        for (namespace, name) in configs.into_iter().collect::<BTreeSet<_>>() {
            match read_own_rules(self.client, &namespace, &name).await {
                Ok(found) => own_rules.extend(found),
                Err(why) => problems.push(format!("{why}: the injector is taken to be as it is installed by default")),
            }
        }
        self.inventory.injectors.set_own_rules(own_rules);
        problems
    }

    async fn pods(&self) -> Option<String> {
        let mesh = self.inventory.settings.mesh;
        let api: Api<PodResource> = self.dynamic_api(&resource("", "v1", "Pod", "pods"));
        match list_all(&api).await {
            Ok(listed) => {
                for PodResource(pod) in &listed {
                    self.inventory.pods.insert(pod.metadata.uid.clone().unwrap_or_default(), pod.running_pod(mesh));
                }
                self.inventory.pods.set_synced();
                None
            }
            Err(error) => Some(ListError::from(error).describe("pods", "what running pods have is not told")),
        }
    }

    fn dynamic_api<K: Resource<DynamicType = ApiResource, Scope = kube::core::DynamicResourceScope>>(
        &self,
        resource: &ApiResource,
    ) -> Api<K> {
        match self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        }
    }

    fn typed_api<K>(&self) -> Api<DeserializeGuard<K>>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        match self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }
}

/// Returns the own rules in an injector's ConfigMap, and the revision that they belong to; `None` where there are none.
pub(crate) async fn read_own_rules(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<(Box<str>, InjectorRules)>, String> {
    let configs: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let unread = |why: &dyn Display| format!("cannot read ConfigMap {namespace}/{name} ({why})");
    match tokio::time::timeout(CALL_TIMEOUT, configs.get_opt(name)).await {
        Err(_) => Err(unread(&"no answer in time")),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Err(unread(&"forbidden")),
        Ok(Err(error)) => Err(unread(&error)),
        Ok(Ok(config)) => match config.as_ref().and_then(own_rules_in) {
            Some((revision, rules)) => Ok(Some((revision, rules.map_err(|why| unread(&why))?))),
            None => Ok(None),
        },
    }
}

/// Lists all objects, page by page.
async fn list_all<K: Clone + DeserializeOwned + Debug>(api: &Api<K>) -> kube::Result<Vec<K>> {
    let mut params = ListParams::default().limit(PAGE_SIZE);
    let mut listed = Vec::new();
    loop {
        let page = tokio::time::timeout(CALL_TIMEOUT, api.list(&params)).await;
        let page = page.unwrap_or_else(|_| Err(kube::Error::Service("no answer in time".into())))?;
        listed.extend(page.items);
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(listed),
        }
    }
}
