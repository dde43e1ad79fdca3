//! Restarting workloads: which, in which waves, how far each has come, and what stands in its way.
//!
//! Pure: what comes out is done by a caller with the caller's own rights. The state of a restart is a mark on each workload
//! that is still to come, so that whoever has the right to go on with it can.

pub mod budget;
pub mod left;
pub mod mark;
mod object;
pub mod plan;
pub mod pods;
pub mod progress;
pub mod telling;
pub mod wave;
pub mod way;
pub mod workload;
