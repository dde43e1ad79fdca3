//! The server in a cluster: certificates, watches, and the tasks of the one replica that leads.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Context;
use kube::Client;
use tokio::sync::watch;

use super::ServeContext;
use super::environment::{ListenAddresses, ServerEnvironment};
use crate::certs::issue::service_names;
use crate::certs::serving_key::ServingKey;
use crate::controllers;
use crate::controllers::drift::{DriftController, RepairSettings};
use crate::controllers::status::TransitionReporter;
use crate::decision::mesh::InjectorKind;
use crate::features::backend::Backend;
use crate::kernel::clock::Clock;
use crate::kernel::names::SERVICE;
use crate::kubernetes::client;
use crate::kubernetes::client::access::ClusterAccess;
use crate::kubernetes::client::certificates::{CertificateKeeper, CertificateLocation};
use crate::kubernetes::client::events::EventPublisher;
use crate::kubernetes::client::evictions::EvictionClient;
use crate::kubernetes::client::lease::LeaderElector;
use crate::kubernetes::client::lease::election::LeaseTiming;
use crate::kubernetes::client::lease::leadership::while_leading;
use crate::kubernetes::client::registration::Registration;
use crate::kubernetes::client::status::StatusWriter;
use crate::kubernetes::client::traffic::RouteWriter;
use crate::kubernetes::intake::pods::follow_pods_on_demand;
use crate::kubernetes::intake::read::short_reads;
use crate::kubernetes::intake::watch::{
    follow_injectors, follow_namespaces, follow_owners, follow_routing, follow_rules, poll_own_rules,
};
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::routing::RoutingKind;
use crate::kubernetes::inventory::rule_kind::RuleKind;

/// Starts the watches of the cluster, and the controllers that run while this replica leads.
pub(super) async fn start(context: &mut ServeContext) -> anyhow::Result<ServerEnvironment> {
    let client =
        client::client().await.context("cannot find a cluster: run `serve --embedded` to serve without one")?;
    let key = start_certificates(context, &client).await?;
    start_watches(context, &client);
    start_leader_tasks(context, &client).await?;
    let backend = Backend::Cluster(Box::new(ClusterAccess::new(client.clone()).await?));
    let reads = short_reads(client, Arc::clone(&context.inventory));
    Ok(ServerEnvironment {
        backend,
        reads: Some(reads),
        key,
        addresses: ListenAddresses::with_default_host(Ipv4Addr::UNSPECIFIED, &context.args),
    })
}

/// Keeps the certificates, and the registration that names their authorities.
async fn start_certificates(context: &mut ServeContext, client: &Client) -> anyhow::Result<ServingKey> {
    let ServeContext { args, clock, metrics, .. } = context;
    let (clock, metrics) = (clock.clone(), metrics.clone());
    let namespace = args.decision_args.namespace.clone();
    let location = CertificateLocation { names: service_names(SERVICE, &namespace), namespace };
    let keeper = CertificateKeeper::start(client.clone(), location, clock.clone(), metrics.clone()).await?;
    let key = keeper.key();
    let (trusted_sender, trusted) = watch::channel(keeper.trusted_authorities());
    let (published, published_now) = watch::channel(None);
    context.spawn_until_drained("certificates", keeper.run(trusted_sender, published_now));
    let registration = Registration { trusted, published, clock, metrics };
    context.spawn_until_drained("registration", registration.run(client.clone()));
    Ok(key)
}

