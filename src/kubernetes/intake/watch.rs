//! Watches that fill the inventory, each in its own task, retried for ever with growing pauses.
//!
//! Guarantees: an object that cannot be read is reported and skipped. After a break in a watch, the next complete list
//! removes the objects that are gone; until then known objects stay known.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::watcher;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client};
use tracing::{debug, info, warn};

use super::follow::follow;
use super::kinds::injectors::{InjectorIntake, read_own_rules};
use super::kinds::namespaces::NamespaceIntake;
use super::kinds::owners::OwnerIntake;
use super::kinds::routing::RoutingIntake;
use super::kinds::rules::RuleIntake;
use super::kinds::templates::StandaloneTemplates;
use super::kinds::{ClusterIntake, IntakeObject, JsonObject, MetadataObject};
use crate::kubernetes::client::workload::WatchedWorkload;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::{OwnerKind, ReadDepth};
use crate::kubernetes::inventory::routing::RoutingKind;
use crate::kubernetes::inventory::rule_kind::RuleKind;
use crate::kubernetes::inventory::rules::RuleLimits;
use crate::metrics::Metrics;

/// Interval of reads of the injectors' own rules, which change with an upgrade of the mesh.
const OWN_RULES_POLL_INTERVAL: Duration = Duration::from_secs(20);

/// Keeps the namespaces up to date.
pub async fn follow_namespaces(client: Client, inventory: Arc<Inventory>) {
    let intake = NamespaceIntake { inventory: &inventory };
    follow_kind::<_, MetadataObject>(client, &intake, Config::default()).await;
}

/// Keeps the webhook configurations up to date by which the API server calls the mesh's injectors.
pub async fn follow_injectors(client: Client, inventory: Arc<Inventory>, metrics: Metrics) {
    let intake = InjectorIntake::new(&inventory, Some(&metrics));
    follow_kind::<_, JsonObject>(client, &intake, Config::default()).await;
}

/// Keeps the injectors' own rules up to date by repeated reads, as far as they may be read.
pub async fn poll_own_rules(client: Client, inventory: Arc<Inventory>) {
    let mut known = HashMap::new();
    let mut reported = HashSet::new();
    let mut ticks = tokio::time::interval(OWN_RULES_POLL_INTERVAL);
    loop {
        ticks.tick().await;
        let Some((own_rules, failures)) = read_own_rules(&client, &inventory).await else { continue };
        for (name, why) in failures {
            if reported.insert(name) {
                info!("{why}");
            }
        }
        if own_rules != known {
            inventory.injectors.set_own_rules(own_rules.clone());
            known = own_rules;
        }
    }
}

/// Keeps the objects of one owner kind up to date.
pub async fn follow_owners(client: Client, inventory: Arc<Inventory>, kind: OwnerKind) {
    let templates = StandaloneTemplates::new(&inventory, &kind);
    match kind.read_depth {
        ReadDepth::Metadata => {
            let intake = OwnerIntake { templates: Some(&templates), ..OwnerIntake::new(&inventory, &kind) };
            tokio::select! {
                () = follow_kind::<_, MetadataObject>(client.clone(), &intake, Config::default()) => {}
                () = templates.read_unread(client) => {}
            }
        }
        ReadDepth::Spec => {
            let intake = OwnerIntake::new(&inventory, &kind);
            follow_kind::<_, WatchedWorkload>(client, &intake, Config::default()).await;
        }
    }
}

/// Keeps the routing objects of one kind up to date.
pub async fn follow_routing(client: Client, inventory: Arc<Inventory>, kind: RoutingKind) {
    let intake = RoutingIntake { inventory: &inventory, kind };
    follow_kind::<_, JsonObject>(client, &intake, Config::default()).await;
}

/// Keeps the policies or suspensions of one kind up to date.
pub async fn follow_rules(
    client: Client,
    inventory: Arc<Inventory>,
    metrics: Metrics,
    limits: RuleLimits,
    kind: RuleKind,
) {
    let intake = RuleIntake { inventory: &inventory, limits: &limits, kind, metrics: Some(&metrics) };
    follow_kind::<_, JsonObject>(client, &intake, Config::default()).await;
}

/// Keeps the objects of one kind up to date, for ever. `K` is the decoded part of an object.
pub(super) async fn follow_kind<I, K>(client: Client, intake: &I, config: Config)
where
    I: ClusterIntake,
    K: IntakeObject + Into<I::Object>,
{
    let kind = intake.kind();
    let api: Api<K> = Api::all_with(client, &kind.resource());
    let mut batch = I::Batch::default();
    let on_event = |event: Event<K>| {
        if matches!(event, Event::InitDone) {
            debug!("all {} are known", kind.plural());
        }
        if let Err(why) = intake.take_event(&mut batch, event) {
            warn!("skipped {why}; mend the object");
        }
    };
    follow(kind.plural(), watcher(api, config), on_event, |failure| intake.absent(failure)).await;
}
