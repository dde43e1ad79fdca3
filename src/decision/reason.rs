//! Rules that can win a decision, outcomes of rules that do not, and a sentence for each.

use crate::kernel::names::{INJECT, REASON, policy_names, suspension_names};
use crate::kernel::object_ref::ObjectRef;
use crate::kernel::text::CleanText;
use std::fmt;

use jiff::Timestamp;

use super::Action;
use super::facts::{MissingReason, Owner, OwnerName};
use super::policy::{OverridePermission, Policy};
use super::suspension::InjectionSuspension;

/// Rule that a decision follows, or that it considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecisionRule<'f> {
    /// A safety rule: the pod is never touched.
    Safety(SafetyRule),
    /// A suspension of injection.
    Suspension(&'f InjectionSuspension),
    /// An override on the pod, on one of its owners or on its namespace.
    Override(OverrideRule<'f>),
    /// An injection policy.
    Policy(&'f Policy),
    /// No rule applies.
    Nothing,
    /// The decision depends on an unknown fact; the action is the one configured for unknowns.
    Unknown(UnknownFact, Action),
}

/// Reason why a pod is never touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SafetyRule {
    /// The request does not create a pod.
    NotAPodCreation,
    /// The pod only mirrors a static one; changes would not reach that.
    MirrorPod,
    /// The pod uses the host network.
    HostNetwork,
    /// The namespace is excluded by a setting.
    ExcludedNamespace,
    /// The pod belongs to a gateway of the mesh.
    MeshGateway,
    /// A container waits for the injector to fill in its image.
    WaitsForProxy,
}

/// Override that a decision considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideRule<'f> {
    /// Object and key on which the override is set.
    pub source: OverrideSource<'f>,
    /// Value, as written.
    pub value: &'f str,
    /// Reason, as written.
    pub reason: Option<&'f str>,
}

/// Object and key on which an override is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverrideSource<'f> {
    /// Our annotation on the pod.
    Pod,
    /// The mesh's own marker on the pod, under this key.
    Marker(&'static str),
    /// The mesh's legacy annotation on the pod, under this key.
    Legacy(&'static str),
    /// Our annotation on an owner.
    Workload(&'f Owner),
    /// An owner whose override does not count, whatever its value.
    UncountedOwner(&'f OwnerName),
    /// Our annotation on the namespace of this name.
    Namespace(&'f str),
}

/// Fact that a decision needs and that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownFact {
    Namespace(MissingReason),
    /// An owner of the pod.
    Owner(OwnerName, MissingReason),
    /// The policies.
    Policies(MissingReason),
    /// The suspensions.
    Suspensions(MissingReason),
}

/// Rule that was considered, with its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluatedRule<'f> {
    pub rule: DecisionRule<'f>,
    pub outcome: RuleOutcome<'f>,
}

/// Outcome of a rule that was considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleOutcome<'f> {
    /// The decision follows the rule.
    Won,
    /// The rule applies, but an earlier or higher rule won.
    Outranked,
    /// The part of the rule's match does not hold for the pod.
    NoMatch(MatchPart),
    /// The rule begins at this later instant.
    NotYet(Timestamp),
    /// The rule ended at this earlier instant.
    Ended(Timestamp),
    /// A policy does not allow the rule to count.
    Refused(&'f Policy),
    /// The override is passed over for the next one.
    PassedOver(OverrideSkip<'f>),
    /// The policy is in mode Audit, and would lead to this action.
    Would(Action),
    /// The policy is in mode Audit and matches, but too many others do to evaluate its action.
    Untold,
    /// Whether the rule applies depends on an unknown fact.
    Unknown(UnknownFact),
}

/// Reason why an override is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverrideSkip<'f> {
    /// The end of the override is not a time.
    UnreadableEnd(&'f str),
    /// The value is neither on nor off.
    UnknownValue,
    /// The pod arrived with a receipt: the marker is a stale one of ours.
    StaleReceipt,
    /// The winning policy strips the mesh's own markers.
    Stripped(&'f Policy),
    /// The requester is not trusted to create this owner's pods.
    UntrustedRequester,
    /// The owner is of a kind that is not read here.
    UnreadKind,
    /// There is no such owner.
    NoSuchOwner,
}

/// Part of a policy's or a suspension's match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchPart {
    /// `namespaces`.
    Namespaces,
    /// `namespaceSelector`.
    NamespaceSelector,
    /// `workloads`.
    Workloads,
    /// `workloadSelector`.
    WorkloadSelector,
    /// `podSelector`.
    PodSelector,
    /// `serviceAccounts`.
    ServiceAccounts,
}

impl MatchPart {
    /// Returns the part's name in YAML.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::NamespaceSelector => "namespaceSelector",
            Self::Workloads => "workloads",
            Self::WorkloadSelector => "workloadSelector",
            Self::PodSelector => "podSelector",
            Self::ServiceAccounts => "serviceAccounts",
        }
    }
}

impl SafetyRule {
    /// Returns the one-word name that audit entries and metrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAPodCreation => "NotAPodCreation",
            Self::MirrorPod => "MirrorPod",
            Self::HostNetwork => "HostNetwork",
            Self::ExcludedNamespace => "ExcludedNamespace",
            Self::MeshGateway => "MeshGateway",
            Self::WaitsForProxy => "WaitsForProxy",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::NotAPodCreation => "the request does not create a pod",
            Self::MirrorPod => "the pod mirrors a static pod, which a change here would not reach",
            Self::HostNetwork => "the pod uses the host network, where no sidecar is injected",
            Self::ExcludedNamespace => "the namespace is excluded by a setting of this installation",
            Self::MeshGateway => "the pod belongs to a gateway of the mesh",
            Self::WaitsForProxy => {
                "the container istio-proxy has the image \"auto\", which only the injector replaces: without it the pod could not start"
            }
        }
    }
}

