//! Listening socket: bind it, serve on it, drain it.
//!
//! A draining listener still accepts and answers, with `Connection: close`. Requests keep coming, over new and kept
//! connections, until the cluster has heard that this replica is leaving.

use crate::server::listener_state::{ListenerCounts, ListenerState, Peer, increment};
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

use super::accept::SocketAcceptor;
use super::activity::ConnectionActivity;
use super::connection::Connection;
use super::connections::OpenConnections;
use super::limits::Limits;

// Length of the kernel's queue of connections not yet accepted: a burst of pods comes as a burst of connections.
const BACKLOG: u32 = 4096;

/// Bound socket that does not serve yet.
#[derive(Debug)]
pub struct Listener {
    name: &'static str,
    address: SocketAddr,
    acceptor: SocketAcceptor,
    tls: Option<Arc<ServerConfig>>,
    shared: Arc<ListenerState>,
}

#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address} ({name}): {cause}")]
pub struct BindError {
    name: &'static str,
    address: SocketAddr,
    cause: io::Error,
}

impl Listener {
    /// Binds a socket for plain HTTP; needs a runtime. From then on, the kernel queues connections.
    ///
    /// # Errors
    ///
    /// If the address is taken or not ours.
    pub fn bind(name: &'static str, address: SocketAddr, limits: Limits) -> Result<Self, BindError> {
        let failed = |cause| BindError { name, address, cause };
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
        socket.set_reuseaddr(true).map_err(failed)?;
        // Accepted sockets inherit this. Without it, a stream that nobody reads any more would stay for ever.
        socket.set_keepalive(true).map_err(failed)?;
        socket.bind(address).map_err(failed)?;
        let socket = socket.listen(BACKLOG).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let shared = Arc::new(ListenerState { limits, counts: Arc::default(), draining: AtomicBool::new(false) });
        Ok(Self { name, address, acceptor: SocketAcceptor::new(socket), tls: None, shared })
    }

    /// Returns the listener with TLS.
    #[must_use]
    pub fn with_tls(self, config: Arc<ServerConfig>) -> Self {
        Self { tls: Some(config), ..self }
    }

    /// Returns the bound address, with the real port if 0 was requested.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the live counts of events on this listener.
    #[must_use]
    pub fn counts(&self) -> Arc<ListenerCounts> {
        self.shared.counts.clone()
    }

    /// Serves each connection by the service that `service_for` makes, until `stopping` is cancelled and the drain is
    /// over.
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
        let mut connections = OpenConnections::default();
        let service_for = Arc::new(service_for);
        info!(%address, "{name} listens on {address}");
        let mut drained = pin!(wait_until_drained(&shared, stopping));
        loop {
            tokio::select! {
                () = &mut drained => break,
                Some(()) = connections.next_ended() => increment(&shared.counts.ended),
                accepted = acceptor.accept() => {
                    // No accepted connection means that descriptors have run out; closing one of ours frees the next.
                    let room = accepted.is_some() && connections.len() < limits.connections;
                    let room = room || evict_one(&mut connections, &shared);
                    if let Some((socket, peer)) = accepted && room {
                        let number = shared.counts.accepted.fetch_add(1, Relaxed);
                        let activity = Arc::new(ConnectionActivity::new(number, limits));
                        let connection = Connection { peer, tls: tls.clone(), shared: shared.clone(), activity: activity.clone() };
                        connections.spawn(activity, connection.serve(socket, service_for.clone()));
                    }
                }
            }
        }
        drop(acceptor);
        connections.close_idle();
        let finished = timeout(limits.finish, async { while connections.next_ended().await.is_some() {} }).await;
        let unfinished = connections.len();
        debug_assert!(finished.is_err() || unfinished == 0);
        info!(%address, unfinished, "{name} has drained");
    }
}

async fn wait_until_drained(shared: &ListenerState, stopping: CancellationToken) {
    stopping.cancelled().await;
    shared.draining.store(true, Relaxed);
    tokio::time::sleep(shared.limits.drain).await;
}

fn evict_one(connections: &mut OpenConnections, shared: &ListenerState) -> bool {
    let evicted = connections.evict_one(Instant::now());
    if evicted {
        increment(&shared.counts.evicted);
    }
    evicted
}
