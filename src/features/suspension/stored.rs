//! A suspension as it is stored, and why a change of it was not.

use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// A suspension as whoever stores it has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSuspension {
    /// The suspension.
    pub object: SuspensionObject,
    /// What tells this state of it from every other; a change is made to this one only.
    pub version: String,
}
