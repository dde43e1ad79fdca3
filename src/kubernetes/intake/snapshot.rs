//! Snapshot of the cluster for a command: everything that a decision needs, read once with the caller's own rights.
//!
//! Parts that may not be read stay unknown in the inventory, and are reported with the consequence.

use std::fmt::Debug;

use futures::stream::{self, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::kinds::injectors::{InjectorIntake, read_own_rules};
use super::kinds::namespaces::NamespaceIntake;
use super::kinds::owners::OwnerIntake;
use super::kinds::pods::PodIntake;
use super::kinds::routing::RoutingIntake;
use super::kinds::rules::RuleIntake;
use super::kinds::{ClusterIntake, IntakeKind};
use crate::kernel::names::ROUTING_FINALIZER;
use crate::kubernetes::client::CALL_TIMEOUT;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::routing::RoutingKind;
use crate::kubernetes::inventory::rule_kind::RuleKind;
use crate::kubernetes::inventory::rules::RuleLimits;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

const PAGE_SIZE: u32 = 500;
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
    let reader = SnapshotReader { client, namespace };
    // The first answer also tells whether there is a cluster at all.
    let mut problems = reader.fill_namespaces(inventory).await?;
    let owners = inventory.owner_kinds.iter().map(|kind| OwnerIntake::new(inventory, kind));
    problems.extend(reader.fill_all(owners.collect()).await);
    let rules = RuleKind::ALL.map(|kind| RuleIntake { inventory, limits, kind, metrics: None });
    problems.extend(reader.fill_all(rules.into()).await);
    problems.extend(reader.fill(&InjectorIntake::new(inventory, None)).await);
    problems.extend(reader.fill_own_rules(inventory).await);
    problems.extend(reader.fill(&PodIntake::new(inventory, None)).await);
    Ok(problems)
}

/// Fills the services and routes of the whole cluster, because a route to a service may be in any namespace.
///
/// Returns a sentence for each part that could not be read.
pub async fn fill_routing(client: &Client, inventory: &Inventory) -> Vec<String> {
    fill_routing_kinds(inventory, &RoutingKind::ALL, SnapshotReader { client, namespace: None }).await
}

/// Fills the kinds of objects that are made for suspensions, of one namespace or of the cluster.
///
/// Returns a sentence for each part that could not be read.
pub async fn fill_suspension_objects(client: &Client, inventory: &Inventory, namespace: Option<&str>) -> Vec<String> {
    let kinds = [RoutingKind::VirtualService, RoutingKind::DestinationRule];
    fill_routing_kinds(inventory, &kinds, SnapshotReader { client, namespace }).await
}

/// Returns the suspensions that wait for the removal of their routing objects, even if the rest of them cannot be read.
///
/// # Errors
///
/// A sentence, when they could not be listed.
pub async fn suspensions_with_finalizer(client: &Client) -> Result<Vec<SuspensionObject>, String> {
    let mut held = Vec::new();
    for kind in [RuleKind::ClusterSuspensionPolicy, RuleKind::SuspensionPolicy] {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &IntakeKind::Rules(kind).resource());
        let listed = match list_all(&api).await.map_err(ListError::from) {
            Ok(listed) => listed,
            Err(ListError::NotServed) => continue,
            Err(why) => {
                return Err(
                    why.describe(kind.plural(), "suspensions that wait for the removal of their routes are unknown")
                );
            }
        };
        let waiting = listed.into_iter().filter(|one| one.finalizers().iter().any(|name| name == ROUTING_FINALIZER));
        held.extend(waiting.map(|one| {
            let (namespace, name, uid) = (one.namespace(), one.name_any(), one.uid());
            SuspensionObject::unreadable(namespace, name, uid)
        }));
    }
    Ok(held)
}

async fn fill_routing_kinds(inventory: &Inventory, kinds: &[RoutingKind], reader: SnapshotReader<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    for kind in kinds {
        problems.extend(reader.fill(&RoutingIntake { inventory, kind: *kind }).await);
    }
    problems
}

/// Returns the arguments of the server that is installed in this namespace, if they may be read.
pub async fn server_arguments(client: &Client, namespace: &str) -> Option<Vec<String>> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let deployment = timeout(CALL_TIMEOUT, deployments.get_opt(crate::kernel::names::SERVICE)).await;
    let spec = deployment.ok()?.ok()??.spec.template.spec?;
    spec.containers.into_iter().next()?.args
}

/// Reader of lists; of the namespaced kinds only those of `namespace`, if one is given.
struct SnapshotReader<'r> {
    client: &'r Client,
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
    async fn fill_namespaces(&self, inventory: &Inventory) -> kube::Result<Vec<String>> {
        let intake = NamespaceIntake { inventory };
        let api = Api::all_with(self.client.clone(), &intake.kind().resource());
        let listed = match self.namespace {
            Some(name) => within_timeout(api.get_opt(name)).await.map(Vec::from_iter),
            None => list_all(&api).await,
        };
        match listed {
            Err(error) if !matches!(&error, kube::Error::Api(_)) => Err(error),
            listed => Ok(take_list(&intake, listed)),
        }
    }

    async fn fill_own_rules(&self, inventory: &Inventory) -> Vec<String> {
        let Some((own_rules, failures)) = read_own_rules(self.client, inventory).await else { return Vec::new() };
        inventory.injectors.set_own_rules(own_rules);
        failures.into_iter().map(|(_, why)| why).collect()
    }

    /// Fills several kinds at once.
    async fn fill_all<I: ClusterIntake>(&self, intakes: Vec<I>) -> Vec<String> {
        let fills = stream::iter(&intakes).map(|intake| self.fill(intake)).buffer_unordered(MAX_PARALLEL_LISTS);
        fills.concat().await
    }

    /// Fills one kind. Returns a sentence for each problem.
    async fn fill<I: ClusterIntake>(&self, intake: &I) -> Vec<String> {
        let (client, kind) = (self.client.clone(), intake.kind());
        let api: Api<I::Object> = match self.namespace.filter(|_| kind.is_namespaced()) {
            Some(namespace) => Api::namespaced_with(client, namespace, &kind.resource()),
            None => Api::all_with(client, &kind.resource()),
        };
        take_list(intake, list_all(&api).await)
    }
}

/// Takes in a complete list, or notes that there is none. Returns a sentence for each problem.
fn take_list<I: ClusterIntake>(intake: &I, listed: kube::Result<Vec<I::Object>>) -> Vec<String> {
    let kind = intake.kind();
    let listed = match listed {
        Ok(listed) => listed,
        Err(error) => {
            let why = ListError::from(error);
            let follows = intake.unlisted(!matches!(why, ListError::NotServed));
            return follows.map(|follows| why.describe(kind.plural(), follows)).into_iter().collect();
        }
    };
    let (mut batch, mut problems) = (I::Batch::default(), Vec::new());
    for object in listed {
        problems.extend(intake.stage(&mut batch, object).err().map(|why| format!("skipped {why}")));
    }
    intake.commit(batch);
    problems
}

/// Lists all objects, page by page.
async fn list_all<K: Clone + DeserializeOwned + Debug>(api: &Api<K>) -> kube::Result<Vec<K>> {
    let mut params = ListParams::default().limit(PAGE_SIZE);
    let mut listed = Vec::new();
    loop {
        let page = within_timeout(api.list(&params)).await?;
        listed.extend(page.items);
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(listed),
        }
    }
}

async fn within_timeout<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    timeout(CALL_TIMEOUT, call).await.unwrap_or_else(|_| Err(kube::Error::Service("no answer in time".into())))
}
