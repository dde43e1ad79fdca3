//! Outrigger.
pub mod decision;
