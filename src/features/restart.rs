//! Restarting workloads, in waves that halt when a workload does not come up.
//!
//! A [`world`] and a [`request`] make a prepared restart ([`prepare`]), or a refusal; both are pure. [`rehearse`] asks
//! the API server whether it may be written, [`execution`] writes and waits. The state of a restart is a mark on each
//! workload that is not done yet. Anyone with the right to write the workloads can therefore resume or [`forget`] it.

pub mod budget;
pub mod execution;
pub mod forget;
pub mod mark;
mod marking;
pub mod plan;
pub mod pods;
pub mod prepare;
pub mod progress;
mod reads;
pub mod rehearse;
pub mod remaining;
pub mod report;
pub mod request;
pub mod strategy;
mod warnings;
pub mod wave;
pub mod workload;
pub mod world;
