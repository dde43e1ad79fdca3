//! Previews: the effect of policies and suspensions before they are applied.
//!
//! Pure: nothing is applied. Proposals are read as the API server reads them. One `decide` judges the same facts twice, under
//! the rules in force and under the proposed rules.

pub mod adoption;
pub mod change;
pub mod comparison;
mod reader;
pub mod refusal;
pub mod request;
pub mod warnings;
