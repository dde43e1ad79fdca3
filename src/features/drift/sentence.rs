//! Sentence about a drift: what its pods have, and what a new one would get.

use std::collections::BTreeMap;

use super::age::MissedWebhook;
use super::{Drift, ExpectedSidecar};
use crate::decision::effect::EffectOutcome;
use crate::kernel::text::sanitize;

/// Kind of a drift.
#[derive(Debug, PartialEq, Eq)]
enum DriftKind<'d> {
    /// Pods have a sidecar, and new ones get none.
    ExtraSidecar { with: usize },
    /// Pods have no sidecar, and new ones get one.
    MissingSidecar { without: usize },
    /// Pods have a sidecar of other revisions than new ones.
    OtherRevision { with: BTreeMap<&'d str, usize>, expected: &'d str },
    /// Some pods have no sidecar, and some have one of other revisions.
    MissingOrOtherRevision { without: usize, with: BTreeMap<&'d str, usize>, expected: &'d str },
}

impl Drift {
    /// Describes in one sentence what the pods have, and what a new one would get.
    pub fn describe(&self) -> String {
        let Self { expected: ExpectedSidecar { outcome, reason, .. }, pods, missed, .. } = self;
        let sentence = match self.kind() {
            DriftKind::ExtraSidecar { with } => {
                format!("{with} of {pods} pods {} a sidecar; a new pod would get none: {reason}", have(with))
            }
            DriftKind::MissingSidecar { without } => {
                format!("{without} of {pods} pods {} no sidecar; a new pod would get one: {reason}", have(without))
            }
            DriftKind::OtherRevision { with, expected } => {
                let with = list_revisions(&with, Some(*pods));
                format!("{with}; a new pod would get one of revision {expected}: {reason}")
            }
            DriftKind::MissingOrOtherRevision { without, with, expected } => {
                let (has, with) = (have(without), list_revisions(&with, None));
                format!(
                    "{without} of {pods} pods {has} no sidecar, {with}; \
                     a new pod would get one of revision {expected}: {reason}"
                )
            }
        };
        match missed {
            0 => sentence,
            _ => {
                format!("{sentence}; {missed} created under the present rule: {}", MissedWebhook::for_outcome(*outcome))
            }
        }
    }

    fn kind(&self) -> DriftKind<'_> {
        let Self { expected: ExpectedSidecar { outcome, revision, .. }, differing, .. } = self;
        let sidecars: Vec<_> = differing.iter().filter_map(|pod| pod.sidecar.as_ref()).collect();
        let without = differing.len() - sidecars.len();
        match (outcome, revision) {
            (EffectOutcome::Injected, Some(expected)) if !sidecars.is_empty() => {
                let mut with = BTreeMap::new();
                for sidecar in sidecars {
                    *with.entry(sidecar.revision.as_deref().unwrap_or_default()).or_default() += 1;
                }
                match without {
                    0 => DriftKind::OtherRevision { with, expected },
                    _ => DriftKind::MissingOrOtherRevision { without, with, expected },
                }
            }
            (EffectOutcome::Injected, _) => DriftKind::MissingSidecar { without },
            (EffectOutcome::NotInjected | EffectOutcome::Unreachable | EffectOutcome::Unknown, _) => {
                DriftKind::ExtraSidecar { with: sidecars.len() }
            }
        }
    }
}

/// Lists how many pods have a sidecar of each revision; the first says of how many pods, if that is given.
fn list_revisions(with: &BTreeMap<&str, usize>, pods: Option<usize>) -> String {
    let mut of_pods = pods.map(|pods| format!(" of {pods} pods")).unwrap_or_default();
    let part = |(revision, count): (&&str, &usize)| {
        let of_pods = std::mem::take(&mut of_pods);
        format!("{count}{of_pods} {} a sidecar of revision {}", have(*count), sanitize(revision))
    };
    with.iter().map(part).collect::<Vec<_>>().join(", ")
}

fn have(count: usize) -> &'static str {
    if count == 1 { "has" } else { "have" }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::DriftSubject;
    use super::*;
    use crate::decision::facts::{RunningPod, Sidecar};

    /// Describes the drift of three pods, of which those differ that have these revisions; "" is no sidecar.
    fn describe(outcome: EffectOutcome, revision: Option<&str>, pods: &[&str], missed: usize) -> String {
        let pod = |revision: &&str| {
            let sidecar = Sidecar { revision: Some((*revision).into()), is_native: false };
            Arc::new(RunningPod {
                uid: "".into(),
                name: "".into(),
                pod: Arc::default(),
                controller: None,
                sidecar: (!revision.is_empty()).then_some(sidecar),
                is_finished: false,
                is_terminating: false,
                is_ready: true,
                created_at: None,
            })
        };
        let subject = DriftSubject {
            key: ("shop".into(), "Deployment".into(), "web".into()),
            api_version: "apps/v1".to_owned(),
            uid: "u1".into(),
        };
        let (revision, reason) = (revision.map(Into::into), "because".to_owned());
        let expected = ExpectedSidecar { outcome, revision, reason, policy: None };
        let differing = pods.iter().map(pod).collect();
        Drift { subject, expected, pods: 3, differing, missed, excused: 0, is_repairable: true }.describe()
    }

    #[test]
    fn every_kind_of_drift_has_its_sentence() {
        use EffectOutcome::{Injected, NotInjected};
        let rows = [
            (describe(NotInjected, None, &["a"], 0), "1 of 3 pods has a sidecar; a new pod would get none: because"),
            (
                describe(NotInjected, None, &["a", "b"], 1),
                "2 of 3 pods have a sidecar; a new pod would get none: because; \
                 1 created under the present rule: our webhook was not called, or did not answer",
            ),
            (
                describe(Injected, Some("new"), &["", ""], 2),
                "2 of 3 pods have no sidecar; a new pod would get one: because; \
                 2 created under the present rule: the webhooks were not called, or did not answer",
            ),
            (
                describe(Injected, Some("new"), &["b", "a", "b"], 0),
                "1 of 3 pods has a sidecar of revision a, 2 have a sidecar of revision b; \
                 a new pod would get one of revision new: because",
            ),
            (
                describe(Injected, Some("new"), &["", "a"], 0),
                "1 of 3 pods has no sidecar, 1 has a sidecar of revision a; \
                 a new pod would get one of revision new: because",
            ),
        ];
        for (sentence, expected) in rows {
            assert_eq!(sentence, expected);
        }
    }
}
