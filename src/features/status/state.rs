//! State of a workload, and the sentence that says why.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::decision::effect::EffectOutcome;
use crate::features::drift::age::{AgeCounts, MissedWebhook};
use crate::features::new_pod::EffectSummary;

/// State of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[schemars(rename = "WorkloadState")]
pub enum WorkloadState {
    /// New pods get a sidecar, or bring one, and all running pods have it.
    InMesh,
    /// New pods get no sidecar, and no running pod has one.
    OutIntended,
    /// New pods get a sidecar, and some pods were created without one although the same rule held already.
    OutUnexpected,
    /// Running pods differ from new ones, because they are older: a restart brings them up to date.
    PendingRestart,
    /// Some running pods differ from new ones, and some do not.
    Mixed,
    /// The decision for new pods cannot have its effect.
    Unreachable,
    /// A suspension of injection is in force.
    Suspended,
    /// No pod runs.
    NoPods,
    /// Running pods are not known, or the effect on new ones is not.
    Unknown,
}

impl WorkloadState {
    /// All states, the most worrying first.
    pub const ALL: [Self; 9] = [
        Self::OutUnexpected,
        Self::Unreachable,
        Self::Mixed,
        Self::PendingRestart,
        Self::Suspended,
        Self::Unknown,
        Self::InMesh,
        Self::OutIntended,
        Self::NoPods,
    ];

    /// Returns the state as people read it in a table.
    pub fn as_words(self) -> &'static str {
        match self {
            Self::InMesh => "in mesh",
            Self::OutIntended => "out (intended)",
            Self::OutUnexpected => "out (unexpected)",
            Self::PendingRestart => "pending restart",
            Self::Mixed => "mixed",
            Self::Unreachable => "unreachable",
            Self::Suspended => "suspended",
            Self::NoPods => "no pods",
            Self::Unknown => "unknown",
        }
    }

    /// Returns whether somebody should look at the workload.
    pub fn is_problem(self) -> bool {
        match self {
            Self::OutUnexpected | Self::Unreachable | Self::Mixed | Self::PendingRestart | Self::Unknown => true,
            Self::InMesh | Self::OutIntended | Self::Suspended | Self::NoPods => false,
        }
    }
}

/// Everything that the state of one workload depends on.
#[derive(Debug)]
pub(super) struct StateEvidence<'e> {
    /// Whether a suspension of injection decides.
    pub(super) is_suspended: bool,
    pub(super) effect: &'e EffectSummary,
    /// Sidecars of the running pods; `None` where pods are not known.
    pub(super) sidecars: Option<SidecarCount>,
    /// Number of running pods that differ from a new one.
    pub(super) differing: usize,
    /// Causes of that.
    pub(super) ages: AgeCounts,
    /// Whether new pods bring a sidecar of their own.
    pub(super) brings_sidecar: bool,
}

/// Number of running pods, and of those with a sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SidecarCount {
    pub(super) with: usize,
    pub(super) all: usize,
}

/// Reason of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StateReason {
    /// Pods are not known.
    PodsUnread,
    /// A suspension decides.
    Suspended(SidecarCount),
    /// No injector is reached, for this reason.
    Unreachable(String),
    /// The injector cannot be predicted, for this reason.
    Unpredictable(String),
    /// No pod runs.
    NoPods,
    /// New pods get a sidecar, and all running pods have it.
    AllInjected(SidecarCount),
    /// New pods get no sidecar, and no running pod has one.
    NoneInjected(SidecarCount),
    /// Pods bring their sidecars.
    OwnSidecars(SidecarCount),
    /// Pods may bring their sidecars.
    PossiblyOwnSidecars(SidecarCount),
    /// Webhooks missed pods that were to get a sidecar.
    InjectionMissed { missed: usize, all: usize, webhook: MissedWebhook },
    /// All pods are older than the decision.
    AllOlder(SidecarCount),
    /// All pods differ, for reasons that are not known of each.
    AllDiffer(SidecarCount),
    /// All pods differ, and a webhook missed some.
    AllDifferSomeMissed { sidecars: SidecarCount, missed: usize, webhook: MissedWebhook },
    /// Some pods differ.
    SomeDiffer { sidecars: SidecarCount, differing: usize },
    /// Some pods differ, and a webhook missed some of them.
    SomeDifferSomeMissed { sidecars: SidecarCount, differing: usize, missed: usize, webhook: MissedWebhook },
}

