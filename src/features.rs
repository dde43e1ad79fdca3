//! The features: one folder for each verb that people use, shared by the CLI, the API and the controllers.

pub mod backend;
pub mod completeness;
pub mod doctor;
pub mod drift;
pub mod explain;
pub mod graph;
pub mod overrides;
pub mod preview;
pub mod restart;
pub mod status;
pub mod suspension;
