//! Status: the state of every workload.

pub mod difference;
pub mod running;
pub mod states;
