//! Use case of `enable`, `disable` and `remove`: a request becomes an edit of each object and a forecast for its new pods.
//!
//! Only [`apply`] writes, with the caller's own rights. Forecasts come from the one `decide`, run on the same facts before the
//! change and after it.

pub mod apply;
mod edit;
pub mod forecast;
pub mod listing;
pub mod lookup;
pub mod namespace_labels;
pub mod plan;
pub mod request;
pub mod restart_selection;
pub mod rollout;
pub mod subject;
pub mod verdict;
