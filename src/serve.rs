//! `outrigger serve`: composes the server, in a cluster or without one.

use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use http::StatusCode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::admission::{AuditEntryIds, Reviewer};
use crate::api::{self, ApiState};
use crate::audit::{self, AuditDestination};
use crate::certs::bundle::AuthorityBundle;
use crate::certs::issue::service_names;
use crate::cli::certs::{ensure_identity, loopback_names, write_private};
use crate::cli::decision_args::DecisionArgs;
use crate::cli::drift_args::DriftArgs;
use crate::cli::sample;
use crate::controllers;
use crate::controllers::drift::{DriftController, RepairSettings};
use crate::controllers::status::TransitionReporter;
use crate::decision::mesh::InjectorKind;
use crate::features::backend::Backend;
use crate::kernel::clock::Clock;
use crate::kernel::ids::fresh_id;
use crate::kernel::names::SERVICE;
use crate::kubernetes::client;
use crate::kubernetes::client::access::{BearerToken, ClusterAccess};
use crate::kubernetes::client::certificates::{CertificateKeeper, CertificateLocation};
use crate::kubernetes::client::events::EventPublisher;
use crate::kubernetes::client::evictions::EvictionClient;
use crate::kubernetes::client::lease::LeaderElector;
use crate::kubernetes::client::lease::election::LeaseTiming;
use crate::kubernetes::client::lease::leadership::while_leading;
use crate::kubernetes::client::registration::Registration;
use crate::kubernetes::client::status::StatusWriter;
use crate::kubernetes::client::traffic::RouteWriter;
use crate::kubernetes::intake::files;
use crate::kubernetes::intake::files::store::FileStore;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::reads::ShortReads;
use crate::kubernetes::inventory::routing::RoutingKind;
use crate::kubernetes::inventory::rule_kind::RuleKind;
use crate::metrics::Metrics;
use crate::server::endpoint::{WebhookEndpoint, json_response, refusal_response};
use crate::server::limits::Limits;
use crate::server::listener::Listener;
use crate::server::operations::OperationsEndpoint;
use crate::server::tls::{ClientCertificates, ServingKey, server_config};
use crate::tasks::Tasks;

/// Options of `outrigger serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Serve without a cluster, from a directory of Kubernetes objects in YAML; from the built-in sample if none is given
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    embedded: Option<Option<PathBuf>>,
    /// Where the API server asks [default: 0.0.0.0:9443; embedded 127.0.0.1:9443]
    #[arg(long, value_name = "ADDRESS")]
    webhook_listen: Option<SocketAddr>,
    /// Where /livez, /readyz and /metrics are answered, without TLS [default: 0.0.0.0:8080; embedded 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    operations_listen: Option<SocketAddr>,
    /// Where people and their programs ask, by TLS [default: 0.0.0.0:8443; embedded 127.0.0.1:8443]
    #[arg(long, value_name = "ADDRESS")]
    api_listen: Option<SocketAddr>,
    /// The file of the token that the API takes in embedded mode, made at the first start [default: token in --cert-dir]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The directory of the certificates in embedded mode; in a cluster they are kept in a Secret
    #[arg(long, default_value = "certs", value_name = "DIR")]
    cert_dir: PathBuf,
    /// The file that the audit log is appended to; - is standard output
    #[arg(long, default_value = "-", value_name = "FILE")]
    audit_log: PathBuf,
    /// A file of authorities in PEM: callers must show a certificate of one of them
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// How long to go on answering after SIGTERM, in seconds: as long as the cluster may take to hear of it
    #[arg(long, default_value_t = 15, value_name = "SECONDS")]
    drain_seconds: u64,
    /// The name of this pod, which the Lease shows while it leads
    #[arg(long, env = "POD_NAME", default_value = "outrigger", value_name = "NAME")]
    pod_name: String,
    #[command(flatten)]
    drift: DriftArgs,
    #[command(flatten)]
    pub(super) decision_args: DecisionArgs,
}

