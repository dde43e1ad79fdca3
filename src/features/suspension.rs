//! Suspensions as people handle them: made, extended and ended, and whom they are about.
//!
//! Pure: what comes out is written by a caller with the caller's own rights. The API and the commands both go through here,
//! so that they say and refuse the same.

pub mod change;
pub mod stored;
pub mod traffic;
pub mod turns;
pub mod whom;