/// Follows everything that decisions depend on.
fn start_watches(context: &mut ServeContext, client: &Client) {
    let client = || client.clone();
    let (inventory, metrics) = (Arc::clone(&context.inventory), context.metrics.clone());
    let inventory = || Arc::clone(&inventory);
    context.spawn_until_drained("namespaces", follow_namespaces(client(), inventory()));
    if context.injector() != InjectorKind::Unread {
        context.spawn_until_drained("injectors", follow_injectors(client(), inventory(), metrics.clone()));
        context.spawn_until_drained("injectors' rules", poll_own_rules(client(), inventory()));
    }
    for kind in inventory().owner_kinds.iter() {
        context.spawn_until_drained("owners", follow_owners(client(), inventory(), kind.clone()));
    }
    if context.routes_traffic() {
        for kind in RoutingKind::ALL {
            context.spawn_until_drained(kind.plural(), follow_routing(client(), inventory(), kind));
        }
    }
    let limits = context.args.decision_args.rule_limits();
    for kind in RuleKind::ALL {
        let rules = follow_rules(client(), inventory(), metrics.clone(), limits, kind);
        context.spawn_until_drained(kind.as_str(), rules);
    }
    context.spawn_until_drained("pods", follow_pods_on_demand(client(), inventory(), metrics));
}

/// Starts the controllers. Work of only one replica is a task too, for as long as the replica leads.
async fn start_leader_tasks(context: &mut ServeContext, client: &Client) -> anyhow::Result<()> {
    let (namespace, pod_name) = (&context.args.decision_args.namespace, &context.args.pod_name);
    let (timing, leader) = (LeaseTiming::default(), context.metrics.leader.clone());
    let elector = LeaderElector::new(client.clone(), namespace, pod_name, timing, context.clock.clone(), leader);
    let events = EventPublisher::new(client.clone(), namespace, pod_name);
    let reporter = TransitionReporter { events: events.clone(), audit: context.audit.clone() };
    let status = (StatusWriter::new(client.clone()), reporter);
    context.spawn_while_leading(&elector, "status", status, |inventory, clock, (writer, reporter)| {
        controllers::status::run(inventory, clock, writer, reporter)
    });
    if context.routes_traffic() {
        let traffic = (RouteWriter::new(client.clone()), context.audit.clone());
        context.spawn_while_leading(&elector, "traffic", traffic, |inventory, clock, (routes, audit)| {
            controllers::traffic::run(inventory, clock, routes, audit)
        });
    }
    // Without knowledge of the injector there is no drift.
    if !context.args.drift.no_drift && context.injector() != InjectorKind::Unread {
        let repairing = repair_settings(context).await?;
        let controller = DriftController { events: Some(events.clone()), repairing, ..context.drift_controller() };
        context.spawn_while_leading(&elector, "drift", controller, controllers::drift::run);
    }
    context.spawn_while_leading(&elector, "order", events, |inventory, _, events| {
        controllers::webhook_order::run(inventory, events)
    });
    context.tasks.spawn("lease", elector.run(context.tasks.stop_token()));
    Ok(())
}

async fn repair_settings(context: &ServeContext) -> anyhow::Result<Option<RepairSettings>> {
    let drift = &context.args.drift;
    if !drift.repair_drift {
        return Ok(None);
    }
    Ok(Some(RepairSettings { per_minute: drift.repair_per_minute, evictions: EvictionClient::connect().await? }))
}

impl ServeContext {
    fn injector(&self) -> InjectorKind {
        self.args.decision_args.mesh.injector
    }

    /// Returns whether the mesh has services whose traffic can be suspended.
    fn routes_traffic(&self) -> bool {
        matches!(self.injector(), InjectorKind::Istio { .. })
    }

    /// Starts a task that lasts until the last review is answered: a suspension of that moment counts.
    fn spawn_until_drained(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_until(self.drained.clone(), name, task);
    }

    /// Starts a task that runs `start` with these parts whenever this replica begins to lead.
    fn spawn_while_leading<P, F>(
        &mut self,
        elector: &LeaderElector,
        name: &'static str,
        parts: P,
        start: impl Fn(Arc<Inventory>, Clock, P) -> F + Send + 'static,
    ) where
        P: Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (inventory, clock) = (Arc::clone(&self.inventory), self.clock.clone());
        let start_again = move || start(Arc::clone(&inventory), clock.clone(), parts.clone());
        self.tasks.spawn_until_stopped(name, while_leading(elector.leadership(), start_again));
    }
}