/// Finds the reason of a workload's state.
pub(super) fn classify(evidence: &StateEvidence<'_>) -> StateReason {
    let StateEvidence { is_suspended, effect, sidecars, differing, .. } = evidence;
    let Some(sidecars) = *sidecars else { return StateReason::PodsUnread };
    if *is_suspended {
        return StateReason::Suspended(sidecars);
    }
    match effect.outcome {
        EffectOutcome::Unreachable => StateReason::Unreachable(effect.reason.clone()),
        EffectOutcome::Unknown => StateReason::Unpredictable(effect.reason.clone()),
        EffectOutcome::Injected | EffectOutcome::NotInjected if sidecars.all == 0 => StateReason::NoPods,
        EffectOutcome::Injected | EffectOutcome::NotInjected if *differing == 0 => classify_alike(evidence, sidecars),
        EffectOutcome::Injected | EffectOutcome::NotInjected => classify_differing(evidence, sidecars),
    }
}

fn classify_alike(evidence: &StateEvidence<'_>, sidecars: SidecarCount) -> StateReason {
    match (evidence.effect.outcome, sidecars.with, evidence.brings_sidecar) {
        (EffectOutcome::Injected, ..) => StateReason::AllInjected(sidecars),
        (_, 0, _) => StateReason::NoneInjected(sidecars),
        (_, _, true) => StateReason::OwnSidecars(sidecars),
        (_, _, false) => StateReason::PossiblyOwnSidecars(sidecars),
    }
}

fn classify_differing(evidence: &StateEvidence<'_>, sidecars: SidecarCount) -> StateReason {
    let StateEvidence { effect, differing, ages: AgeCounts { missed, older }, .. } = *evidence;
    let SidecarCount { with, all } = sidecars;
    let webhook = MissedWebhook::for_outcome(effect.outcome);
    match (missed, differing == all) {
        (1.., _) if effect.outcome == EffectOutcome::Injected && with < all => {
            StateReason::InjectionMissed { missed, all, webhook }
        }
        (1.., true) => StateReason::AllDifferSomeMissed { sidecars, missed, webhook },
        (0, true) if older == differing => StateReason::AllOlder(sidecars),
        (0, true) => StateReason::AllDiffer(sidecars),
        (1.., false) => StateReason::SomeDifferSomeMissed { sidecars, differing, missed, webhook },
        (0, false) => StateReason::SomeDiffer { sidecars, differing },
    }
}

impl StateReason {
    /// Returns the state that follows.
    pub(super) fn state(&self) -> WorkloadState {
        match self {
            Self::PodsUnread | Self::Unpredictable(_) => WorkloadState::Unknown,
            Self::Suspended(_) => WorkloadState::Suspended,
            Self::Unreachable(_) => WorkloadState::Unreachable,
            Self::NoPods => WorkloadState::NoPods,
            Self::AllInjected(_) => WorkloadState::InMesh,
            Self::NoneInjected(_) => WorkloadState::OutIntended,
            Self::OwnSidecars(SidecarCount { with, all }) | Self::PossiblyOwnSidecars(SidecarCount { with, all }) => {
                if with == all {
                    WorkloadState::InMesh
                } else {
                    WorkloadState::Mixed
                }
            }
            Self::InjectionMissed { .. } => WorkloadState::OutUnexpected,
            Self::AllOlder(_) | Self::AllDiffer(_) | Self::AllDifferSomeMissed { .. } => WorkloadState::PendingRestart,
            Self::SomeDiffer { .. } | Self::SomeDifferSomeMissed { .. } => WorkloadState::Mixed,
        }
    }
}

impl fmt::Display for StateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PodsUnread => f.write_str("running pods are not known"),
            Self::Suspended(sidecars) => write!(f, "new pods get no sidecar while it lasts; {sidecars}"),
            Self::Unreachable(why) | Self::Unpredictable(why) => f.write_str(why),
            Self::NoPods => f.write_str("no pod runs"),
            Self::AllInjected(sidecars) | Self::NoneInjected(sidecars) => write!(f, "{sidecars}"),
            Self::OwnSidecars(sidecars) => write!(f, "{sidecars}, and bring it themselves"),
            Self::PossiblyOwnSidecars(sidecars) => {
                write!(f, "{sidecars}, and may bring it themselves")
            }
            Self::InjectionMissed { missed, all, webhook } => write!(
                f,
                "{missed} of {all} pods were created under the present rule, and are not as a new pod would be: {webhook}"
            ),
            Self::AllOlder(sidecars) => {
                write!(f, "{sidecars}, and none is as a new pod would be: the pods are older")
            }
            Self::AllDiffer(sidecars) => {
                write!(
                    f,
                    "{sidecars}, and none is as a new pod would be: the pods are older, or a webhook was not called"
                )
            }
            Self::AllDifferSomeMissed { sidecars, missed, webhook } => write!(
                f,
                "{sidecars}, and none is as a new pod would be: {missed} created under the present rule, {webhook}"
            ),
            Self::SomeDiffer { sidecars, differing } => {
                write!(f, "{sidecars}, and {differing} are not as a new pod would be")
            }
            Self::SomeDifferSomeMissed { sidecars, differing, missed, webhook } => write!(
                f,
                "{sidecars}, and {differing} are not as a new pod would be: {missed} created under the present rule, {webhook}"
            ),
        }
    }
}

