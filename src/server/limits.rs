//! Limits of a listener and its endpoint.
//!
//! Two limits are not settings: TLS 1.2 is the oldest version spoken, and a request has at most 100 header fields
//! (hyper's own bound; choosing another costs an allocation per request).
//!
//! Memory: the defaults fit the limit that `outrigger install` prints, 352 MiB, even at the worst. The inventory of a
//! large cluster takes 100, bodies in flight 40, the facts from the one large body at a time 45, connections 70. An
//! idle connection takes 25 KiB, most of it for TLS; one whose head was refused takes up to 70 KiB. An API server that
//! created 2,000 pods for 200 clients opened 1,214 connections, not at once. The API may take the other 97;
//! `api::limits` sums them up.

use std::time::Duration;

/// Limits of a listener and its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum of open connections. Beyond it, a newcomer replaces the connection that has been unfinished or idle
    /// longest.
    pub connections: usize,
    /// Time from accepting a connection to the end of its TLS handshake.
    pub handshake_timeout: Duration,
    /// Time from the first byte of a request to the end of its header fields.
    pub head_timeout: Duration,
    /// Time from the end of the header fields to the end of the body.
    pub body_timeout: Duration,
    /// Time between two requests. The API server closes an idle connection after 90 s and must be the first to do so:
    /// a request that it sends while we close fails.
    pub idle_timeout: Duration,
    /// Time without progress for a client that does not read its answer.
    pub write_timeout: Duration,
    /// Time for the client to read the last answer of a connection and to close.
    pub linger: Duration,
    /// Maximum bytes of the request line and the header fields.
    pub head_bytes: usize,
    /// Maximum bytes of one body. An object of 3 MiB can grow several times in JSON: `<` becomes `\u003c`.
    pub body_bytes: usize,
    /// Maximum bytes of all bodies held at once. Beyond it the answer is 503. For bodies that are not small, the limit
    /// is three quarters of this, so that a few huge ones cannot keep the usual ones out.
    pub body_bytes_in_flight: usize,
    /// Requests per connection. The last answer says `Connection: close`, and the API server chooses a replica anew.
    pub requests_per_connection: u32,
    /// Age after which an answer says `Connection: close`, give or take a fifth, so that not all clients come back at
    /// once.
    pub connection_age: Duration,
    /// Time from the signal to stop until no connection is accepted any more: as long as the cluster may take to hear
    /// of it.
    pub drain: Duration,
    /// Time after the drain for requests that are still being answered.
    pub finish: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            handshake_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            write_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            head_bytes: 8 * 1024,
            body_bytes: 20 * 1024 * 1024,
            body_bytes_in_flight: 40 * 1024 * 1024,
            requests_per_connection: 10_000,
            connection_age: Duration::from_secs(300),
            drain: Duration::from_secs(15),
            finish: Duration::from_secs(3),
        }
    }
}
