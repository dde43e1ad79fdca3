//! The rules that can win, the ways in which one can lose, and the sentences that say so.

use crate::kernel::text::Clean;
use std::fmt;

use jiff::Timestamp;

use super::Action;
use super::facts::{Missing, Owner, OwnerName};
use super::policy::{Overrides, Policy};
use super::suspension::Suspension;

/// The rule that a decision follows, or one that was considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule<'f> {
    /// The pod is never touched.
    Safety(Safety),
    /// Injection is suspended.
    Suspension(&'f Suspension),
    /// The pod, its workload or its namespace wishes so.
    Override(Override<'f>),
    /// A policy says so.
    Policy(&'f Policy),
    /// Nothing applies.
    Nothing,
    /// The decision hangs on something unknown; the action is the one configured for that.
    Unknown(Unknown, Action),
}

/// Why a pod is never touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safety {
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

/// An override and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override<'f> {
    /// Where it stands.
    pub source: Source<'f>,
    /// Its value, as written.
    pub value: &'f str,
    /// Its reason, as written.
    pub reason: Option<&'f str>,
}

/// Where an override stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source<'f> {
    /// Our annotation on the pod.
    Pod,
    /// The mesh's own marker on the pod, under this key.
    Marker(&'static str),
    /// The mesh's legacy annotation on the pod, under this key.
    Legacy(&'static str),
    /// Our annotation on an owner.
    Workload(&'f Owner),
    /// An owner that does not count, whatever it says.
    UncountedOwner(&'f OwnerName),
    /// Our annotation on the namespace of this name.
    Namespace(&'f str),
}

/// What has to be known for a decision, and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// The namespace.
    Namespace(Missing),
    /// An owner of the pod.
    Owner(OwnerName, Missing),
    /// The policies.
    Policies(Missing),
    /// The suspensions.
    Suspensions(Missing),
}

/// A rule that was considered, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered<'f> {
    /// The rule.
    pub rule: Rule<'f>,
    /// What became of it.
    pub outcome: Outcome<'f>,
}

/// What became of a rule that was considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<'f> {
    /// The decision follows it.
    Won,
    /// It applies, and an earlier or higher rule won.
    Outranked,
    /// This part of it does not hold for the pod.
    NoMatch(Part),
    /// It begins at this instant.
    NotYet(Timestamp),
    /// It ended at this instant.
    Ended(Timestamp),
    /// A policy does not let it count.
    Refused(&'f Policy),
    /// It is passed over for the next one.
    PassedOver(PassedOver<'f>),
    /// It is in mode Audit, and would lead to this action.
    Would(Action),
    /// It is in mode Audit and matches, as too many others do to tell what it would lead to.
    Untold,
    /// It cannot be told whether it applies.
    Unknown(Unknown),
}

/// Why an override is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassedOver<'f> {
    /// Its end cannot be read as a time.
    UnreadableEnd(&'f str),
    /// Its value is none that is known.
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

/// A part of a policy's or a suspension's match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
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

impl Part {
    /// The part's name in YAML.
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

impl Safety {
    /// One word for it.
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

impl Rule<'_> {
    /// The kind of rule, in one word: `Safety`, `Suspension`, `Override`, `Policy` or `None`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Safety(_) => "Safety",
            Self::Suspension(_) => "Suspension",
            Self::Override(_) => "Override",
            Self::Policy(_) => "Policy",
            Self::Nothing | Self::Unknown(..) => "None",
        }
    }

    /// The rule's name among its kind.
    pub fn name(&self) -> String {
        match self {
            Self::Safety(safety) => safety.as_str().to_owned(),
            Self::Suspension(suspension) => suspension.name.to_string(),
            Self::Override(Override { source, .. }) => source.to_string(),
            Self::Policy(policy) => policy.name.to_string(),
            Self::Nothing => "nothing applies".to_owned(),
            Self::Unknown(..) => "unknown".to_owned(),
        }
    }

    /// The namespace of the policy or suspension, if it has one.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Suspension(suspension) => suspension.namespace.as_deref(),
            Self::Policy(policy) => policy.namespace.as_deref(),
            Self::Safety(_) | Self::Override(_) | Self::Nothing | Self::Unknown(..) => None,
        }
    }

    /// One sentence that says why a decision follows this rule, without a full stop.
    pub fn sentence(&self) -> Sentence<'_> {
        Sentence(self)
    }
}

/// See [`Rule::sentence`].
#[derive(Debug)]
pub struct Sentence<'r>(&'r Rule<'r>);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.0;
        match rule {
            Rule::Safety(safety) => f.write_str(safety.sentence()),
            Rule::Suspension(Suspension { reason, ticket, ends_at, .. }) => {
                write!(f, "injection is suspended by {rule}")?;
                match ends_at {
                    Some(end) => write!(f, " until {end}: {}", Clean(reason))?,
                    None => write!(f, " until somebody ends it: {}", Clean(reason))?,
                }
                ticket.as_ref().map_or(Ok(()), |ticket| write!(f, " ({})", Clean(ticket)))
            }
            Rule::Override(Override { source, value, reason }) => {
                write!(f, "{}: \"{}\" is set on {}", source.key(), Clean(value), source.place())?;
                reason.map_or(Ok(()), |reason| write!(f, ": {}", Clean(reason)))
            }
            Rule::Policy(policy) => write!(f, "{rule} asks for {}", policy.action.as_str()),
            Rule::Nothing => f.write_str("no suspension, override or policy applies to this pod"),
            Rule::Unknown(unknown, action) => write!(f, "{unknown}; the configured answer is {}", action.as_str()),
        }
    }
}

impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Safety(safety) => write!(f, "safety rule {}", safety.as_str()),
            Self::Suspension(suspension) => {
                let kind = if suspension.namespace.is_some() { "SuspensionPolicy" } else { "ClusterSuspensionPolicy" };
                write!(f, "{kind} {}", suspension.name)
            }
            Self::Override(Override { source, .. }) => write!(f, "override on {}", source.place()),
            Self::Policy(policy) => write!(f, "{policy}"),
            Self::Nothing => f.write_str("no rule"),
            Self::Unknown(..) => f.write_str("the answer configured for the unknown"),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.namespace.is_some() { "InjectionPolicy" } else { "ClusterInjectionPolicy" };
        write!(f, "{kind} {}", self.name)
    }
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod => f.write_str("pod"),
            Self::Marker(key) => write!(f, "pod {key}"),
            Self::Legacy(key) => write!(f, "pod annotation {key}"),
            Self::Workload(Owner { kind, name, .. }) => write!(f, "{kind}/{name}"),
            Self::UncountedOwner(OwnerName { kind, name }) => write!(f, "{kind}/{name}"),
            Self::Namespace(name) => write!(f, "namespace/{name}"),
        }
    }
}

impl Source<'_> {
    /// The label or annotation.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Marker(key) | Self::Legacy(key) => key,
            Self::Pod | Self::Workload(_) | Self::UncountedOwner(_) | Self::Namespace(_) => "outrigger.dev/inject",
        }
    }

    fn place(&self) -> Place<'_> {
        Place(self)
    }
}

struct Place<'s>(&'s Source<'s>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Source::Pod | Source::Marker(_) | Source::Legacy(_) => f.write_str("the pod"),
            Source::Workload(Owner { kind, name, .. }) => write!(f, "{kind} {name}"),
            Source::UncountedOwner(OwnerName { kind, name }) => write!(f, "{kind} {name}"),
            Source::Namespace(name) => write!(f, "namespace {}", Clean(name)),
        }
    }
}

impl fmt::Display for Unknown {
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

impl Outcome<'_> {
    /// The outcome in one word.
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

impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Won => f.write_str("the decision follows it"),
            Self::Outranked => f.write_str("it applies, and another rule comes before it"),
            Self::NoMatch(part) => write!(f, "its {} does not match", part.as_str()),
            Self::NotYet(from) => write!(f, "it begins at {from}"),
            Self::Ended(end) => write!(f, "it ended at {end}"),
            Self::Refused(policy) => match policy.overrides {
                Overrides::RequireReason => {
                    write!(f, "{policy} wants a reason (outrigger.dev/reason), and there is none")
                }
                Overrides::Deny | Overrides::Allow => write!(f, "{policy} allows no exception"),
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

impl fmt::Display for PassedOver<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnreadableEnd(text) => {
                write!(f, "its end \"{}\" is not a time such as 2026-01-31T18:00:00Z", Clean(text))
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
