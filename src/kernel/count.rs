//! Numbers of things, in the type that metrics and statuses have.

/// Converts a count; one that is too large becomes the largest number.
pub fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
