//! The routing that suspends the traffic of services: what is to be written, what stands in its way, whom it does not reach.
//!
//! Pure: everything is read from the inventory, and written by others.

use jiff::Timestamp;
use serde_json::Value;

use crate::inventory::Inventory;
use crate::resources::suspension_object::SuspensionObject;

/// What a suspension of traffic comes to for one service.
#[derive(Debug, Clone, PartialEq)]
pub struct OfService {
    /// The namespace of the service.
    pub namespace: String,
    /// Its name.
    pub service: String,
    /// The routing that suspends its traffic, or why it cannot be suspended.
    pub routing: Result<Routing, Obstacle>,
}

/// What is written for one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Routing {
    /// The DestinationRule, which is written first and removed last; none where another's stands and is not needed.
    pub destination_rule: Option<Value>,
    /// The VirtualService.
    pub virtual_service: Value,
    /// Whom it does not reach, and what else follows, a sentence each.
    pub not_reached: Vec<String>,
}

/// Why the traffic of a service cannot be suspended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// What would have to be known is not known yet, or may not be read.
    Unknown(String),
    /// There is no such service.
    NoService(String),
    /// The service has none of these versions.
    NoVersion(String),
    /// It speaks nothing that can be answered with an HTTP status.
    NoHttp(String),
    /// Routing that is not ours to change takes the host already; the sentence names it.
    Taken(String),
}

/// What this suspension of traffic comes to, service by service; empty where it names none that exist.
pub fn routing_for(_inventory: &Inventory, _suspension: &SuspensionObject, _now: Timestamp) -> Vec<OfService> {
    Vec::new()
}
