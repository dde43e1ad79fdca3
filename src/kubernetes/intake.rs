//! Intake of the inventory: watches, snapshots, single reads, and files.

pub mod files;
mod follow;
pub mod pods;
pub mod read;
pub mod snapshot;
mod templates;
pub mod watch;