/// Runs the command.
pub async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    log_to_stderr();
    // Before anything else: until then a signal would end the process in the middle of its work.
    let signals = StopSignals::listen()?;
    let clock = Clock::System;
    let mut tasks = Tasks::default();
    let (audit_log, audit_writer) = audit::audit_channel(clock.clone());
    let audit_destination = destination(&args.audit_log).open().await?;
    let metrics = Metrics::new(audit_log.lost_counter().clone());
    let inventory = Arc::new(args.decision_args.new_inventory());
    // The inventory is followed until the last review is answered: a suspension of this moment counts.
    let drained = CancellationToken::new();
    let environment = match &args.embedded {
        Some(directory) => start_embedded(&args, directory.as_deref(), &inventory, &clock, &mut tasks)?,
        None => start_in_cluster(&args, &inventory, &clock, &metrics, &audit_log, &mut tasks, &drained).await?,
    };
    let ServerEnvironment { reads, key, addresses, backend } = environment;
    let api_audit = audit_log.clone();
    let suspension_audit = audit_log.clone();
    let suspension_audit = args.embedded.is_some().then_some(suspension_audit);
    let suspensions =
        controllers::suspension_watch::run(Arc::clone(&inventory), clock.clone(), metrics.clone(), suspension_audit);
    tasks.spawn_until_stopped("suspensions", suspensions);
    if args.embedded.is_some() && !args.drift.no_drift {
        let controller = args.drift_controller(&metrics, &audit_log);
        tasks.spawn_until_stopped("drift", controllers::drift::run(Arc::clone(&inventory), clock.clone(), controller));
    }
    let reviewer = Arc::new(Reviewer {
        inventory: Arc::clone(&inventory),
        reads,
        clock: clock.clone(),
        audit: Some(audit_log),
        metrics: metrics.clone(),
        entries: AuditEntryIds::for_process(format!("{:x}", clock.now().as_microsecond())),
    });
    let limits = Limits { drain: Duration::from_secs(args.drain_seconds), ..Limits::default() };
    let stop_timeout = limits.drain + limits.finish + Duration::from_secs(7);
    // People authenticate with tokens, not with certificates.
    let api_tls = server_config(key.clone(), &ClientCertificates::NotRequested)?;
    let webhook_tls = server_config(key, &client_certificates(args.client_ca.as_deref())?)?;
    let webhook = Listener::bind("webhook", addresses.webhook, limits.clone())?.with_tls(webhook_tls);
    // Probes and metrics need few connections.
    let operations_limits = Limits { connections: 64, ..limits.clone() };
    let operations = Listener::bind("operations", addresses.operations, operations_limits)?;
    if args.embedded.is_some() {
        print_webhook_help(&args.cert_dir, webhook.address(), operations.address())?;
    }
    let api_limits = Limits { connections: 512, ..limits.clone() };
    let api = Listener::bind("api", addresses.api, api_limits)?.with_tls(api_tls);
    if args.embedded.is_some() {
        print_api_help(&args, api.address());
    }
    let api_state = ApiState::new(
        Arc::clone(&inventory),
        args.decision_args.rule_limits(),
        clock.clone(),
        api_audit,
        backend,
        metrics.clone(),
    );
    let api_state = Arc::new(api_state);
    let router = api::router(Arc::clone(&api_state));
    let serving_api = api.serve(move |peer| api::connection_service(router.clone(), peer), tasks.stop_token());
    tasks.spawn("api", async move {
        serving_api.await;
        api_state.settle().await;
    });
    let operations_endpoint = Arc::new(OperationsEndpoint { inventory, metrics, stopping: tasks.stop_token() });
    tasks.spawn("operations", operations.serve(move |_| operations_endpoint.service(), tasks.stop_token()));
    let webhook_endpoint = Arc::new(WebhookEndpoint::new("/mutate", &limits, move |_, body, peer| {
        let reviewer = Arc::clone(&reviewer);
        async move {
            match reviewer.review(&body, peer.verified).await {
                Ok(answer) => json_response(answer),
                Err(bad) => refusal_response(StatusCode::BAD_REQUEST, bad.to_string()),
            }
        }
    }));
    let serving_reviews = webhook.serve(move |peer| webhook_endpoint.service(peer), tasks.stop_token());
    tasks.spawn("webhook", async move {
        let _cancel_when_drained = drained.drop_guard();
        serving_reviews.await;
    });
    tasks.spawn("audit log", audit_writer.run(audit_destination));
    let stop = CancellationToken::new();
    tokio::select! {
        ended = tasks.run_until(stop.clone().cancelled_owned(), stop_timeout) => ended.map(|()| ExitCode::SUCCESS).map_err(Into::into),
        () = signals.wait_for_second(&stop) => Ok(ExitCode::from(130)),
    }
}