impl DecisionRule<'_> {
    /// Returns the kind of rule in one word: `Safety`, `Suspension`, `Override`, `Policy` or `None`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Safety(_) => "Safety",
            Self::Suspension(_) => "Suspension",
            Self::Override(_) => "Override",
            Self::Policy(_) => "Policy",
            Self::Nothing | Self::Unknown(..) => "None",
        }
    }

    /// Returns the rule's name among its kind.
    pub fn name(&self) -> String {
        match self {
            Self::Safety(safety) => safety.as_str().to_owned(),
            Self::Suspension(suspension) => suspension.name.to_string(),
            Self::Override(OverrideRule { source, .. }) => source.to_string(),
            Self::Policy(policy) => policy.name.to_string(),
            Self::Nothing => "nothing applies".to_owned(),
            Self::Unknown(..) => "unknown".to_owned(),
        }
    }

    /// Returns the namespace of the policy or suspension, if it has one.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Suspension(suspension) => suspension.namespace.as_deref(),
            Self::Policy(policy) => policy.namespace.as_deref(),
            Self::Safety(_) | Self::Override(_) | Self::Nothing | Self::Unknown(..) => None,
        }
    }

    /// Returns the reason why a decision follows this rule, as one sentence without a full stop.
    pub fn sentence(&self) -> RuleSentence<'_> {
        RuleSentence(self)
    }
}

/// Text of [`DecisionRule::sentence`].
#[derive(Debug)]
pub struct RuleSentence<'r>(&'r DecisionRule<'r>);

impl fmt::Display for RuleSentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.0;
        match rule {
            DecisionRule::Safety(safety) => f.write_str(safety.sentence()),
            DecisionRule::Suspension(InjectionSuspension { reason, ticket, ends_at, .. }) => {
                write!(f, "injection is suspended by {rule}")?;
                match ends_at {
                    Some(end) => write!(f, " until {end}: {}", CleanText(reason))?,
                    None => write!(f, " until somebody ends it: {}", CleanText(reason))?,
                }
                ticket.as_ref().map_or(Ok(()), |ticket| write!(f, " ({})", CleanText(ticket)))
            }
            DecisionRule::Override(OverrideRule { source, value, reason }) => {
                write!(f, "{}: \"{}\" is set on {}", source.key(), CleanText(value), source.place())?;
                reason.map_or(Ok(()), |reason| write!(f, ": {}", CleanText(reason)))
            }
            DecisionRule::Policy(policy) => write!(f, "{rule} asks for {}", policy.action.as_str()),
            DecisionRule::Nothing => f.write_str("no suspension, override or policy applies to this pod"),
            DecisionRule::Unknown(unknown, action) => {
                write!(f, "{unknown}; the configured answer is {}", action.as_str())
            }
        }
    }
}

impl fmt::Display for DecisionRule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Safety(safety) => write!(f, "safety rule {}", safety.as_str()),
            Self::Suspension(suspension) => {
                let kind = suspension_names(suspension.namespace.is_some()).kind;
                write!(f, "{kind} {}", suspension.name)
            }
            Self::Override(OverrideRule { source, .. }) => write!(f, "override on {}", source.place()),
            Self::Policy(policy) => write!(f, "{policy}"),
            Self::Nothing => f.write_str("no rule"),
            Self::Unknown(..) => f.write_str("the answer configured for the unknown"),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = policy_names(self.namespace.is_some()).kind;
        write!(f, "{kind} {}", self.name)
    }
}

