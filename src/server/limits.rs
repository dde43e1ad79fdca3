//! All limits of a listener and its endpoint, in one place.
//!
//! Two limits are not settings: TLS 1.2 is the oldest version spoken, and a request has at most 100 header fields
//! (hyper's own bound; choosing another costs an allocation per request).
//!
//! What the defaults can cost at the worst fits the memory limit that `outrigger install` prints, 352 MiB: 100 for what
//! is known of a large cluster, 40 for bodies in flight, 45 for what is read from the one large body at a time, and
//! 70 for connections: an idle one takes 25 KiB, most of it for TLS, one whose head was refused up to 70. An API server
//! that created 2,000 pods for 200 clients opened 1,214 connections, not at once. The API may take 70 more: half as many
//! connections, and on each a body of 64 KiB, which is read of nobody who may not.

use std::time::Duration;

/// What a client may do, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections. A newcomer then takes the place of the one that has been unfinished or idle longest.
    pub connections: usize,
    /// From accepting a connection to the end of its TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request to the end of its header fields.
    pub head_timeout: Duration,
    /// From the end of the header fields to the end of the body.
    pub body_timeout: Duration,
    /// Between two requests. The API server gives up an idle connection after 90 s and must be the first to do so:
    /// a request that it sends while we close fails.
    pub idle_timeout: Duration,
    /// For a client that does not take its answer: the time without any progress.
    pub write_timeout: Duration,
    /// After the last answer of a connection: the time in which the client reads it and closes.
    pub linger: Duration,
    /// Bytes of the request line and the header fields.
    pub head_bytes: usize,
    /// Bytes of one body. An object of 3 MiB can grow several times in JSON: `<` becomes `\u003c`.
    pub body_bytes: usize,
    /// Bytes of all bodies held at once. Beyond it the answer is 503, for bodies that are not small already beyond
    /// three quarters of it, so that a few huge ones cannot keep the usual ones out.
    pub body_bytes_in_flight: usize,
    /// After so many requests the answer says `Connection: close`, and the API server chooses a replica anew.
    pub requests_per_connection: u32,
    /// The same after this age, give or take a fifth, so that not all of them come back at once.
    pub connection_age: Duration,
    /// From the signal to stop until no connection is accepted any more: as long as the cluster may take to hear of it.
    pub drain: Duration,
    /// After the drain: the time for requests that are still being answered.
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