/// Parts of the server that differ between a cluster and no cluster.
struct ServerEnvironment {
    reads: Option<ShortReads>,
    key: ServingKey,
    addresses: ListenAddresses,
    backend: Backend,
}

/// Addresses of the three listeners.
struct ListenAddresses {
    api: SocketAddr,
    webhook: SocketAddr,
    operations: SocketAddr,
}

impl ListenAddresses {
    fn with_default_host(host: Ipv4Addr, args: &ServeArgs) -> Self {
        Self {
            api: args.api_listen.unwrap_or_else(|| (host, 8443).into()),
            webhook: args.webhook_listen.unwrap_or_else(|| (host, 9443).into()),
            operations: args.operations_listen.unwrap_or_else(|| (host, 8080).into()),
        }
    }
}

/// Fills the inventory from a directory, or from the built-in sample.
fn start_embedded(
    args: &ServeArgs,
    directory: Option<&Path>,
    inventory: &Arc<Inventory>,
    clock: &Clock,
    tasks: &mut Tasks,
) -> anyhow::Result<ServerEnvironment> {
    let rule_limits = args.decision_args.rule_limits();
    let objects = match directory {
        Some(directory) => files::read_objects(directory)?,
        None => files::parse_objects(files::SAMPLE).map_err(anyhow::Error::msg).context("the built-in sample")?,
    };
    files::replace_all(inventory, &rule_limits, &objects).iter().for_each(|problem| warn!("{problem}"));
    let store = FileStore::new(directory.map(Path::to_owned), Arc::clone(inventory), rule_limits, clock.clone());
    if let Some(directory) = directory {
        let reload =
            files::reload::follow_directory(directory.to_owned(), store.clone(), Arc::clone(inventory), rule_limits);
        tasks.spawn_until_stopped("files", reload);
    }
    let identity = ensure_identity(&args.cert_dir, &loopback_names(), clock)?;
    let token = ensure_token(&args.token_path())?;
    Ok(ServerEnvironment {
        backend: Backend::Files(store, token),
        reads: None,
        key: ServingKey::new(&identity.leaf)?,
        addresses: ListenAddresses::with_default_host(Ipv4Addr::LOCALHOST, args),
    })
}

