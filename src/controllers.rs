//! Controllers: loops that only the leader runs. Each plans purely, from the inventory, and then carries out its plan.
pub mod drift;
pub mod status;
pub mod suspension_watch;
pub mod traffic;
pub mod webhook_order;
