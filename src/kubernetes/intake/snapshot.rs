//! The cluster at one instant, for a command: everything a decision needs, read once with the caller's own rights.
//!
//! What may not be read stays unknown in the inventory, and is named with what follows from it.

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
use crate::decision::injector::OwnRules;
use crate::kernel::names::{GROUP, ROUTING_FINALIZER, VERSION};
use crate::kubernetes::client::CALL_TIMEOUT;
use crate::kubernetes::client::call::resource;
use crate::kubernetes::client::workload::Workload;
use crate::kubernetes::inventory::injectors::{entries_of, own_rules_of};
use crate::kubernetes::inventory::owner_kind::{OwnerKind, Served};
use crate::kubernetes::inventory::routing::{Kind, key_of};
use crate::kubernetes::inventory::rule_kind::{RuleKind, RuleName};
use crate::kubernetes::inventory::rules::{Compile, Rule, Terms};
use crate::kubernetes::inventory::standings::Standing;
use crate::kubernetes::inventory::{Inventory, namespace_of};
use crate::kubernetes::resources::cluster_injection_policy::ClusterInjectionPolicy;
use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use crate::kubernetes::resources::injection_policy::InjectionPolicy;
use crate::kubernetes::resources::suspension_object::SuspensionObject;
use crate::kubernetes::resources::suspension_policy::SuspensionPolicy;

/// How many objects are asked for at once.
const PAGE: u32 = 500;
/// How many lists are read at once.
const PARALLEL: usize = 6;

/// Fills an inventory from a cluster; of the namespaced kinds only those of `namespace`, if one is given.
///
/// Returns a sentence for each part that could not be read, and fails where nothing can.
pub async fn fill(
    client: &Client,
    inventory: &Inventory,
    terms: &Terms,
    namespace: Option<&str>,
) -> kube::Result<Vec<String>> {
    let reading = Reading { client, inventory, terms, namespace };
    // The first answer also tells whether there is a cluster at all.
    let mut problems = reading.namespaces().await?;
    let kinds: Vec<_> = inventory.owner_kinds.iter().collect();
    let owners = stream::iter(kinds).map(|kind| reading.owners(kind)).buffer_unordered(PARALLEL);
    problems.extend(owners.collect::<Vec<_>>().await.into_iter().flatten());
    let rules = stream::iter(RuleKind::ALL).map(|kind| reading.rules(kind)).buffer_unordered(PARALLEL);
    problems.extend(rules.collect::<Vec<_>>().await.into_iter().flatten());
    problems.extend(reading.injectors().await);
    problems.extend(reading.pods().await);
    Ok(problems)
}

/// Fills what is known of routes to services, of the whole cluster: whatever routes to one may stand in any namespace.
///
/// Returns a sentence for each part that could not be read.
pub async fn fill_routing(client: &Client, inventory: &Inventory) -> Vec<String> {
    fill_kinds(client, inventory, &Kind::ALL, None).await
}

/// Fills what can have been made for suspensions, of one namespace or of the cluster.
///
/// Returns a sentence for each part that could not be read.
pub async fn fill_made(client: &Client, inventory: &Inventory, namespace: Option<&str>) -> Vec<String> {
    fill_kinds(client, inventory, &[Kind::VirtualService, Kind::DestinationRule], namespace).await
}

/// The suspensions that wait until their routing is gone, whether anything else of them can be read or not.
///
/// # Errors
///
/// A sentence, when they could not be listed.
pub async fn held_suspensions(client: &Client) -> Result<Vec<SuspensionObject>, String> {
    let mut held = Vec::new();
    for crd in [ClusterSuspensionPolicy::crd(), SuspensionPolicy::crd()] {
        let [kind, plural] = [&crd.spec.names.kind, &crd.spec.names.plural];
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(GROUP, VERSION, kind, plural));
        let listed = match all(&api).await.map_err(NoList::from) {
            Ok(listed) => listed,
            Err(NoList::NotServed) => continue,
            Err(why) => return Err(why.problem(plural, "what waits for its routing to be gone is unknown")),
        };
        let waiting = listed.into_iter().filter(|one| one.finalizers().iter().any(|name| name == ROUTING_FINALIZER));
        held.extend(waiting.map(|one| {
            let (namespace, name, uid) = (one.namespace(), one.name_any(), one.uid());
            SuspensionObject::unreadable(namespace, name, uid)
        }));
    }
    Ok(held)
}

