//! `outrigger serve`: the composition root of the server, in a cluster or without one.

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

use crate::admission::{EntryNames, Reviewer};
use crate::api::{self, Api};
use crate::audit::{self, Destination};
use crate::certs::bundle::Bundle;
use crate::certs::issue::service_names;
use crate::cli::certs::{loopback_names, settled_in, write_private};
use crate::cli::deciding::DecidingArgs;
use crate::cli::drifting::DriftArgs;
use crate::cli::sample;
use crate::controllers;
use crate::controllers::drift::{Repairing, Watching};
use crate::controllers::status::Telling;
use crate::decision::mesh::Injector;
use crate::features::backend::Backend;
use crate::kernel::clock::Clock;
use crate::kernel::ids::fresh_id;
use crate::kernel::names::SERVICE;
use crate::kubernetes::client;
use crate::kubernetes::client::access::{Access, Token};
use crate::kubernetes::client::certificates::{Keeper, Place};
use crate::kubernetes::client::events::Events;
use crate::kubernetes::client::evictions::Evictions;
use crate::kubernetes::client::lease::Elector;
use crate::kubernetes::client::lease::election::Timing;
use crate::kubernetes::client::lease::leadership::while_leading;
use crate::kubernetes::client::registration::Registration;
use crate::kubernetes::client::status::Writer;
use crate::kubernetes::client::traffic::Routes;
use crate::kubernetes::intake::files;
use crate::kubernetes::intake::files::store::Store;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::reads::Reads;
use crate::kubernetes::inventory::routing::Kind;
use crate::kubernetes::inventory::rule_kind::RuleKind;
use crate::metrics::Metrics;
use crate::server::endpoint::{Endpoint, json, refusal};
use crate::server::limits::Limits;
use crate::server::listener::Listener;
use crate::server::operations::Operations;
use crate::server::tls::{ClientCertificates, ServingKey, server_config};
use crate::tasks::Tasks;

/// How to serve.
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
    pub(super) deciding: DecidingArgs,
}

