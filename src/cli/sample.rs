//! What is tried when nothing is given: a state, and a review that a real API server sent.

/// A recorded AdmissionReview for a pod of the Deployment `small` in the namespace `shop` of the built-in sample state.
pub(crate) const REVIEW: &str = include_str!("../kubernetes/intake/files/sample-review.json");
