//! Listeners over real sockets: each limit, TLS, the drain, and the refusals for webhook clients.

mod client;
mod connections;
mod drain;
mod refusals;
mod slow_clients;
mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::request::Parts;
use jiff::{SignedDuration, Timestamp};
use outrigger::certs::bundle::AuthorityBundle;
use outrigger::certs::issue::{self, CertificatePair};
use outrigger::certs::serving_key::ServingKey;
use outrigger::server::endpoint::{FullResponse, WebhookEndpoint, json_response};
use outrigger::server::limits::Limits;
use outrigger::server::listener::Listener;
use outrigger::server::listener_state::Peer;
use outrigger::server::tls::{ClientCertificates, server_config};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use client::TestClient;

/// Shorter than the patience of a test, longer than a loopback answer takes on a busy machine.
const SHORT: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(20);

/// Awaits a future that must complete soon.
async fn soon<T>(happens: impl Future<Output = T>) -> T {
    timeout(PATIENCE, happens).await.expect("it should have happened long ago")
}

/// Settings of a test server. No default limit expires within the patience of a test.
struct ServerSetup {
    limits: Limits,
    clients: ClientCertificates,
}

fn webhook() -> ServerSetup {
    let patient = 10 * PATIENCE;
    let limits = Limits {
        handshake_timeout: patient,
        head_timeout: patient,
        body_timeout: patient,
        idle_timeout: patient,
        write_timeout: patient,
        linger: patient,
        connection_age: patient,
        drain: patient,
        finish: patient,
        ..Limits::default()
    };
    ServerSetup { limits, clients: ClientCertificates::NotRequested }
}

impl ServerSetup {
    fn with(mut self, set: impl FnOnce(&mut Limits)) -> Self {
        set(&mut self.limits);
        self
    }

    fn with_clients(self, clients: ClientCertificates) -> Self {
        Self { clients, ..self }
    }

    fn start(self) -> TestServer {
        let Self { limits, clients } = self;
        let authority = issue::issue_authority(now(), SignedDuration::from_hours(24)).expect("an authority");
        let pair = leaf(&authority);
        let key = ServingKey::new(&pair).expect("the pair was just issued");
        let config = server_config(key.clone(), &clients).expect("the authorities are good");
        let listener = Listener::bind("webhook", loopback(), limits.clone()).expect("a free port").with_tls(config);
        let (address, counts) = (listener.address(), listener.counts());
        let (stopping, waiting, released) =
            (CancellationToken::new(), Arc::<Notify>::default(), Arc::<Notify>::default());
        let handler = handler(waiting.clone(), released.clone());
        let endpoint = Arc::new(WebhookEndpoint::new("/mutate", &limits, handler));
        let mut running = JoinSet::new();
        running.spawn(listener.serve(move |peer| endpoint.service(peer), stopping.clone()));
        TestServer { address, authority, key, counts, stopping, waiting, released, running }
    }
}

/// Webhook server that runs until it is dropped.
struct TestServer {
    address: SocketAddr,
    authority: CertificatePair,
    key: ServingKey,
    counts: Arc<outrigger::server::listener_state::ListenerCounts>,
    stopping: CancellationToken,
    waiting: Arc<Notify>,
    released: Arc<Notify>,
    running: JoinSet<()>,
}

impl TestServer {
    async fn connect(&self) -> TestClient {
        TestClient::over_tls(self.address, &self.authority).await.expect("the handshake succeeds")
    }

    /// Returns a client whose request has reached the handler and waits there to be released.
    async fn connect_and_wait(&self) -> TestClient {
        let mut client = self.connect().await;
        client.send(client::post("wait")).await.expect("the request is taken");
        soon(self.waiting.notified()).await;
        client
    }

    /// Waits for the end of the listener itself.
    async fn ended(&mut self) {
        soon(self.running.join_next()).await.expect("it was running").expect("it did not panic");
    }
}

/// Answers with the length of the body and the query; the bodies `wait`, `panic` and `flood` do as they say.
fn handler(
    waiting: Arc<Notify>,
    released: Arc<Notify>,
) -> impl Fn(Parts, Bytes, Peer) -> BoxFuture<'static, FullResponse> {
    move |head, body, peer| {
        let (waiting, released) = (waiting.clone(), released.clone());
        Box::pin(async move {
            match &body[..] {
                b"wait" => {
                    waiting.notify_one();
                    released.notified().await;
                }
                b"panic" => panic!("as the test asked"),
                b"flood" => return json_response(vec![b' '; 32 << 20]),
                _ => {}
            }
            let (query, verified) = (head.uri.query().unwrap_or_default(), peer.verified);
            json_response(format!("{} bytes, {query:?}, verified {verified}", body.len()).into_bytes())
        })
    }
}

fn leaf(authority: &CertificatePair) -> CertificatePair {
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    issue::issue_leaf(authority, &names, now(), SignedDuration::from_hours(12)).expect("a leaf")
}

fn bundle(authority: &CertificatePair) -> AuthorityBundle {
    AuthorityBundle::from_pem(&authority.certificate_pem).expect("the authority was just issued")
}

/// Returns the machine's time, because the TLS library uses that.
fn now() -> Timestamp {
    outrigger::kernel::clock::Clock::System.now()
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
