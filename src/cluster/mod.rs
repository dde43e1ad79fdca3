//! The only owner of a client of the Kubernetes API: watches, short reads, and our own registration.

pub mod certificates;
pub mod read;
pub mod registration;
pub mod watch;
mod workload;
