//! What only the leader does: each loop plans purely, from the inventory, and then runs what it planned.
pub mod drift;
pub mod order;
pub mod status;
pub mod traffic;
pub mod turns;
