//! Requests of users: a new suspension, a later end, an end now.

use jiff::{SignedDuration, Timestamp};

use crate::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicySpec;

/// New suspension, as a user asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSuspension {
    /// Namespace; `None` for a cluster suspension.
    pub namespace: Option<String>,
    pub name: String,
    pub spec: ClusterSuspensionPolicySpec,
    /// Id for audit entries.
    pub audit_id: String,
}

impl NewSuspension {
    /// Creates the request; without a name, one is made from the audit id.
    pub fn new(
        namespace: Option<String>,
        name: Option<String>,
        spec: ClusterSuspensionPolicySpec,
        audit_id: String,
    ) -> Self {
        let name = name.unwrap_or_else(|| format!("suspension-{}", &audit_id[..8]));
        Self { namespace, name, spec, audit_id }
    }
}

/// Change of an existing suspension, as a user asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeRequest {
    Extend(SuspensionExtension),
    End,
}

/// Later end of a suspension, as a user asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuspensionExtension {
    /// Duration to add to the present end.
    By(SignedDuration),
    Until(Timestamp),
}
