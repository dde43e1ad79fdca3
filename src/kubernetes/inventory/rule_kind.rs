//! Kinds of our own rules, and the name of one rule.

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

    /// Returns the name of the kind, as objects carry it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterInjectionPolicy => "ClusterInjectionPolicy",
            Self::InjectionPolicy => "InjectionPolicy",
            Self::ClusterSuspensionPolicy => "ClusterSuspensionPolicy",
            Self::SuspensionPolicy => "SuspensionPolicy",
        }
    }

    /// Returns the plural, as paths have it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::ClusterInjectionPolicy => "clusterinjectionpolicies",
            Self::InjectionPolicy => "injectionpolicies",
            Self::ClusterSuspensionPolicy => "clustersuspensionpolicies",
            Self::SuspensionPolicy => "suspensionpolicies",
        }
    }

    /// Returns whether objects of this kind have a namespace.
    pub fn is_namespaced(self) -> bool {
        matches!(self, Self::InjectionPolicy | Self::SuspensionPolicy)
    }

    pub(crate) fn is_policy(self) -> bool {
        matches!(self, Self::ClusterInjectionPolicy | Self::InjectionPolicy)
    }
}

/// Namespace and name of a rule; the namespace of a cluster rule is empty.
pub type NamespacedName = (Box<str>, Box<str>);

/// Returns the namespace and the name of an object.
pub fn namespaced_name(metadata: &ObjectMeta) -> NamespacedName {
    let ObjectMeta { namespace, name, .. } = metadata;
    (namespace.as_deref().unwrap_or_default().into(), name.as_deref().unwrap_or_default().into())
}
