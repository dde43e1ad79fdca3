//! Kinds of our own rules, and the name of one rule.

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