async fn fill_kinds(client: &Client, inventory: &Inventory, kinds: &[Kind], namespace: Option<&str>) -> Vec<String> {
    let mut problems = Vec::new();
    for kind in kinds {
        let [group, version, plural, name] = kind.names();
        let resource = resource(group, version, name, plural);
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        match all(&api).await {
            Ok(listed) => {
                for object in &listed {
                    if let Err(why) = inventory.routing.insert(*kind, &object.metadata, &object.data) {
                        problems.push(format!("skipped {name} {}: {why}", object.name_any()));
                    }
                }
                let keys = listed.iter().map(|object| key_of(&object.metadata)).collect();
                inventory.routing.retain(*kind, &keys);
            }
            Err(error) => match NoList::from(error) {
                NoList::NotServed => inventory.routing.set_absent(*kind),
                why => problems.push(why.problem(plural, "what stands in the way of a suspension is unknown")),
            },
        }
    }
    problems
}

/// The arguments of the server that is installed in this namespace, if that may be read.
pub async fn server_arguments(client: &Client, namespace: &str) -> Option<Vec<String>> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let deployment = tokio::time::timeout(CALL_TIMEOUT, deployments.get_opt(crate::kernel::names::SERVICE)).await;
    let spec = deployment.ok()?.ok()??.spec.template.spec?;
    spec.containers.into_iter().next()?.args
}

struct Reading<'r> {
    client: &'r Client,
    inventory: &'r Inventory,
    terms: &'r Terms,
    namespace: Option<&'r str>,
}

/// Why a list is not there.
enum NoList {
    Forbidden,
    NotServed,
    Failed(String),
}

impl NoList {
    fn problem(self, what: &str, follows: &str) -> String {
        match self {
            Self::Forbidden => {
                format!("you may not list {what}: {follows}; the ClusterRole outrigger-explain grants it")
            }
            Self::NotServed => format!("the cluster does not know {what}: {follows}"),
            Self::Failed(why) => format!("cannot list {what} ({why}): {follows}"),
        }
    }
}

