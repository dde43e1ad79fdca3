//! Warnings about a suspension: what its user may not expect. Commands and the API show the same ones.

use std::fmt;

/// Consequence of a suspension that its user may not expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SuspensionWarning {
    /// The installation's maximum brings the end forward.
    Shortened,
    /// Objects that decide about the targets are not read.
    TargetsUnknown { unread: String },
    /// No workload is a target.
    NoTargets,
    /// Some workloads may be targets: their pod templates are not read.
    TemplatesUnread { workloads: usize },
    /// Running pods have a sidecar.
    SidecarsStay { pods: usize },
    /// Other suspensions apply to some of the targets.
    Overlapping { others: Vec<String> },
    /// A cluster policy that allows no exception applies to some of the targets.
    RefusedByPolicy { policy: String, refused: usize, targets: usize },
}

impl fmt::Display for SuspensionWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shortened => f.write_str("the installation's maximum ends the suspension earlier than requested"),
            Self::TargetsUnknown { unread } => {
                write!(f, "the targets are not completely known: {unread} are not read")
            }
            Self::NoTargets => f.write_str("no workload matches at present; the suspension applies to those that come"),
            Self::TemplatesUnread { workloads } => {
                write!(f, "{workloads} more workloads may match: their pod templates are not read")
            }
            Self::SidecarsStay { pods } => {
                write!(f, "{pods} running pods keep their sidecar until they are replaced")
            }
            Self::Overlapping { others } => {
                write!(
                    f,
                    "some of these workloads are also suspended by {}, and stay suspended until all have ended",
                    others.join(", ")
                )
            }
            Self::RefusedByPolicy { policy, refused, targets } => write!(
                f,
                "the suspension has no effect on {refused} of {targets} workloads: {policy} allows no exception; use a cluster suspension"
            ),
        }
    }
}

impl SuspensionWarning {
    /// Returns the warning as a sentence of its own, with a capital letter and a full stop.
    pub fn to_sentence(&self) -> String {
        let text = self.to_string();
        let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
        format!("{}{rest}.", first.to_uppercase())
    }
}
