//! The four kinds of rules, and how one is named.

/// One of the four kinds of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleKind {
    /// `ClusterInjectionPolicy`.
    ClusterInjectionPolicy,
    /// `InjectionPolicy`.
    InjectionPolicy,
    /// `ClusterSuspensionPolicy`.
    ClusterSuspensionPolicy,
    /// `SuspensionPolicy`.
    SuspensionPolicy,
}

impl RuleKind {
    /// All four.
    pub const ALL: [Self; 4] =
        [Self::ClusterInjectionPolicy, Self::InjectionPolicy, Self::ClusterSuspensionPolicy, Self::SuspensionPolicy];

    /// The kind's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterInjectionPolicy => "ClusterInjectionPolicy",
            Self::InjectionPolicy => "InjectionPolicy",
            Self::ClusterSuspensionPolicy => "ClusterSuspensionPolicy",
            Self::SuspensionPolicy => "SuspensionPolicy",
        }
    }

    /// Whether its objects stand in a namespace.
    pub fn is_namespaced(self) -> bool {
        matches!(self, Self::InjectionPolicy | Self::SuspensionPolicy)
    }

    pub(crate) fn is_policy(self) -> bool {
        matches!(self, Self::ClusterInjectionPolicy | Self::InjectionPolicy)
    }
}

/// Where a rule stands: its namespace, empty for a cluster's, and its name.
pub type RuleName = (Box<str>, Box<str>);