/// Starts the watches of the cluster, and the controllers that run while this replica leads.
async fn start_in_cluster(
    args: &ServeArgs,
    inventory: &Arc<Inventory>,
    clock: &Clock,
    metrics: &Metrics,
    audit: &audit::AuditLog,
    tasks: &mut Tasks,
    drained: &CancellationToken,
) -> anyhow::Result<ServerEnvironment> {
    let client = client::client().await.context("cannot serve a cluster; `serve --embedded` does without one")?;
    let (namespace, names) = (&args.decision_args.namespace, service_names(SERVICE, &args.decision_args.namespace));
    let location = CertificateLocation { namespace: namespace.clone(), names };
    let certificates = CertificateKeeper::start(client.clone(), location, clock.clone(), metrics.clone()).await?;
    let key = certificates.key();
    let (trusted_sender, trusted) = watch::channel(certificates.trusted_authorities());
    let (published, published_now) = watch::channel(None);
    tasks.spawn_until(drained.clone(), "certificates", certificates.run(trusted_sender, published_now));
    let registration = Registration { trusted, published, clock: clock.clone(), metrics: metrics.clone() };
    tasks.spawn_until(drained.clone(), "registration", registration.run(client.clone()));
    tasks.spawn_until(
        drained.clone(),
        "namespaces",
        crate::kubernetes::intake::watch::follow_namespaces(client.clone(), Arc::clone(inventory)),
    );
    if args.decision_args.mesh.injector != InjectorKind::Unread {
        let injectors =
            crate::kubernetes::intake::watch::follow_injectors(client.clone(), Arc::clone(inventory), metrics.clone());
        tasks.spawn_until(drained.clone(), "injectors", injectors);
        let rules = crate::kubernetes::intake::watch::poll_own_rules(client.clone(), Arc::clone(inventory));
        tasks.spawn_until(drained.clone(), "injectors' rules", rules);
    }
    for kind in inventory.owner_kinds.iter() {
        let owners =
            crate::kubernetes::intake::watch::follow_owners(client.clone(), Arc::clone(inventory), kind.clone());
        tasks.spawn_until(drained.clone(), "owners", owners);
    }
    if matches!(args.decision_args.mesh.injector, InjectorKind::Istio { .. }) {
        for kind in RoutingKind::ALL {
            let routing = crate::kubernetes::intake::watch::follow_routing(client.clone(), Arc::clone(inventory), kind);
            tasks.spawn_until(drained.clone(), kind.plural(), routing);
        }
    }
    for kind in RuleKind::ALL {
        let (inventory, metrics) = (Arc::clone(inventory), metrics.clone());
        let rules = crate::kubernetes::intake::watch::follow_rules(
            client.clone(),
            inventory,
            metrics,
            args.decision_args.rule_limits(),
            kind,
        );
        tasks.spawn_until(drained.clone(), kind.as_str(), rules);
    }
    let (timing, leader) = (LeaseTiming::default(), metrics.leader.clone());
    let elector = LeaderElector::new(client.clone(), namespace, &args.pod_name, timing, clock.clone(), leader);
    // Work of only one replica is a task too, for as long as the replica leads.
    let events = EventPublisher::new(client.clone(), namespace, &args.pod_name);
    let reporter = TransitionReporter { events: events.clone(), audit: audit.clone() };
    let (writer, own_inventory, own_clock) = (StatusWriter::new(client.clone()), Arc::clone(inventory), clock.clone());
    let status = move || {
        controllers::status::run(Arc::clone(&own_inventory), own_clock.clone(), writer.clone(), reporter.clone())
    };
    tasks.spawn_until_stopped("status", while_leading(elector.leadership(), status));
    if matches!(args.decision_args.mesh.injector, InjectorKind::Istio { .. }) {
        let (routes, own_inventory, own_clock) =
            (RouteWriter::new(client.clone()), Arc::clone(inventory), clock.clone());
        let audit = audit.clone();
        let traffic = move || {
            controllers::traffic::run(Arc::clone(&own_inventory), own_clock.clone(), routes.clone(), audit.clone())
        };
        tasks.spawn_until_stopped("traffic", while_leading(elector.leadership(), traffic));
    }
    let pods =
        crate::kubernetes::intake::pods::follow_pods_on_demand(client.clone(), Arc::clone(inventory), metrics.clone());
    tasks.spawn_until(drained.clone(), "pods", pods);
    // Without knowledge of the injector there is no drift.
    if !args.drift.no_drift && args.decision_args.mesh.injector != InjectorKind::Unread {
        let (own_inventory, own_clock) = (Arc::clone(inventory), clock.clone());
        let repairing = match args.drift.repair_drift {
            true => {
                let (per_minute, evictions) = (args.drift.repair_per_minute, EvictionClient::connect().await?);
                Some(RepairSettings { per_minute, evictions })
            }
            false => None,
        };
        let controller =
            DriftController { events: Some(events.clone()), repairing, ..args.drift_controller(metrics, audit) };
        let drift = move || controllers::drift::run(Arc::clone(&own_inventory), own_clock.clone(), controller.clone());
        tasks.spawn_until_stopped("drift", while_leading(elector.leadership(), drift));
    }
    let own_inventory = Arc::clone(inventory);
    let webhook_order = move || controllers::webhook_order::run(Arc::clone(&own_inventory), events.clone());
    tasks.spawn_until_stopped("order", while_leading(elector.leadership(), webhook_order));
    tasks.spawn("lease", elector.run(tasks.stop_token()));
    let backend = Backend::Cluster(Box::new(ClusterAccess::new(client.clone()).await?));
    let reads = crate::kubernetes::intake::read::short_reads(client, Arc::clone(inventory));
    Ok(ServerEnvironment {
        backend,
        reads: Some(reads),
        key,
        addresses: ListenAddresses::with_default_host(Ipv4Addr::UNSPECIFIED, args),
    })
}

