//! Explain: one decision in full.

pub mod about;
pub mod explanation;