/// Runs the command.
pub async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    log_to_stderr();
    // First of all: until then a signal would end the process in the middle of whatever it does.
    let signals = Signals::listen()?;
    let clock = Clock::System;
    let mut tasks = Tasks::default();
    let (audit_log, audit_writer) = audit::log(clock.clone());
    let audit_destination = destination(&args.audit_log).open().await?;
    let metrics = Metrics::new(audit_log.lost().clone());
    let inventory = Arc::new(args.deciding.inventory());
    // As long as reviews are answered, what they are decided from is followed: a suspension of this moment counts.
    let drained = CancellationToken::new();
    let world = match &args.embedded {
        Some(directory) => embedded(&args, directory.as_deref(), &inventory, &clock, &mut tasks)?,
        None => in_cluster(&args, &inventory, &clock, &metrics, &audit_log, &mut tasks, &drained).await?,
    };
    let World { reads, key, addresses, backend } = world;
    let api_audit = audit_log.clone();
    let told = audit_log.clone();
    let told = args.embedded.is_some().then_some(told);
    let turns = controllers::turns::keep(Arc::clone(&inventory), clock.clone(), metrics.clone(), told);
    tasks.spawn_until_stopped("suspensions", turns);
    if args.embedded.is_some() && !args.drift.no_drift {
        let watching = args.watching(&metrics, &audit_log);
        tasks.spawn_until_stopped("drift", controllers::drift::keep(Arc::clone(&inventory), clock.clone(), watching));
    }
    let reviewer = Arc::new(Reviewer {
        inventory: Arc::clone(&inventory),
        reads,
        clock: clock.clone(),
        audit: Some(audit_log),
        metrics: metrics.clone(),
        entries: EntryNames::of_process(format!("{:x}", clock.now().as_microsecond())),
    });
    let limits = Limits { drain: Duration::from_secs(args.drain_seconds), ..Limits::default() };
    let bound = limits.drain + limits.finish + Duration::from_secs(7);
    // People show tokens, and no certificates.
    let api_tls = server_config(key.clone(), &ClientCertificates::NotAsked)?;
    let tls = server_config(key, &client_certificates(args.client_ca.as_deref())?)?;
    let webhook = Listener::bind("webhook", addresses.webhook, limits.clone())?.with_tls(tls);
    // Probes and metrics need few.
    let few = Limits { connections: 64, ..limits.clone() };
    let operations = Listener::bind("operations", addresses.operations, few)?;
    if args.embedded.is_some() {
        print_what_to_try(&args.cert_dir, webhook.address(), operations.address())?;
    }
    let people = Limits { connections: 512, ..limits.clone() };
    let api = Listener::bind("api", addresses.api, people)?.with_tls(api_tls);
    if args.embedded.is_some() {
        print_how_to_ask(&args, api.address());
    }
    let answers =
        Api::new(Arc::clone(&inventory), args.deciding.terms(), clock.clone(), api_audit, backend, metrics.clone());
    let answers = Arc::new(answers);
    let router = api::router(Arc::clone(&answers));
    let answering = api.serve(move |peer| api::service(router.clone(), peer), tasks.stopping());
    tasks.spawn("api", async move {
        answering.await;
        answers.settled().await;
    });
    let answering = Arc::new(Operations { inventory, metrics, stopping: tasks.stopping() });
    tasks.spawn("operations", operations.serve(move |_| answering.service(), tasks.stopping()));
    let endpoint = Arc::new(Endpoint::new("/mutate", &limits, move |_, body, peer| {
        let reviewer = Arc::clone(&reviewer);
        async move {
            match reviewer.review(&body, peer.verified).await {
                Ok(answer) => json(answer),
                Err(bad) => refusal(StatusCode::BAD_REQUEST, bad.to_string()),
            }
        }
    }));
    let answering_reviews = webhook.serve(move |peer| endpoint.service(peer), tasks.stopping());
    tasks.spawn("webhook", async move {
        let _at_the_end = drained.drop_guard();
        answering_reviews.await;
    });
    tasks.spawn("audit log", audit_writer.run(audit_destination));
    let stop = CancellationToken::new();
    tokio::select! {
        ended = tasks.run_until(stop.clone().cancelled_owned(), bound) => ended.map(|()| ExitCode::SUCCESS).map_err(Into::into),
        () = signals.twice(&stop) => Ok(ExitCode::from(130)),
    }
}

/// What differs between a cluster and no cluster.
struct World {
    reads: Option<Reads>,
    key: ServingKey,
    addresses: Addresses,
    backend: Backend,
}

struct Addresses {
    api: SocketAddr,
    webhook: SocketAddr,
    operations: SocketAddr,
}

impl Addresses {
    fn on(host: Ipv4Addr, args: &ServeArgs) -> Self {
        Self {
            api: args.api_listen.unwrap_or_else(|| (host, 8443).into()),
            webhook: args.webhook_listen.unwrap_or_else(|| (host, 9443).into()),
            operations: args.operations_listen.unwrap_or_else(|| (host, 8080).into()),
        }
    }
}

fn embedded(
    args: &ServeArgs,
    directory: Option<&Path>,
    inventory: &Arc<Inventory>,
    clock: &Clock,
    tasks: &mut Tasks,
) -> anyhow::Result<World> {
    let terms = args.deciding.terms();
    let objects = match directory {
        Some(directory) => files::objects_in(directory)?,
        None => files::objects_of(files::SAMPLE).map_err(anyhow::Error::msg).context("the built-in sample")?,
    };
    files::fill(inventory, &terms, &objects).iter().for_each(|problem| warn!("{problem}"));
    let store = Store::new(directory.map(Path::to_owned), Arc::clone(inventory), terms, clock.clone());
    if let Some(directory) = directory {
        let following = files::reload::follow(directory.to_owned(), store.clone(), Arc::clone(inventory), terms);
        tasks.spawn_until_stopped("files", following);
    }
    let identity = settled_in(&args.cert_dir, &loopback_names(), clock)?;
    let token = settled_token(&args.token_path())?;
    Ok(World {
        backend: Backend::Files(store, token),
        reads: None,
        key: ServingKey::new(&identity.leaf)?,
        addresses: Addresses::on(Ipv4Addr::LOCALHOST, args),
    })
}

