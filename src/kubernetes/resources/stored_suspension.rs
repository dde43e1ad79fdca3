//! A suspension together with the version under which it is stored.

use super::suspension_object::SuspensionObject;

/// Suspension as read from the cluster or from a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSuspension {
    pub object: SuspensionObject,
    /// Identifies this state of the object; a change is refused if the stored version differs.
    pub version: String,
}
