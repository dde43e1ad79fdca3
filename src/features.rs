//! The features: one folder for each verb that people use, shared by the CLI, the API and the controllers.
//!
//! [`pod_source`] and [`new_pod`] are what several verbs share: where new pods come from, and what they get.

pub mod backend;
pub mod completeness;
pub mod doctor;
pub mod drift;
pub mod explain;
pub mod graph;
pub mod new_pod;
pub mod overrides;
pub mod pod_source;
pub mod preview;
pub mod restart;
pub mod status;
pub mod suspension;
