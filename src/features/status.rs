//! Status: the state of every workload, and how its running pods compare with new ones.

pub mod comparison;
pub mod report;
pub mod running;
pub mod state;
pub mod states;