impl fmt::Display for OverrideSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod => f.write_str("pod"),
            Self::Marker(key) => write!(f, "pod {key}"),
            Self::Legacy(key) => write!(f, "pod annotation {key}"),
            Self::Workload(Owner { kind, name, .. }) => write!(f, "{}", ObjectRef::new(&**kind, name).titled()),
            Self::UncountedOwner(owner) => write!(f, "{}", owner.titled()),
            Self::Namespace(name) => write!(f, "namespace/{name}"),
        }
    }
}

impl OverrideSource<'_> {
    /// Returns the key of the label or annotation.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Marker(key) | Self::Legacy(key) => key,
            Self::Pod | Self::Workload(_) | Self::UncountedOwner(_) | Self::Namespace(_) => INJECT,
        }
    }

    fn place(&self) -> SourcePlace<'_> {
        SourcePlace(self)
    }
}

struct SourcePlace<'s>(&'s OverrideSource<'s>);

impl fmt::Display for SourcePlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            OverrideSource::Pod | OverrideSource::Marker(_) | OverrideSource::Legacy(_) => f.write_str("the pod"),
            OverrideSource::Workload(Owner { kind, name, .. }) => write!(f, "{kind} {name}"),
            OverrideSource::UncountedOwner(OwnerName { kind, name }) => write!(f, "{kind} {name}"),
            OverrideSource::Namespace(name) => write!(f, "namespace {}", CleanText(name)),
        }
    }
}

impl fmt::Display for UnknownFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(missing) => write!(f, "the namespace is not known ({})", missing.as_str()),
            Self::Owner(OwnerName { kind, name }, missing) => {
                write!(f, "the owner {kind} {name} is not known ({})", missing.as_str())
            }
            Self::Policies(missing) => write!(f, "the policies are not known ({})", missing.as_str()),
            Self::Suspensions(missing) => write!(f, "the suspensions are not known ({})", missing.as_str()),
        }
    }
}

impl RuleOutcome<'_> {
    /// Returns the outcome in one word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Won => "Won",
            Self::Outranked => "Outranked",
            Self::NoMatch(_) => "NoMatch",
            Self::NotYet(_) => "NotYet",
            Self::Ended(_) => "Ended",
            Self::Refused(_) => "Refused",
            Self::PassedOver(_) => "PassedOver",
            Self::Would(_) => "Would",
            Self::Untold => "Untold",
            Self::Unknown(_) => "Unknown",
        }
    }
}

impl fmt::Display for RuleOutcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Won => f.write_str("the decision follows it"),
            Self::Outranked => f.write_str("it applies, and another rule comes before it"),
            Self::NoMatch(part) => write!(f, "its {} does not match", part.as_str()),
            Self::NotYet(from) => write!(f, "it begins at {from}"),
            Self::Ended(end) => write!(f, "it ended at {end}"),
            Self::Refused(policy) => match policy.overrides {
                OverridePermission::RequireReason => {
                    write!(f, "{policy} wants a reason ({REASON}), and there is none")
                }
                OverridePermission::Deny | OverridePermission::Allow => write!(f, "{policy} allows no exception"),
            },
            Self::PassedOver(why) => write!(f, "{why}"),
            Self::Would(action) => {
                write!(f, "it is in mode Audit; in Enforce the decision would be {}", action.as_str())
            }
            Self::Untold => f.write_str("it is in mode Audit and matches; too many others do to tell the decision"),
            Self::Unknown(unknown) => write!(f, "{unknown}"),
        }
    }
}

impl fmt::Display for OverrideSkip<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnreadableEnd(text) => {
                write!(f, "its end \"{}\" is not a time such as 2026-01-31T18:00:00Z", CleanText(text))
            }
            Self::UnknownValue => f.write_str("its value is neither on nor off"),
            Self::StaleReceipt => f.write_str("the pod arrived with a receipt, so the marker is an old one of ours"),
            Self::Stripped(policy) => write!(f, "{policy} strips the mesh's own markers"),
            Self::UntrustedRequester => {
                f.write_str("the requester is not trusted to create this owner's pods; the pod is treated as bare")
            }
            Self::UnreadKind => f.write_str("owners of this kind are not read; the chain ends before it"),
            Self::NoSuchOwner => f.write_str("the namespace has no such owner with this UID; the chain ends before it"),
        }
    }
}
