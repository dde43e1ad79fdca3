//! Overrides as people give them: what is asked for, what is written on which object, and what new pods get from then on.
//!
//! Pure: what comes out is written by a caller with the caller's own rights. What new pods get is told by the one `decide`,
//! asked about the same facts before the change and after it.

pub mod change;
pub mod edit;
pub mod field;
pub mod holders;
pub mod labels;
pub mod listing;
pub mod plan;
pub mod prospect;
pub mod subject;
