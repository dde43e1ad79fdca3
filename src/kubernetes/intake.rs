//! Intake of the inventory: watches, snapshots, single reads, and files.

pub mod files;
mod follow;
mod kinds;
pub mod pods;
pub mod read;
pub mod snapshot;
pub mod watch;