impl ServeArgs {
    /// Returns a drift controller that only reports: it writes no events and repairs nothing.
    fn drift_controller(&self, metrics: &Metrics, audit: &audit::AuditLog) -> DriftController {
        DriftController {
            interval: self.drift.drift_interval,
            metrics: metrics.clone(),
            audit: audit.clone(),
            events: None,
            repairing: None,
        }
    }

    fn token_path(&self) -> PathBuf {
        self.token_file.clone().unwrap_or_else(|| self.cert_dir.join("token"))
    }
}

/// Loads the token from this file; makes one if the file does not exist. Refuses a file that others can read.
fn ensure_token(path: &Path) -> anyhow::Result<BearerToken> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            bail!(
                "others can read the token in {}; say chmod 600 {0}, or remove it and a new one is made",
                path.display()
            )
        }
        Ok(_) => {
            let token = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            ensure!(token.trim().len() >= 32, "{} holds no token; remove it, and one is made", path.display());
            Ok(BearerToken::new(token.trim()))
        }
        Err(_) => {
            let token = format!("{}{}", fresh_id(), fresh_id()).replace('-', "");
            write_private(path, &token).with_context(|| format!("cannot write the token to {}", path.display()))?;
            Ok(BearerToken::new(&token))
        }
    }
}

/// Prints how to call the API. The token itself is not shown.
fn print_api_help(args: &ServeArgs, api: SocketAddr) {
    let (authority, token) = (args.cert_dir.join("ca.crt"), args.token_path());
    eprintln!(
        "\nThe page is at https://{api}/, and the API beside it; both take the token in {token}:\n\n  curl --cacert {authority} -H \"Authorization: Bearer $(cat {token})\" \
         https://{api}/api/v1/overview",
        authority = authority.display(),
        token = token.display(),
    );
    if matches!(args.embedded, Some(None)) {
        eprintln!("Suspensions are kept in memory only; give a directory to keep them.");
    }
}

fn client_certificates(authorities: Option<&Path>) -> anyhow::Result<ClientCertificates> {
    let Some(path) = authorities else { return Ok(ClientCertificates::NotRequested) };
    let pem = std::fs::read_to_string(path).with_context(|| format!("cannot read --client-ca {}", path.display()))?;
    let bundle = AuthorityBundle::from_pem(&pem).with_context(|| format!("--client-ca {}", path.display()))?;
    Ok(ClientCertificates::Required(bundle))
}

fn destination(path: &Path) -> AuditDestination {
    if path == Path::new("-") { AuditDestination::Stdout } else { AuditDestination::File(path.to_owned()) }
}

/// Sends logs to standard error: standard output is for the audit log alone.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
}

/// Signals that ask a process to end.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Cancels `stop` at the first SIGTERM or SIGINT, and completes at the second.
    async fn wait_for_second(mut self, stop: &CancellationToken) {
        self.next().await;
        info!("draining; a second signal ends this at once");
        stop.cancel();
        self.next().await;
    }

    async fn next(&mut self) {
        tokio::select! { _ = self.terminate.recv() => {}, _ = self.interrupt.recv() => {} }
    }
}

/// Writes the sample review, and prints how to send it to the webhook.
fn print_webhook_help(cert_dir: &Path, webhook: SocketAddr, operations: SocketAddr) -> anyhow::Result<()> {
    let review = cert_dir.join("sample-review.json");
    write_private(&review, sample::REVIEW).with_context(|| format!("cannot write {}", review.display()))?;
    eprintln!(
        "\nOutrigger serves without a cluster. Ask it about a pod, as an API server would:\n\n  \
         curl --cacert {} -H 'Content-Type: application/json' --data @{} https://{webhook}/mutate\n\n\
         The answer's patch is in base64. What it counts: curl http://{operations}/metrics\n",
        cert_dir.join("ca.crt").display(),
        review.display(),
    );
    Ok(())
}
