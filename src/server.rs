//! The listeners: accept connections, keep them within limits, serve requests, drain.
//!
//! Guarantees: no client, however slow or however many, keeps others from being answered for longer than the limits
//! say; a panic costs one request; no connection is detached, and dropping a listener's future ends them all.
//! Limits: HTTP/1.1 only, because the API server calls webhooks with nothing else.
//! Cost: per request no lock and no allocation beyond those of hyper, unless a body arrives in several pieces.
//!
//! [`listener`] serves any hyper service over TCP or [`tls`]; [`endpoint`] is the service of the webhook.

pub mod endpoint;
pub mod limits;
pub mod listener;
pub mod operations;
pub mod shared;
pub mod tls;

mod accept;
mod activity;
mod body;
mod connection;
mod connections;
mod request;
mod stream;
mod watchdog;