async fn in_cluster(
    args: &ServeArgs,
    inventory: &Arc<Inventory>,
    clock: &Clock,
    metrics: &Metrics,
    audit: &audit::Log,
    tasks: &mut Tasks,
    drained: &CancellationToken,
) -> anyhow::Result<World> {
    let client = client::client().await.context("cannot serve a cluster; `serve --embedded` does without one")?;
    let (namespace, names) = (&args.deciding.namespace, service_names(SERVICE, &args.deciding.namespace));
    let place = Place { namespace: namespace.clone(), names };
    let certificates = Keeper::begin(client.clone(), place, clock.clone(), metrics.clone()).await?;
    let key = certificates.key();
    let (wanted, wanted_now) = watch::channel(certificates.wanted());
    let (live, live_now) = watch::channel(None);
    tasks.spawn_until(drained.clone(), "certificates", certificates.keep(wanted, live_now));
    let registration = Registration { wanted: wanted_now, live, clock: clock.clone(), metrics: metrics.clone() };
    tasks.spawn_until(drained.clone(), "registration", registration.keep(client.clone()));
    tasks.spawn_until(
        drained.clone(),
        "namespaces",
        crate::kubernetes::intake::watch::namespaces(client.clone(), Arc::clone(inventory)),
    );
    if args.deciding.mesh.injector != Injector::Unread {
        let injectors =
            crate::kubernetes::intake::watch::injectors(client.clone(), Arc::clone(inventory), metrics.clone());
        tasks.spawn_until(drained.clone(), "injectors", injectors);
        let rules = crate::kubernetes::intake::watch::injectors_rules(client.clone(), Arc::clone(inventory));
        tasks.spawn_until(drained.clone(), "injectors' rules", rules);
    }
    for kind in inventory.owner_kinds.iter() {
        let owners = crate::kubernetes::intake::watch::owners(client.clone(), Arc::clone(inventory), kind.clone());
        tasks.spawn_until(drained.clone(), "owners", owners);
    }
    if matches!(args.deciding.mesh.injector, Injector::Istio { .. }) {
        for kind in Kind::ALL {
            let routing = crate::kubernetes::intake::watch::routing(client.clone(), Arc::clone(inventory), kind);
            tasks.spawn_until(drained.clone(), kind.plural(), routing);
        }
    }
    for kind in RuleKind::ALL {
        let (inventory, metrics) = (Arc::clone(inventory), metrics.clone());
        let rules =
            crate::kubernetes::intake::watch::rules(client.clone(), inventory, metrics, args.deciding.terms(), kind);
        tasks.spawn_until(drained.clone(), kind.as_str(), rules);
    }
    let (timing, leader) = (Timing::default(), metrics.leader.clone());
    let elector = Elector::new(client.clone(), namespace, &args.pod_name, timing, clock.clone(), leader);
    // What only one replica does is a task too, as long as it leads.
    let events = Events::new(client.clone(), namespace, &args.pod_name);
    let telling = Telling { events: events.clone(), audit: audit.clone() };
    let (writer, told, now) = (Writer::new(client.clone()), Arc::clone(inventory), clock.clone());
    let status = move || controllers::status::keep(Arc::clone(&told), now.clone(), writer.clone(), telling.clone());
    tasks.spawn_until_stopped("status", while_leading(elector.leadership(), status));
    if matches!(args.deciding.mesh.injector, Injector::Istio { .. }) {
        let (routes, told, now) = (Routes::new(client.clone()), Arc::clone(inventory), clock.clone());
        let audit = audit.clone();
        let traffic = move || controllers::traffic::keep(Arc::clone(&told), now.clone(), routes.clone(), audit.clone());
        tasks.spawn_until_stopped("traffic", while_leading(elector.leadership(), traffic));
    }
    let told = Arc::clone(inventory);
    let pods = crate::kubernetes::intake::pods::pods(client.clone(), Arc::clone(inventory), metrics.clone());
    tasks.spawn_until(drained.clone(), "pods", pods);
    // Where nobody can tell what the injector does, nothing drifts.
    if !args.drift.no_drift && args.deciding.mesh.injector != Injector::Unread {
        let (told, now) = (Arc::clone(inventory), clock.clone());
        let repairing = match args.drift.repair_drift {
            true => {
                let (per_minute, evictions) = (args.drift.repair_per_minute, Evictions::begin().await?);
                Some(Repairing { per_minute, evictions })
            }
            false => None,
        };
        let watching = Watching { events: Some(events.clone()), repairing, ..args.watching(metrics, audit) };
        let drift = move || controllers::drift::keep(Arc::clone(&told), now.clone(), watching.clone());
        tasks.spawn_until_stopped("drift", while_leading(elector.leadership(), drift));
    }
    let order = move || controllers::order::keep(Arc::clone(&told), events.clone());
    tasks.spawn_until_stopped("order", while_leading(elector.leadership(), order));
    tasks.spawn("lease", elector.run(tasks.stopping()));
    let backend = Backend::Cluster(Box::new(Access::new(client.clone()).await?));
    let reads = crate::kubernetes::intake::read::reads(client, Arc::clone(inventory));
    Ok(World { backend, reads: Some(reads), key, addresses: Addresses::on(Ipv4Addr::UNSPECIFIED, args) })
}

