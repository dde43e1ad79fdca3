//! Status: the state of every workload, and how its running pods compare with new ones.

pub mod difference;
pub mod running;
pub mod states;
