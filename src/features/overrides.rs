//! Use case of `enable`, `disable` and `remove`: a request becomes an edit of each object and a forecast for its new pods.
//!
//! Pure: callers write the edits with their own rights. Forecasts come from the one `decide`, run on the same facts before the
//! change and after it.

pub mod edit;
pub mod field;
pub mod field_ownership;
pub mod forecast;
pub mod listing;
pub mod namespace_labels;
pub mod plan;
pub mod request;
pub mod subject;
