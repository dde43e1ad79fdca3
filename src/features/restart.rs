//! Restarting workloads: the plan, the waves, the progress of each workload and the obstacles.
//!
//! Pure: a caller executes the results with its own rights. The state of a restart is a mark on each workload that is
//! not done yet. Anyone with the right to write the workloads can therefore resume the restart.

pub mod budget;
pub mod mark;
mod object_fields;
pub mod plan;
pub mod pods;
pub mod progress;
pub mod remaining;
pub mod report;
pub mod strategy;
pub mod wave;
pub mod workload;