impl From<kube::Error> for NoList {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 403 => Self::Forbidden,
            kube::Error::Api(status) if status.code == 404 => Self::NotServed,
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl Reading<'_> {
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
                Ok(Err(error)) => Some(NoList::from(error)),
                Err(_) => Some(NoList::Failed("no answer in time".to_owned())),
            },
            None => match all(&api).await {
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
        Ok(problem.map(|problem| problem.problem("namespaces", follows)).into_iter().collect())
    }

    async fn owners(&self, kind: &OwnerKind) -> Option<String> {
        let (inventory, mesh) = (self.inventory, self.inventory.settings.mesh);
        let resource = resource(&kind.group, &kind.version, &kind.kind, &kind.plural);
        let api: Api<Workload> = self.scoped(&resource);
        let follows = "a chain of owners ends before them, and pods that they own are decided as far as that";
        match all(&api).await {
            Ok(listed) => {
                for Workload { metadata, spec } in listed {
                    let uid = metadata.uid.clone().unwrap_or_default();
                    inventory.keep_owner(uid, kind.workload(&metadata, spec, mesh));
                }
                inventory.owner_kinds.set_served(kind, Served::Yes);
                None
            }
            Err(error) => {
                let why = NoList::from(error);
                // That a cluster has no such kind is nothing to tell.
                let is_absent = matches!(why, NoList::NotServed);
                inventory.owner_kinds.set_served(kind, if is_absent { Served::No } else { Served::NotYet });
                (!is_absent).then(|| why.problem(&kind.plural, follows))
            }
        }
    }

    async fn rules(&self, kind: RuleKind) -> Vec<String> {
        match kind {
            RuleKind::ClusterInjectionPolicy => {
                self.rules_of::<ClusterInjectionPolicy>(kind, Api::all(self.client.clone())).await
            }
            RuleKind::ClusterSuspensionPolicy => {
                self.rules_of::<ClusterSuspensionPolicy>(kind, Api::all(self.client.clone())).await
            }
            RuleKind::InjectionPolicy => self.rules_of::<InjectionPolicy>(kind, self.typed()).await,
            RuleKind::SuspensionPolicy => self.rules_of::<SuspensionPolicy>(kind, self.typed()).await,
        }
    }

    async fn rules_of<K>(&self, kind: RuleKind, api: Api<DeserializeGuard<K>>) -> Vec<String>
    where
        K: Compile + Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let what = kind.as_str();
        match all(&api).await {
            Ok(listed) => {
                let mut problems = Vec::new();
                let read = |object: &DeserializeGuard<K>| -> (RuleName, Rule) {
                    let name: RuleName = (object.namespace().unwrap_or_default().into(), object.name_any().into());
                    let compiled = match &object.0 {
                        Ok(resource) => resource.compile(self.terms),
                        Err(invalid) => Err(invalid.error.clone()),
                    };
                    let rule = compiled.unwrap_or_else(|why| {
                        problems.push(format!("skipped {what} {}/{}: {why}", name.0, name.1));
                        Rule::Invalid(why)
                    });
                    (name, rule)
                };
                self.inventory.rules.replace(kind, listed.iter().map(read).collect());
                let standing = |object: &DeserializeGuard<K>| -> (RuleName, Standing) {
                    let name: RuleName = (object.namespace().unwrap_or_default().into(), object.name_any().into());
                    let standing = match &object.0 {
                        Ok(resource) => resource.standing(self.terms),
                        Err(invalid) => Standing::unreadable(&invalid.metadata),
                    };
                    (name, standing)
                };
                self.inventory.standings.replace(kind, listed.iter().map(standing).collect());
                problems
            }
            Err(error) => {
                let why = NoList::from(error);
                if matches!(why, NoList::NotServed) {
                    self.inventory.rules.replace(kind, Vec::new());
                }
                let follows = match why {
                    NoList::NotServed => "none is taken into account; apply what `outrigger install` prints",
                    NoList::Forbidden | NoList::Failed(_) => {
                        "what they decide is unknown, and every answer hangs on it"
                    }
                };
                vec![why.problem(&format!("{what} objects"), follows)]
            }
        }
    }

    async fn injectors(&self) -> Vec<String> {
        let mesh = self.inventory.settings.mesh;
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let mut entries = Vec::new();
        match all(&api).await {
            Ok(listed) => listed.iter().for_each(|one| entries.push((one.name_any(), entries_of(one, mesh)))),
            Err(error) => {
                let follows = "what the injector will do is unknown";
                return vec![NoList::from(error).problem("mutatingwebhookconfigurations", follows)];
            }
        }
        let configs: Vec<_> =
            entries.iter().flat_map(|(_, entries)| entries).filter_map(|entry| entry.own_rules.clone()).collect();
        self.inventory.injectors.replace(entries);
        let mut own_rules = HashMap::new();
        let mut problems = Vec::new();
        for (namespace, name) in configs.into_iter().collect::<BTreeSet<_>>() {
            match self::own_rules(self.client, &namespace, &name).await {
                Ok(found) => own_rules.extend(found),
                Err(why) => problems.push(format!("{why}: the injector is taken to be as it is installed by default")),
            }
        }
        self.inventory.injectors.set_own_rules(own_rules);
        problems
    }

    async fn pods(&self) -> Option<String> {
        let mesh = self.inventory.settings.mesh;
        let api: Api<PodResource> = self.scoped(&resource("", "v1", "Pod", "pods"));
        match all(&api).await {
            Ok(listed) => {
                for PodResource(pod) in &listed {
                    self.inventory.pods.insert(pod.metadata.uid.clone().unwrap_or_default(), pod.running(mesh));
                }
                self.inventory.pods.set_synced();
                None
            }
            Err(error) => Some(NoList::from(error).problem("pods", "what running pods have is not told")),
        }
    }

    fn scoped<K: Resource<DynamicType = ApiResource, Scope = kube::core::DynamicResourceScope>>(
        &self,
        resource: &ApiResource,
    ) -> Api<K> {
        match self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        }
    }

    fn typed<K>(&self) -> Api<DeserializeGuard<K>>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        match self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }
}

/// What an injector's own ConfigMap says, by the revision that it is about; none where there is none.
pub(crate) async fn own_rules(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<(Box<str>, OwnRules)>, String> {
    let configs: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let unread = |why: &dyn Display| format!("cannot read ConfigMap {namespace}/{name} ({why})");
    match tokio::time::timeout(CALL_TIMEOUT, configs.get_opt(name)).await {
        Err(_) => Err(unread(&"no answer in time")),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Err(unread(&"forbidden")),
        Ok(Err(error)) => Err(unread(&error)),
        Ok(Ok(config)) => match config.as_ref().and_then(own_rules_of) {
            Some((revision, rules)) => Ok(Some((revision, rules.map_err(|why| unread(&why))?))),
            None => Ok(None),
        },
    }
}

/// All objects, page by page.
async fn all<K: Clone + DeserializeOwned + Debug>(api: &Api<K>) -> kube::Result<Vec<K>> {
    let mut params = ListParams::default().limit(PAGE);
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