impl ServeArgs {
    /// How drift is looked for where nothing can be written.
    fn watching(&self, metrics: &Metrics, audit: &audit::Log) -> Watching {
        Watching {
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

/// The token in this file, which is made if it is not there. One that others can read is none.
fn settled_token(path: &Path) -> anyhow::Result<Token> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::metadata(path) {
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            bail!(
                "others can read the token in {}; say chmod 600 {0}, or remove it and a new one is made",
                path.display()
            )
        }
        Ok(_) => {
            let token = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            ensure!(token.trim().len() >= 32, "{} holds no token; remove it, and one is made", path.display());
            Ok(Token::new(token.trim()))
        }
        Err(_) => {
            let token = format!("{}{}", fresh_id(), fresh_id()).replace('-', "");
            write_private(path, &token).with_context(|| format!("cannot write the token to {}", path.display()))?;
            Ok(Token::new(&token))
        }
    }
}

/// How to ask the API; the token itself is not shown.
fn print_how_to_ask(args: &ServeArgs, api: SocketAddr) {
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
    let Some(path) = authorities else { return Ok(ClientCertificates::NotAsked) };
    let pem = std::fs::read_to_string(path).with_context(|| format!("cannot read --client-ca {}", path.display()))?;
    let bundle = Bundle::from_pem(&pem).with_context(|| format!("--client-ca {}", path.display()))?;
    Ok(ClientCertificates::Required(bundle))
}

fn destination(path: &Path) -> Destination {
    if path == Path::new("-") { Destination::Stdout } else { Destination::File(path.to_owned()) }
}

/// Logs go to standard error, so that standard output is the audit log and nothing else.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
}

/// The signals that ask a process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Cancels `stop` at the first SIGTERM or SIGINT, and completes at the second.
    async fn twice(mut self, stop: &CancellationToken) {
        self.next().await;
        info!("draining; a second signal ends this at once");
        stop.cancel();
        self.next().await;
    }

    async fn next(&mut self) {
        tokio::select! { _ = self.terminate.recv() => {}, _ = self.interrupt.recv() => {} }
    }
}

fn print_what_to_try(cert_dir: &Path, webhook: SocketAddr, operations: SocketAddr) -> anyhow::Result<()> {
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
