//! Kinds of our own rules, and the name of one rule.

use crate::kernel::names::{
    CLUSTER_INJECTION_POLICY, CLUSTER_SUSPENSION_POLICY, INJECTION_POLICY, ResourceNames, SUSPENSION_POLICY,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Kind of rule: one of our four custom resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleKind {
    ClusterInjectionPolicy,
    InjectionPolicy,
    ClusterSuspensionPolicy,
    SuspensionPolicy,
}

impl RuleKind {
    pub const ALL: [Self; 4] =
        [Self::ClusterInjectionPolicy, Self::InjectionPolicy, Self::ClusterSuspensionPolicy, Self::SuspensionPolicy];

    /// Returns the names that the definition of the kind declares.
    pub fn names(self) -> ResourceNames {
        match self {
            Self::ClusterInjectionPolicy => CLUSTER_INJECTION_POLICY,
            Self::InjectionPolicy => INJECTION_POLICY,
            Self::ClusterSuspensionPolicy => CLUSTER_SUSPENSION_POLICY,
            Self::SuspensionPolicy => SUSPENSION_POLICY,
        }
    }

    /// Returns the name of the kind, as objects carry it.
    pub fn as_str(self) -> &'static str {
        self.names().kind
    }

    pub fn plural(self) -> &'static str {
        self.names().plural
    }

    pub fn is_namespaced(self) -> bool {
        self.names().is_namespaced
    }

    pub(crate) fn is_policy(self) -> bool {
        matches!(self, Self::ClusterInjectionPolicy | Self::InjectionPolicy)
    }
}

/// Namespace and name of a rule; the namespace of a cluster rule is empty.
pub type NamespacedName = (Box<str>, Box<str>);

pub fn namespaced_name(metadata: &ObjectMeta) -> NamespacedName {
    let ObjectMeta { namespace, name, .. } = metadata;
    (namespace.as_deref().unwrap_or_default().into(), name.as_deref().unwrap_or_default().into())
}
