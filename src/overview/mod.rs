//! What is expected against what is there: explanations, and what a change would change. Pure.

pub mod about;
pub mod adoption;
pub mod caution;
pub mod diagnosis;
pub mod drift;
pub mod explanation;
pub mod overrides;
pub mod preview;
pub mod running;
mod since;
pub mod states;
