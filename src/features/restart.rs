//! Restarting workloads, in waves that halt when a workload does not come up.
//!
//! A [`world`] and a [`request`] make a prepared restart ([`prepare`]), or a refusal; both are pure. [`apply`] asks the
//! API server whether it may be written, [`execution`] writes and waits. The state of a restart is a mark on each
//! workload that is not done yet. Anyone with the right to write the workloads can therefore resume or forget it.

pub mod apply;
pub mod execution;
pub mod mark;
pub mod plan;
pub mod pods;
pub mod prepare;
pub mod progress;
pub mod report;
pub mod request;
pub mod strategy;
pub mod wave;
pub mod workload;
pub mod world;