impl fmt::Display for SidecarCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { with, all } = self;
        write!(f, "{with} of {all} pods have a sidecar")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a row: outcome, (with, all), differing, (missed, older), brings a sidecar.
    type Row = (EffectOutcome, Option<(usize, usize)>, usize, (usize, usize), bool);

    fn reason_of((outcome, sidecars, differing, (missed, older), brings_sidecar): Row, is_suspended: bool) -> String {
        let effect = EffectSummary { outcome, reason: "because".to_owned(), webhook: None, revision: None };
        let sidecars = sidecars.map(|(with, all)| SidecarCount { with, all });
        let ages = AgeCounts { missed, older };
        let reason =
            classify(&StateEvidence { is_suspended, effect: &effect, sidecars, differing, ages, brings_sidecar });
        format!("{}: {reason}", reason.state().as_words())
    }

    #[test]
    fn every_state_has_its_reason() {
        use EffectOutcome::{Injected, NotInjected, Unknown, Unreachable};
        let rows: [(Row, &str); 15] = [
            ((Injected, None, 0, (0, 0), false), "unknown: running pods are not known"),
            ((Unreachable, Some((0, 1)), 0, (0, 0), false), "unreachable: because"),
            ((Unknown, Some((0, 1)), 0, (0, 0), false), "unknown: because"),
            ((Injected, Some((0, 0)), 0, (0, 0), false), "no pods: no pod runs"),
            ((Injected, Some((2, 2)), 0, (0, 0), false), "in mesh: 2 of 2 pods have a sidecar"),
            ((NotInjected, Some((0, 2)), 0, (0, 0), false), "out (intended): 0 of 2 pods have a sidecar"),
            (
                (NotInjected, Some((2, 2)), 0, (0, 0), true),
                "in mesh: 2 of 2 pods have a sidecar, and bring it themselves",
            ),
            (
                (NotInjected, Some((1, 2)), 0, (0, 0), false),
                "mixed: 1 of 2 pods have a sidecar, and may bring it themselves",
            ),
            (
                (Injected, Some((1, 3)), 2, (1, 1), false),
                "out (unexpected): 1 of 3 pods were created under the present rule, and are not as a new pod would be: \
                 the webhooks were not called, or did not answer",
            ),
            (
                (Injected, Some((0, 2)), 2, (0, 2), false),
                "pending restart: 0 of 2 pods have a sidecar, and none is as a new pod would be: the pods are older",
            ),
            (
                (Injected, Some((0, 2)), 2, (0, 1), false),
                "pending restart: 0 of 2 pods have a sidecar, and none is as a new pod would be: the pods are older, or a \
                 webhook was not called",
            ),
            (
                (NotInjected, Some((2, 2)), 2, (1, 1), false),
                "pending restart: 2 of 2 pods have a sidecar, and none is as a new pod would be: 1 created under the present \
                 rule, our webhook was not called, or did not answer",
            ),
            (
                (Injected, Some((1, 3)), 2, (0, 1), false),
                "mixed: 1 of 3 pods have a sidecar, and 2 are not as a new pod would be",
            ),
            (
                (NotInjected, Some((2, 3)), 2, (1, 1), false),
                "mixed: 2 of 3 pods have a sidecar, and 2 are not as a new pod would be: 1 created under the present rule, \
                 our webhook was not called, or did not answer",
            ),
            (
                (Injected, Some((3, 3)), 1, (1, 0), false),
                "mixed: 3 of 3 pods have a sidecar, and 1 are not as a new pod would be: 1 created under the present rule, \
                 the webhooks were not called, or did not answer",
            ),
        ];
        for (row, expected) in rows {
            assert_eq!(reason_of(row, false), expected, "{row:?}");
        }
        let suspended = reason_of((NotInjected, Some((1, 2)), 1, (0, 0), false), true);
        assert_eq!(suspended, "suspended: new pods get no sidecar while it lasts; 1 of 2 pods have a sidecar");
    }
}
