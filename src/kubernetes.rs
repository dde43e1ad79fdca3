//! Kubernetes side of Outrigger: our custom resources, the inventory, the intake that fills it, and the client.

pub mod client;
pub mod intake;
pub mod inventory;
pub mod resources;
