//! Sample review to try Outrigger with, as a real API server sent it.

/// Recorded AdmissionReview for a pod of the Deployment `small` in the namespace `shop` of the built-in sample state.
pub(crate) const REVIEW: &str = include_str!("../kubernetes/intake/files/sample-review.json");
