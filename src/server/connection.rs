//! Connection: serves the handshake, then the requests, until the client or a limit ends it.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use super::activity::ConnectionActivity;
use super::limits::Limits;
use super::request_tracking::track_requests;
use super::stream::{Transport, WatchedStream};
use super::tls;
use super::watchdog::Watchdog;
use crate::server::listener_state::{ListenerState, Peer, increment};

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) shared: Arc<ListenerState>,
    pub(super) activity: Arc<ConnectionActivity>,
}

impl Connection {
    pub(super) async fn serve<M, S, B>(self, socket: TcpStream, service_for: Arc<M>)
    where
        M: Fn(Peer) -> S,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Some((transport, verified)) = self.handshake(socket).await else { return };
        let Self { peer: address, tls: _, shared, activity } = self;
        activity.handshake_ended(verified);
        let stream = TokioIo::new(WatchedStream::new(transport, activity.clone()));
        let service = track_requests(service_for(Peer { address, verified }), activity.clone(), shared.clone());
        let mut connection = pin!(http_builder(&shared.limits).serve_connection(stream, service));
        let mut watchdog = Watchdog::new(&activity, &shared.limits);
        poll_fn(|context| {
            if let Poll::Ready(end) = connection.as_mut().poll(context) {
                if let Err(cause) = end {
                    debug!(peer = %address, %cause, "connection of {address} ended: {cause}");
                }
                return Poll::Ready(());
            }
            let expired = watchdog.poll_expired(context, &activity, &shared.limits);
            if expired.is_ready() {
                increment(&shared.counts.timed_out);
                debug!(peer = %address, phase = ?activity.phase(), "connection of {address} took too long");
            }
            expired
        })
        .await;
    }

    async fn handshake(&self, socket: TcpStream) -> Option<(Transport, bool)> {
        let Self { peer, tls, shared, activity: _ } = self;
        // An answer is one write. It must not wait for the acknowledgement of the one before.
        socket.set_nodelay(true).ok()?;
        let Some(config) = tls else { return Some((Transport::Plain(socket), false)) };
        let handshake = timeout(shared.limits.handshake_timeout, tls::handshake(socket, config));
        let cause = match handshake.await {
            Ok(Ok(stream)) => {
                let verified = stream.get_ref().1.peer_certificates().is_some();
                return Some((Transport::Tls(Box::new(stream)), verified));
            }
            Ok(Err(cause)) => cause,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        increment(&shared.counts.failed_handshakes);
        debug!(%peer, %cause, "handshake with {peer} failed: {cause}");
        None
    }
}

fn http_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // hyper's own head timeout also runs while a connection is idle; the watchdog distinguishes the two.
    builder.header_read_timeout(None).max_header_size(limits.head_bytes);
    // Nobody reads the date of an answer to the API server.
    builder.auto_date_header(false);
    builder
}
