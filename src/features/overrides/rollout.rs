//! Roll-outs that a changed pod template starts by itself, in sentences.

use std::collections::BTreeSet;

use super::plan::SubjectPlan;
use super::request::OverrideMechanism;

/// Describes the roll-outs that the writes themselves start: one sentence for each kind.
pub fn rollout_sentences(mechanism: &OverrideMechanism, plans: &[SubjectPlan]) -> Vec<String> {
    if *mechanism != OverrideMechanism::PodTemplate {
        return Vec::new();
    }
    let kinds: BTreeSet<&str> = plans.iter().map(|plan| plan.subject.kind()).collect();
    let sentences = kinds.iter().map(|kind| format!("{kind}: a changed template {}.", consequence_for(kind)));
    sentences.chain(["GitOps undoes this change if the template comes from Git.".to_owned()]).collect()
}

fn consequence_for(kind: &str) -> &'static str {
    match kind {
        "Deployment" | "Rollout" => "rolls out at once",
        "StatefulSet" | "DaemonSet" => "rolls out as its update strategy says, with OnDelete not by itself",
        "CronJob" => "counts with its next Job",
        "ReplicaSet" | "ReplicationController" => "replaces no pod by itself",
        _ => "does what its controller makes of it",
    }
}
