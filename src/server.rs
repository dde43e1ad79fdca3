//! Listeners: accept connections, keep them within limits, serve requests, drain.
//!
//! Guarantees: clients, however slow or many, delay other clients for no longer than the limits allow. A panic costs
//! one request. No connection is detached, and dropping a listener's future ends them all. Limits: HTTP/1.1 only,
//! because the API server calls webhooks with nothing else. Cost: per request no lock and no allocation beyond those of
//! hyper, unless a body arrives in several pieces.
//!
//! [`listener`] serves any hyper service over TCP or [`tls`]; [`endpoint`] is the service of the webhook.

pub mod endpoint;
pub mod limits;
pub mod listener;
pub mod listener_state;
pub mod operations;
pub mod tls;

mod accept;
mod activity;
mod body;
mod connection;
mod connections;
mod request_tracking;
mod stream;
mod watchdog;
