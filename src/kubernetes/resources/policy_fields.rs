//! Fields that policies of both kinds share, and their conversion.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::invalid::FieldError;
use super::syntax::DNS_LABEL;
use crate::decision;
use crate::decision::policy::{EnforcementMode, OverridePermission, PodMatcher, Policy};

/// Action of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyAction {
    /// The injector is told to inject.
    Enable,
    /// The injector is told not to inject.
    Disable,
    /// The marker is stripped, so that the namespace decides.
    Remove,
}

/// Overrides that a policy permits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyOverrides {
    /// Every override counts.
    #[default]
    Allow,
    /// An override counts if it has a reason.
    RequireReason,
    /// No override counts.
    Deny,
}

/// Mode of a policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyMode {
    /// The policy takes part in decisions.
    #[default]
    Enforce,
    /// The effect of the policy is recorded, and nothing changes.
    Audit,
}

/// Rule that the API server checks of every policy.
pub(super) const REVISION_NEEDS_ENABLE: (&str, &str) =
    ("!has(self.revision) || self.action == 'Enable'", "spec.revision is only for action Enable");

/// Fields of a policy apart from those that match pods.
#[derive(Debug)]
pub(super) struct PolicyFields<'s> {
    pub(super) action: PolicyAction,
    pub(super) revision: Option<&'s str>,
    pub(super) priority: i32,
    pub(super) overrides: PolicyOverrides,
    pub(super) mode: PolicyMode,
}

impl PolicyFields<'_> {
    pub(super) fn compile(
        self,
        name: Box<str>,
        namespace: Option<Box<str>>,
        matching: PodMatcher,
    ) -> Result<Policy, FieldError> {
        let Self { action, revision, priority, overrides, mode } = self;
        if let Some(revision) = revision {
            if action != PolicyAction::Enable {
                return Err(FieldError::new("spec.revision", "is only for action Enable"));
            }
            DNS_LABEL.check("spec.revision", revision)?;
        }
        Ok(Policy {
            name,
            namespace,
            matcher: matching,
            action: action.into(),
            revision: revision.map(Into::into),
            priority,
            overrides: overrides.into(),
            mode: mode.into(),
        })
    }
}

impl From<PolicyAction> for decision::Action {
    fn from(action: PolicyAction) -> Self {
        match action {
            PolicyAction::Enable => Self::Enable,
            PolicyAction::Disable => Self::Disable,
            PolicyAction::Remove => Self::Remove,
        }
    }
}

impl From<PolicyOverrides> for OverridePermission {
    fn from(overrides: PolicyOverrides) -> Self {
        match overrides {
            PolicyOverrides::Allow => Self::Allow,
            PolicyOverrides::RequireReason => Self::RequireReason,
            PolicyOverrides::Deny => Self::Deny,
        }
    }
}

impl From<PolicyMode> for EnforcementMode {
    fn from(mode: PolicyMode) -> Self {
        match mode {
            PolicyMode::Enforce => Self::Enforce,
            PolicyMode::Audit => Self::Audit,
        }
    }
}

pub(super) fn revision(_: &mut SchemaGenerator) -> Schema {
    DNS_LABEL.optional_schema()
}
