//! Explanations: one decision in full, with every rule considered.

pub mod explanation;
pub mod request;
