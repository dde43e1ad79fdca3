//! Policies and suspensions that are proposed: read as the API server would, and what they would change.
//!
//! Pure: nothing is applied. What new pods get is told by the one `decide`, asked about the same facts under the rules in force
//! and under the proposed ones.

pub mod adoption;
pub mod caution;
pub mod change;
pub mod comparison;
pub mod proposal;
