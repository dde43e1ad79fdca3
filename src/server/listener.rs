//! A listening socket: bind it, serve on it, drain it.
//!
//! While it drains it still accepts and answers, with `Connection: close`: until the cluster has heard that this replica
//! is leaving, requests keep coming, over new connections and over kept ones.

use crate::server::shared::{Counts, Peer, Shared, count};
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use rustls::ServerConfig;
use tokio::net::TcpSocket;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::accept::Acceptor;
use super::activity::Activity;
use super::connection::Connection;
use super::connections::Connections;
use super::limits::Limits;

// The kernel's queue of connections not yet accepted: a burst of pods comes as a burst of connections.
const BACKLOG: u32 = 4096;

/// A bound socket that does not serve yet.
#[derive(Debug)]
pub struct Listener {
    name: &'static str,
    address: SocketAddr,
    acceptor: Acceptor,
    tls: Option<Arc<ServerConfig>>,
    shared: Arc<Shared>,
}

/// Why a listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address} ({name}): {cause}")]
pub struct BindError {
    name: &'static str,
    address: SocketAddr,
    cause: io::Error,
}

impl Listener {
    /// Binds a socket for plain HTTP; needs a runtime. From here on the kernel queues connections.
    ///
    /// # Errors
    ///
    /// When the address is taken or not ours.
    pub fn bind(name: &'static str, address: SocketAddr, limits: Limits) -> Result<Self, BindError> {
        let failed = |cause| BindError { name, address, cause };
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
        socket.set_reuseaddr(true).map_err(failed)?;
        // Accepted sockets inherit it. A stream that nobody reads any more would otherwise stay for ever.
        socket.set_keepalive(true).map_err(failed)?;
        socket.bind(address).map_err(failed)?;
        let socket = socket.listen(BACKLOG).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared { limits, counts: Arc::default(), draining: AtomicBool::new(false) });
        Ok(Self { name, address, acceptor: Acceptor::new(socket), tls: None, shared })
    }

    /// The same listener speaking TLS.
    #[must_use]
    pub fn with_tls(self, config: Arc<ServerConfig>) -> Self {
        Self { tls: Some(config), ..self }
    }

    /// Where it listens; the port is the real one when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What happens on it, to be read at any time.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        self.shared.counts.clone()
    }

    /// Serves each connection with what `service_for` makes for it, until `stopping` is cancelled and the drain is over.
    ///
    /// Dropping the future closes everything at once.
    pub async fn serve<M, S, B>(self, service_for: M, stopping: CancellationToken)
    where
        M: Fn(Peer) -> S + Send + Sync + 'static,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Self { name, address, mut acceptor, tls, shared } = self;
        let limits = &shared.limits;
        let mut connections = Connections::default();
        let service_for = Arc::new(service_for);
        info!(%address, "{name} listens on {address}");
        let mut drained = pin!(drained(&shared, stopping));
        loop {
            tokio::select! {
                () = &mut drained => break,
                Some(()) = connections.one_ended() => count(&shared.counts.ended),
                accepted = acceptor.accept() => {
                    // Without an accepted one, descriptors have run out, and one of ours frees the next.
                    let room = accepted.is_some() && connections.len() < limits.connections;
                    let room = room || give_one_up(&mut connections, &shared);
                    if let Some((socket, peer)) = accepted && room {
                        let number = shared.counts.accepted.fetch_add(1, Relaxed);
                        let activity = Arc::new(Activity::new(number, limits));
                        let connection = Connection { peer, tls: tls.clone(), shared: shared.clone(), activity: activity.clone() };
                        connections.spawn(activity, connection.serve(socket, service_for.clone()));
                    }
                }
            }
        }
        drop(acceptor);
        connections.close_idle();
        let finished = timeout(limits.finish, async { while connections.one_ended().await.is_some() {} }).await;
        let unfinished = connections.len();
        debug_assert!(finished.is_err() || unfinished == 0);
        info!(%address, unfinished, "{name} has drained");
    }
}

async fn drained(shared: &Shared, stopping: CancellationToken) {
    stopping.cancelled().await;
    shared.draining.store(true, Relaxed);
    tokio::time::sleep(shared.limits.drain).await;
}

fn give_one_up(connections: &mut Connections, shared: &Shared) -> bool {
    let given_up = connections.give_one_up(Instant::now());
    if given_up {
        count(&shared.counts.given_up);
    }
    given_up
}
