//! Suspensions as people handle them: created, extended and ended, with the workloads and services they apply to.
//!
//! `prepare` turns a request into a plan or a refusal, `effect` says what the suspension does and what its user may not
//! expect, and `apply` writes the plan with the caller's own rights. The API and the commands both use this module, so
//! that their messages and refusals agree.

pub mod apply;
pub mod change;
pub mod effect;
pub mod prepare;
pub mod request;
pub mod store;
pub mod targets;
pub mod traffic;
pub mod transitions;
pub mod warning;
