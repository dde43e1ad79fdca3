//! Suspensions as people handle them: created, extended and ended, with the workloads and services they apply to.
//!
//! Pure: the result is written by a caller, with the caller's own rights. The API and the commands both use this module,
//! so that their messages and refusals agree.

pub mod change;
pub mod stored;
pub mod targets;
pub mod traffic;
pub mod transitions;
